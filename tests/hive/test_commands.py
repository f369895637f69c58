# SPDX-License-Identifier: BSD-2-Clause
"""Proves the commands of skep-hive: the audit log holds what was done and tells a row that was altered, removed or put in; a backup of a
running hive is whole and comes back; settings that are wrong are refused with their line; secrets are in no file and no log."""
import re
import sqlite3
import threading

import pytest

from hive import PASSWORD, Client

JOB = {"name": "quic", "links": ["tap-a"], "limit_pkts": 10}


def test_who_did_what_is_written_down(hive):
    hive.link("tap-a")
    bob = hive.person("bob", ["jobs"], all_links=True)
    job = bob.post("/jobs", JOB).json["id"]
    bob.post(f"/jobs/{job}/cancel")
    Client(hive).post("/session", {"name": "bob", "password": "not this one"})
    entries = hive.admin.get("/audit?sort=-id&limit=1000").json["items"]
    seen = {(entry["actor"], entry["action"], entry["object"]) for entry in entries}
    assert {("bob", "job.create", f"job {job}"), ("bob", "job.cancelled", f"job {job}"), ("bob", "login.refused", None),
            ("root", "user.create", f"user {bob.id}"), ("root", "group.join", f"group {bob.group}"), ("bob", "login", None)} <= seen
    assert {entry["address"] for entry in entries} == {"127.0.0.1"}
    assert [e["action"] for e in hive.admin.get("/audit?actor=bob&action=job.create").json["items"]] == ["job.create"]


ALTER = {
    "changed": ("UPDATE audit SET detail = 'nothing' WHERE id = 3", 3),
    "actor": ("UPDATE audit SET actor = 'eve' WHERE id = 5", 5),
    "time": ("UPDATE audit SET time_ns = time_ns + 1 WHERE id = 2", 2),
    "removed": ("DELETE FROM audit WHERE id = 4", 5),
    "put in": ("INSERT INTO audit SELECT 100, 1, time_ns, actor, address, action, object, detail, hash FROM audit WHERE id = 2", 100),
    "swapped": ("UPDATE audit SET id = CASE id WHEN 2 THEN -3 WHEN 3 THEN -2 END WHERE id IN (2, 3);"
                "UPDATE audit SET id = -id WHERE id < 0", 2),
}


@pytest.mark.parametrize("how", ALTER)
def test_an_altered_audit_log_is_told(hive, how):
    for name in ("ada", "bob", "eve"):
        hive.person(name)
    fine = hive.run("audit", "verify")  # beside the running hive
    assert fine.returncode == 0 and re.search(r"^\d+ entries, none was altered; head [0-9a-f]{64}$", fine.stdout.strip())
    hive.kill()
    sql, row = ALTER[how]
    with sqlite3.connect(hive.state / "hive.db") as db:
        db.executescript("DROP TRIGGER audit_no_change; DROP TRIGGER audit_no_delete;" + sql)
    told = hive.run("audit", "verify")
    assert told.returncode == 1 and f"audit entry {row} was altered" in told.stderr
    hive.start()


def test_backup_of_a_running_hive_comes_back(hive, tmp_path):
    hive.link("tap-a")
    job = hive.admin.post("/jobs", JOB).json["id"]
    busy, stop = Client(hive).login("root"), threading.Event()

    def work():
        while not stop.is_set():
            busy.post("/jobs", JOB)

    thread = threading.Thread(target=work)
    thread.start()
    done = hive.run("backup", tmp_path / "copy.db")
    stop.set()
    thread.join()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert hive.run("backup", tmp_path / "copy.db").returncode == 1  # never over another
    refused = hive.run("restore", tmp_path / "copy.db")
    assert refused.returncode == 1 and "a hive runs" in refused.stderr
    assert hive.admin.post("/users", {"name": "later"}).status == 201
    hive.stop()
    assert hive.run("restore", tmp_path / "copy.db").returncode == 0
    hive.start()
    assert hive.admin.get(f"/jobs/{job}").json["state"] == "queued"
    assert "later" not in {user["name"] for user in hive.admin.get("/users").json["items"]}
    assert hive.run("audit", "verify").returncode == 0


def test_what_is_no_backup_is_not_restored(hive, tmp_path):
    hive.stop()
    text, empty, foreign = tmp_path / "text", tmp_path / "empty", tmp_path / "foreign"
    text.write_text("no database\n" * 1000)
    empty.write_bytes(b"")
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE x (y)")
    before = (hive.state / "hive.db").read_bytes()
    for path in (text, empty, foreign, tmp_path / "none"):
        assert hive.run("restore", path).returncode == 1
    assert (hive.state / "hive.db").read_bytes() == before
    hive.start()


@pytest.mark.parametrize("text,where", [
    ("[hive]\nlisten = 127.0.0.1:0\ncolour = red\n", "hive.conf:3: there is no setting \"colour\""),
    ("[hive]\ntls = maybe\n", "hive.conf:2: [hive] tls: \"maybe\" is neither yes nor no"),
    ("[session]\nidle = long\n", "hive.conf:2: [session] idle"),
    ("[hive]\nnonsense\n", "hive.conf:2"),
    ("[hive]\ntls = yes\n", "needs tls_cert and tls_key"),
    ("[ldap]\nuri = ldap://192.0.2.1\ntls = plain\nuser_base = dc=x\n", "in the clear"),
])
def test_wrong_settings_are_refused_with_their_line(hive, text, where):
    hive.stop()
    hive.conf.write_text(text)
    done = hive.run("--check-config")
    assert done.returncode != 0 and where in done.stderr, done.stderr


def test_clear_text_beyond_loopback_is_refused(hive):
    hive.stop()
    hive.conf.write_text(f"[hive]\nlisten = 0.0.0.0:0\nstate_dir = {hive.state}\n")
    done = hive.run("serve")
    assert done.returncode == 1 and "loopback" in done.stderr + str(done.stdout), done.stderr


def test_words_that_are_no_command_are_usage_errors(hive):
    for words in (["fly"], ["audit"], ["audit", "burn"], ["backup"], ["serve", "now"], ["--colour"]):
        assert hive.run(*words).returncode == 2


def test_secrets_are_nowhere_to_be_read(hive):
    """Not in the log, not in the database: passwords, tokens, the session's secret, the one-time secret."""
    token = hive.admin.post("/tokens", {"name": "t", "rights": ["jobs"], "expires": "2027-06-01T00:00:00Z"}).json["token"]
    hive.person("bob")
    Client(hive, token="skep_t_wrong").get("/jobs")
    hive.stop()
    files = [path for path in hive.state.rglob("*") if path.is_file()] + [hive.folder / "log"]
    stored = b"".join(path.read_bytes() for path in files)
    for secret in (token, PASSWORD, hive.secret, hive.admin.cookie):
        assert secret.encode() not in stored
    hive.start()
