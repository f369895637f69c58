# SPDX-License-Identifier: BSD-2-Clause
"""Proves: the one-time link works once; sessions need their CSRF token and end when they should; wrong passwords are answered alike and
slowed down; tokens do at most what their maker may, and only in the header; nobody raises their own rights, by any way that the API has;
and somebody who may do everything always remains."""
import base64
import concurrent.futures
import time

import pytest

from hive import PASSWORD, RIGHTS, Client

LATER = "2027-06-01T00:00:00Z"


def test_first_link_works_once(make_hive):
    hive = make_hive(claim=False)
    line = hive.process.stdout.readline()
    secret = line.partition("#claim=")[2].strip()
    nobody = Client(hive)
    claim = {"secret": secret, "name": "root", "password": PASSWORD}
    assert nobody.post("/session/claim", {**claim, "secret": secret[:-1] + "x"}).status == 403
    assert "password" in nobody.post("/session/claim", {**claim, "password": "short"}).json["detail"]
    assert nobody.post("/session/claim", claim).status == 201
    assert nobody.post("/session/claim", {**claim, "name": "second"}).status == 403
    hive.stop()
    hive.start()  # there is an administrator: no new link
    assert Client(hive).login("root").get("/session").json["rights"] == RIGHTS
    assert secret not in (hive.folder / "log").read_text()


def test_admin_link_command_lets_a_new_administrator_in(hive):
    done = hive.run("admin-link")
    assert done.returncode == 0, done.stderr
    secret = done.stdout.partition("#claim=")[2].strip()
    client = Client(hive)
    client.take_session(client.post("/session/claim", {"secret": secret, "name": "rescue", "password": PASSWORD}))
    assert client.get("/users").status == 200


def test_cookie_is_for_this_page_alone(hive):
    answer = Client(hive).post("/session", {"name": "root", "password": PASSWORD})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-skep=skep_s_")
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert answer.headers["Cache-Control"] == "no-store"


def test_changes_need_the_csrf_token(hive):
    client = Client(hive).login("root")
    csrf = client.csrf
    body = {"name": "x", "password": PASSWORD}
    for wrong in (None, "", "x", csrf[:-1] + ("a" if csrf[-1] != "a" else "b")):
        client.csrf = wrong
        answer = client.post("/users", body)
        assert (answer.status, answer.json["code"]) == (403, "csrf")
    client.csrf = csrf
    answer = client.post("/users", body, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status == 403
    assert client.post("/users", body).status == 201


def test_logout_ends_this_session_and_everywhere_ends_all(hive):
    one, two, three = (Client(hive).login("root") for _ in range(3))
    assert one.delete("/session").status == 204
    assert one.get("/session").status == 401
    assert two.get("/session").status == 200
    sessions = two.get("/sessions").json["items"]
    assert len(sessions) == 3  # hive.admin's, two's and three's
    assert two.delete("/sessions").status == 204
    assert [client.get("/session").status for client in (two, three, hive.admin)] == [401] * 3


def test_sessions_end_by_idleness_and_by_age(make_hive):
    hive = make_hive("[session]\nidle = 1s\nlongest = 3s\n")
    client = Client(hive).login("root")
    time.sleep(1.5)
    assert client.get("/session").status == 401
    client.login("root")
    assert client.get("/session").status == 200


def test_wrong_names_and_passwords_are_answered_alike(hive):
    hive.person("bob")
    answers = []
    for name, password in (("bob", "wrong password"), ("nobody", "wrong password"), ("bob' --", "x" * 12), ("", "x"), ("root", "")):
        answer = Client(hive).post("/session", {"name": name, "password": password})
        answers.append((answer.status, answer.body))
    assert len(set(answers)) == 1 and answers[0][0] == 401


def test_guessing_is_slowed_and_locks_nobody_else_out(hive):
    hive.person("bob")
    nobody = Client(hive)
    statuses = [nobody.post("/session", {"name": "bob", "password": "wrong password"}).status for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    held = nobody.post("/session", {"name": "bob", "password": PASSWORD})
    assert held.status == 429 and 1 <= int(held.headers["Retry-After"]) <= 60
    assert Client(hive).login("root").get("/session").status == 200
    time.sleep(int(held.headers["Retry-After"]) + 0.2)
    assert Client(hive).login("bob").get("/session").status == 200


def test_one_user_may_log_in_many_times_at_once(hive):
    hive.person("bob")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: Client(hive).post("/session", {"name": "bob", "password": PASSWORD}).status, range(16)))
    assert statuses == [201] * 16


