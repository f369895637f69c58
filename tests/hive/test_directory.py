# SPDX-License-Identifier: BSD-2-Clause
"""Proves accounts from a directory (a real slapd): the first login makes the user with the groups that the directory says, also by groups
in groups; who leaves a group or the directory loses it here without logging in; an outage throws nobody out; a local user keeps their own
password whatever the directory says of the name."""
import pytest

import directory
from hive import PASSWORD, Client, wait_for

SCIENCE = "CN=science, DC=example, DC=org"


@pytest.fixture
def world(tmp_path, make_hive):
    reason = directory.why_not()
    if reason:
        pytest.skip(reason)
    there = directory.Directory(tmp_path / "ldap")
    hive = make_hive(f"""[ldap]
uri = {there.uri}
tls = plain
user_base = dc=example,dc=org
group_base = dc=example,dc=org
refresh = 1s
""")
    hive.directory = there
    made = hive.admin.post("/groups", {"name": "science", "rights": ["jobs"], "ldap_group": SCIENCE})
    assert made.status == 201
    hive.science = made.json["id"]
    yield hive
    there.stop()


def test_directory_makes_users_and_their_groups(world):
    ada = Client(world).login("ada", "engine no 1")
    assert ada.get("/session").json["rights"] == ["jobs"]
    user = ada.get(f"/users/{ada.id}").json
    assert (user["full_name"], user["email"], user["source"]) == ("Ada Lovelace", "ada@example.org", "ldap")
    assert ada.patch(f"/users/{ada.id}", {"password": "a local one instead"}).status == 422
    members = world.admin.get(f"/groups/{world.science}/members").json["items"]
    assert [(member["user_id"], member["source"]) for member in members] == [(ada.id, "ldap")]
    assert Client(world).login("ada", "engine no 1").id == ada.id


def test_wrong_passwords_of_the_directory_are_answered_alike(world):
    answers = {(answer.status, answer.body) for name, password in
               (("ada", "engine no 2"), ("nobody", "engine no 1"), ("ada", ""), ("*", "engine no 1"), ("root", "x" * 12))
               for answer in [Client(world).post("/session", {"name": name, "password": password})]}
    assert len(answers) == 1 and next(iter(answers))[0] == 401


def test_a_local_user_is_not_the_directorys(world):
    """The name is in both: the directory's password must not open the local administrator's account."""
    assert Client(world).post("/session", {"name": "root", "password": "directory root"}).status == 401
    assert Client(world).login("root", PASSWORD).get("/users").status == 200


def test_who_leaves_the_group_loses_its_rights_without_logging_in(world):
    ada = Client(world).login("ada", "engine no 1")
    assert ada.get("/jobs").status == 200
    by_hand = world.admin.post("/groups", {"name": "by hand", "rights": ["download"]}).json["id"]
    assert world.admin.put(f"/groups/{by_hand}/members/{ada.id}").status == 204
    world.directory.change("dn: cn=research,dc=example,dc=org\nchangetype: modify\nreplace: member\nmember: uid=root,dc=example,dc=org\n")
    wait_for(lambda: ada.get("/session").json["rights"] == ["download"])
    assert ada.get("/jobs").status == 403


def test_who_is_gone_is_out(world):
    ada = Client(world).login("ada", "engine no 1")
    world.directory.change("dn: uid=ada,dc=example,dc=org\nchangetype: delete\n")
    wait_for(lambda: ada.get("/session").status == 401)
    assert Client(world).post("/session", {"name": "ada", "password": "engine no 1"}).status == 401
    assert world.admin.get(f"/users/{ada.id}").json["disabled"] is True
    assert [entry["actor"] for entry in world.admin.get("/audit?action=user.gone").json["items"]] == ["directory"]


def test_an_outage_throws_nobody_out(world):
    ada = Client(world).login("ada", "engine no 1")
    world.directory.stop()
    wait_for(lambda: "directory:" in (world.folder / "log").read_text(), 15)
    assert ada.get("/session").json["rights"] == ["jobs"]
    assert Client(world).login("root", PASSWORD).get("/users").status == 200
    assert Client(world).post("/session", {"name": "ada", "password": "engine no 1"}).status >= 500
    world.directory.start()
    assert Client(world).login("ada", "engine no 1").id == ada.id