def test_a_new_password_ends_the_sessions(hive):
    bob = hive.person("bob")
    assert bob.patch(f"/users/{bob.id}", {"password": "another long one"}).status == 200
    assert bob.get("/session").status == 401
    bob.login("bob", "another long one")
    assert hive.admin.patch(f"/users/{bob.id}", {"disabled": True}).status == 200
    assert bob.get("/session").status == 401
    assert Client(hive).post("/session", {"name": "bob", "password": "another long one"}).status == 401


# ---- tokens ----

def token_of(client, rights, **more):
    answer = client.post("/tokens", {"name": "detector", "rights": rights, "expires": LATER, **more})
    assert answer.status == 201, answer.body
    return answer.json


def test_a_token_does_what_it_may_until_it_is_revoked(hive):
    bob = hive.person("bob", ["jobs", "audit"])
    made = token_of(bob, ["jobs"])
    assert made["token"].startswith("skep_t_")
    program = Client(hive, token=made["token"])
    assert program.get("/session").json["rights"] == ["jobs"]
    assert program.get("/jobs").status == 200
    assert program.get("/audit").status == 403 and bob.get("/audit").status == 200
    shown = bob.get(f"/tokens/{made['id']}")
    assert made["token"] not in shown.body.decode() and "digest" not in shown.json
    assert bob.get("/tokens").json["items"][0]["used_from"] == "127.0.0.1"
    assert bob.delete(f"/tokens/{made['id']}").status == 204
    assert (program.get("/jobs").status, program.get("/jobs").json["code"]) == (401, "bad-token")


def test_a_token_loses_what_its_maker_loses(hive):
    bob = hive.person("bob", ["jobs", "audit"])
    program = Client(hive, token=token_of(bob, ["jobs", "audit"])["token"])
    assert program.get("/audit").status == 200
    assert hive.admin.patch(f"/groups/{bob.group}", {"rights": ["jobs"]}).status == 200
    assert program.get("/audit").status == 403
    assert hive.admin.patch(f"/users/{bob.id}", {"disabled": True}).status == 200
    assert program.get("/jobs").status == 401


def test_a_token_is_taken_in_the_header_alone(hive):
    token = token_of(hive.admin, ["jobs"])["token"]
    basic = base64.b64encode(f"root:{token}".encode()).decode()
    nobody = Client(hive)
    assert nobody.get(f"/jobs?token={token}").status == 401
    assert nobody.get(f"/jobs?access_token={token}").status == 401
    assert nobody.get("/jobs", headers={"Authorization": f"Basic {basic}"}).status == 401
    assert nobody.get("/jobs", headers={"Cookie": f"__Host-skep={token}"}).status == 401
    assert nobody.get("/jobs", headers={"Authorization": f"bearer  {token}"}).status == 200
    assert Client(hive, token=token).get(f"/jobs?token={token}").status == 400


def test_tokens_are_bounded(hive):
    bob = hive.person("bob", ["jobs"])
    answer = bob.post("/tokens", {"name": "", "rights": ["jobs", "users"], "expires": "2099-01-01T00:00:00Z"})
    assert answer.status == 422 and answer.pointers == {"/name", "/rights", "/expires"}
    assert bob.post("/tokens", {"name": "x", "rights": [], "expires": LATER}).status == 422
    assert bob.post("/tokens", {"name": "x", "rights": ["jobs"], "expires": "2020-01-01T00:00:00Z"}).status == 422
    program = Client(hive, token=token_of(bob, ["jobs"])["token"])
    assert program.post("/tokens", {"name": "child", "rights": ["jobs"], "expires": LATER}).status == 403
    assert program.patch(f"/users/{bob.id}", {"password": "stolen for ever"}).status == 403
    assert program.delete("/session").status == 409


# ---- nobody raises their own rights ----

def test_no_way_to_more_rights(hive):
    """Somebody who may make users and groups, but has not all rights."""
    mallory = hive.person("mallory", ["users", "groups", "jobs"])
    victim = hive.person("victim", ["audit"])
    admins = next(group["id"] for group in hive.admin.get("/groups").json["items"] if group["name"] == "administrators")
    root = hive.admin.id
    tries = [
        lambda: mallory.post("/groups", {"name": "mine", "rights": ["audit"]}),
        lambda: mallory.patch(f"/groups/{mallory.group}", {"rights": RIGHTS}),
        lambda: mallory.patch(f"/groups/{mallory.group}", {"quota_priority": "critical"}),
        lambda: mallory.patch(f"/groups/{mallory.group}", {"all_links": True}),
        lambda: mallory.put(f"/groups/{mallory.group}/links/1"),
        lambda: mallory.put(f"/groups/{admins}/members/{mallory.id}"),
        lambda: mallory.put(f"/groups/{victim.group}/members/{mallory.id}"),
        lambda: mallory.put(f"/groups/{admins}/members/{victim.id}"),
        lambda: mallory.delete(f"/groups/{admins}/members/{root}"),
        lambda: mallory.delete(f"/groups/{admins}"),
        lambda: mallory.patch(f"/groups/{victim.group}", {"rights": []}),
        lambda: mallory.patch(f"/users/{root}", {"password": "mine from now on"}),
        lambda: mallory.patch(f"/users/{victim.id}", {"password": "mine from now on"}),
        lambda: mallory.patch(f"/users/{root}", {"disabled": True}),
        lambda: mallory.delete(f"/users/{root}"),
        lambda: mallory.post("/tokens", {"name": "t", "rights": ["audit"], "expires": LATER}),
    ]
    for number, attempt in enumerate(tries):
        answer = attempt()
        assert answer.status in (403, 422), f"try {number}: {answer.status} {answer.body}"
    assert mallory.get("/session").json["rights"] == ["jobs", "users", "groups"]
    # what they have, they may give
    group = mallory.post("/groups", {"name": "helpers", "rights": ["jobs"]})
    assert group.status == 201
    user = mallory.post("/users", {"name": "helper", "password": PASSWORD})
    assert mallory.put(f"/groups/{group.json['id']}/members/{user.json['id']}").status == 204
    assert mallory.put(f"/groups/{group.json['id']}/members/{mallory.id}").status == 403


@pytest.mark.parametrize("field,value", [("disabled", True), ("source", "ldap"), ("password_hash", "x"), ("rights", RIGHTS), ("id", 1)])
def test_users_change_only_what_is_theirs(hive, field, value):
    bob = hive.person("bob")
    answer = bob.patch(f"/users/{bob.id}", {field: value})
    assert answer.status in (403, 422), answer.body
    assert bob.patch(f"/users/{bob.id}", {"full_name": "Robert", "email": "b@example.org"}).status == 200


def test_somebody_who_may_do_everything_remains(hive):
    admins = next(group["id"] for group in hive.admin.get("/groups").json["items"] if group["name"] == "administrators")
    root = hive.admin.id
    for attempt in (lambda: hive.admin.delete(f"/groups/{admins}/members/{root}"), lambda: hive.admin.delete(f"/groups/{admins}"),
                    lambda: hive.admin.patch(f"/groups/{admins}", {"rights": ["jobs", "groups"]}),
                    lambda: hive.admin.patch(f"/users/{root}", {"disabled": True}), lambda: hive.admin.delete(f"/users/{root}")):
        answer = attempt()
        assert answer.status in (403, 422), answer.body
    second = hive.person("second", RIGHTS)
    assert second.patch(f"/users/{root}", {"disabled": True}).status == 200
    assert second.delete(f"/users/{root}").status == 204
    assert second.patch(f"/users/{second.id}", {"disabled": True}).status in (403, 422)
