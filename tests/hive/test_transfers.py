# SPDX-License-Identifier: BSD-2-Clause
"""Proves what is done with datasets once they are there: an existing capture is brought in, in pieces, and refused if it is none; shares
open a dataset to whoever has the link, as long and as often as was said; notes, pins, removal, retention and quotas hold; copies go to a
directory and, by SFTP, to a real sshd, and are read back."""
import datetime
import hashlib
import pathlib
import socket
import subprocess
import sys

import pytest

import s3
from hive import API, PASSWORD, Client, wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "net"))

import frames  # noqa: E402
import pcapfile  # noqa: E402

FIRST_NS = 1_700_000_000_000_000_000


def soon(**more):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**(more or {"hours": 1}))).strftime("%Y-%m-%dT%H:%M:%SZ")


def capture(path, count=200, **more):
    sent = frames.mixed(count, largest=600)
    pcapfile.write(path, sent, first_ns=FIRST_NS, step_ns=1000, **more)
    return sent


def send(client, number, data, piece=8 << 20, offset=0):
    answer = None
    for at in range(offset, len(data), piece):
        answer = client.put(f"/imports/{number}/data?offset={at}", raw=data[at:at + piece],
                            headers={"Content-Type": "application/octet-stream"})
        assert answer.status == 200, answer.body
    return answer


def bring_in(client, data, name="old", **more):
    """The dataset's id."""
    made = client.post("/imports", {"name": name, "bytes": len(data), **more})
    assert made.status == 201, made.body
    assert send(client, made.json["id"], data).json["state"] == "checking"
    over = wait_for(lambda: (seen := client.get(f"/imports/{made.json['id']}").json)["state"] in ("done", "failed") and seen, 30)
    assert over["state"] == "done", over
    return over["dataset_id"]


def download(client, number, query="format=pcap", **more):
    return client.get(f"/datasets/{number}/download?{query}", **more)


@pytest.fixture
def ours(hive, tmp_path):
    """A hive with an imported dataset of 200 packets: (hive, its id, the packets)."""
    sent = capture(tmp_path / "old.pcap")
    return hive, bring_in(hive.admin, (tmp_path / "old.pcap").read_bytes()), sent


def test_a_capture_is_brought_in(hive, tmp_path):
    """In pieces, one sent twice, one at the wrong place, across kill -9; then it is a dataset like others."""
    sent = capture(tmp_path / "a.pcap", 3000)
    data = (tmp_path / "a.pcap").read_bytes()
    made = hive.admin.post("/imports", {"name": "old", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    number, half = made.json["id"], len(data) // 2
    send(hive.admin, number, data[:half], piece=300_000)
    for offset in (0, half + 1):
        wrong = hive.admin.put(f"/imports/{number}/data?offset={offset}", raw=b"x", headers={"Content-Type": "application/octet-stream"})
        assert wrong.status == 409 and str(half) in wrong.json["detail"]
    hive.kill()
    hive.start()
    assert hive.admin.get(f"/imports/{number}").json["received_bytes"] == half
    beyond = hive.admin.put(f"/imports/{number}/data?offset={half}", raw=data, headers={"Content-Type": "application/octet-stream"})
    assert beyond.status == 422
    assert send(hive.admin, number, data, offset=half).json["state"] == "checking"
    over = wait_for(lambda: (seen := hive.admin.get(f"/imports/{number}").json)["state"] == "done" and seen, 30)
    dataset = hive.admin.get(f"/datasets/{over['dataset_id']}").json
    assert (dataset["state"], dataset["pkts"], dataset["job_id"], dataset["name"]) == ("whole", 3000, None, "old")
    assert dataset["first"] == "2023-11-14T22:13:20.000000000Z"
    whole = download(hive.admin, dataset["id"])
    (tmp_path / "got.pcap").write_bytes(whole.body)
    assert [record.data for record in pcapfile.read(tmp_path / "got.pcap")[1]] == sent
    assert whole.headers["Accept-Ranges"] == "bytes"
    manifest = hive.admin.get(f"/datasets/{dataset['id']}/manifest").json
    assert manifest["job"] is None and manifest["links"] == [] and manifest["files"][0]["sha256"] == hashlib.sha256(data).hexdigest()
    bundle = download(hive.admin, dataset["id"], "format=tar")
    assert subprocess.run(["tar", "-xO", f"dataset-{dataset['id']}/data/capture.pcap"], input=bundle.body, capture_output=True,
                          check=True).stdout == data


@pytest.mark.parametrize("name", ["text", "torn", "digest", "zstd"])
def test_only_captures_become_datasets(hive, tmp_path, name):
    capture(tmp_path / "a.pcap")
    data, more = (tmp_path / "a.pcap").read_bytes(), {}
    if name == "text":
        data = b"this is no capture, whatever it says\n" * 10
    elif name == "torn":
        data = data[:24] + data[24:40] + b"\xff" * 300
    elif name == "digest":
        more = {"sha256": "0" * 64}
    else:
        data = subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout[:-20]
    made = hive.admin.post("/imports", {"name": "bad", "bytes": len(data), **more})
    send(hive.admin, made.json["id"], data)
    over = wait_for(lambda: (seen := hive.admin.get(f"/imports/{made.json['id']}").json)["state"] in ("failed", "done") and seen, 30)
    if name == "zstd":  # its whole records can be read: that is what a capture that was cut off is
        return
    assert over["state"] == "failed" and over["reason"] and hive.admin.get("/datasets").json["items"] == []
    wait_for(lambda: not [path for path in (hive.state / "datasets").iterdir()], 30)


def test_shares_open_for_those_who_have_the_link(ours):
    hive, number, _ = ours
    nobody = Client(hive)
    made = hive.admin.post("/shares", {"dataset_id": number, "name": "for Ada", "expires": soon(), "max_downloads": 2})
    assert made.status == 201 and made.json["secret"].startswith("skep_s_"), made.body
    secret, share = made.json["secret"], made.json["id"]
    told = nobody.get(f"/shared/{secret}")
    assert (told.status, told.json["name"], told.json["pkts"], told.json["downloads_left"]) == (200, "old", 200, 2)
    whole = nobody.get(f"/shared/{secret}/download?format=pcap")
    assert whole.status == 200 and whole.body == download(hive.admin, number).body
    assert nobody.call("HEAD", f"{API}/shared/{secret}/download?format=pcap").status == 200
    assert nobody.get(f"/shared/{secret}/download?format=tar").status == 200
    assert nobody.get(f"/shared/{secret}/download?format=pcap").status == 410
    seen = hive.admin.get(f"/shares/{share}").json
    assert seen["downloads"] == 2 and seen["used"] and "secret" not in seen
    assert nobody.get(f"/shared/{secret[:-1]}x").status == 404
    entries = hive.admin.get("/audit?action=dataset.download&limit=1000").json["items"]
    assert {f"share {share}"} <= {entry["actor"] for entry in entries}
    assert hive.admin.delete(f"/shares/{share}").status == 204
    assert nobody.get(f"/shared/{secret}").status == 404
    hive.stop()
    stored = b"".join(path.read_bytes() for path in [*hive.state.rglob("*.db*"), hive.folder / "log"])
    assert secret.encode() not in stored
    hive.start()


def test_a_share_with_a_password(ours):
    """Basic, as browsers do; a wrong one costs time; each share by itself."""
    hive, number, _ = ours
    made = hive.admin.post("/shares", {"dataset_id": number, "name": "x", "expires": soon(), "password": "open sesame 1"})
    path, nobody = f"/shared/{made.json['secret']}", Client(hive)

    def with_password(word):
        import base64
        return nobody.get(path, headers={"Authorization": "Basic " + base64.b64encode(f"me:{word}".encode()).decode()})

    asked = nobody.get(path)
    assert asked.status == 401 and asked.headers["WWW-Authenticate"].startswith("Basic")
    assert with_password("open sesame 1").status == 200
    assert [with_password("wrong").status for _ in range(4)] == [401, 401, 401, 429]
    assert int(with_password("open sesame 1").headers["Retry-After"]) >= 1
    for body, pointer in (({"password": "short"}, "/password"), ({"expires": soon(days=400)}, "/expires"),
                          ({"expires": "2020-01-01T00:00:00Z"}, "/expires"), ({"max_downloads": -1}, "/max_downloads"),
                          ({"dataset_id": 99}, "/dataset_id")):
        refused = hive.admin.post("/shares", {"dataset_id": number, "name": "x", "expires": soon(), **body})
        assert refused.status == 422 and refused.pointers == {pointer}, refused.body


def test_a_share_ends_with_its_makers_rights(ours, tmp_path):
    hive, number, _ = ours
    bob = hive.person("bob", ["jobs-all", "download"])
    secret = bob.post("/shares", {"dataset_id": number, "name": "x", "expires": soon()}).json["secret"]
    assert Client(hive).get(f"/shared/{secret}").status == 200
    for rights in (["jobs", "download"], ["jobs-all"], []):  # no longer sees it; may no longer download; nothing
        assert hive.admin.patch(f"/groups/{bob.group}", {"rights": rights}).status == 200
        assert Client(hive).get(f"/shared/{secret}").status == 404
    assert hive.admin.patch(f"/groups/{bob.group}", {"rights": ["jobs-all", "download"]}).status == 200
    assert Client(hive).get(f"/shared/{secret}").status == 200


def test_notes(ours):
    hive, number, _ = ours
    bob = hive.person("bob", ["jobs-all"])
    made = bob.post("/notes", {"dataset_id": number, "text": "looks odd at 22:13"})
    assert made.status == 201 and made.json["author"] == "bob"
    assert bob.patch(f"/notes/{made.json['id']}", {"text": "it is fine"}).json["changed"]
    assert hive.admin.patch(f"/notes/{made.json['id']}", {"text": "not mine"}).status == 403
    assert [note["text"] for note in hive.admin.get(f"/notes?dataset_id={number}").json["items"]] == ["it is fine"]
    assert bob.post("/notes", {"dataset_id": 77, "text": "x"}).pointers == {"/dataset_id"}
    assert bob.post("/notes", {"dataset_id": number, "text": ""}).pointers == {"/text"}
    assert hive.admin.delete(f"/notes/{made.json['id']}").status == 204


def test_datasets_are_removed_but_not_pinned_ones(ours):
    hive, number, _ = ours
    stranger = hive.person("stranger", ["jobs", "download"])
    assert stranger.delete(f"/datasets/{number}").status == 404
    assert hive.admin.patch(f"/datasets/{number}", {"pinned": True, "expires": "2020-01-01T00:00:00Z", "description": "kept"}).status == 200
    refused = hive.admin.delete(f"/datasets/{number}")
    assert refused.status == 409 and "pinned" in refused.json["detail"]
    assert hive.admin.patch(f"/datasets/{number}", {"pinned": False, "expires": None}).status == 200
    folder, = [path for path in (hive.state / "datasets").iterdir()]
    assert hive.admin.delete(f"/datasets/{number}").status == 204
    assert hive.admin.get(f"/datasets/{number}").status == 404
    wait_for(lambda: not folder.exists(), 30)


def test_retention_and_quota_of_the_group(hive, tmp_path):
    """What is over goes by itself, unless it is pinned; who has used up the quota brings in no more."""
    capture(tmp_path / "a.pcap")
    data = (tmp_path / "a.pcap").read_bytes()
    bob = hive.person("bob", ["jobs", "download"], retention_s=3600, quota_bytes=2 * len(data))
    kept, gone = bring_in(bob, data), bring_in(bob, data)
    assert bob.get(f"/datasets/{kept}").json["expires"] > soon(minutes=50)
    refused = bob.post("/imports", {"name": "more", "bytes": len(data)})
    assert refused.status == 422 and refused.pointers == {"/bytes"} and "quota" not in refused.json["title"]
    hive.link("tap-a")
    assert hive.admin.put(f"/groups/{bob.group}/links/1").status == 204
    job = bob.post("/jobs", {"name": "x", "links": ["tap-a"], "limit_bytes": 100})
    assert job.status == 422 and job.pointers == {"/limit_bytes"}
    assert bob.patch(f"/datasets/{kept}", {"pinned": True, "expires": "2020-01-01T00:00:00Z"}).status == 200
    assert bob.patch(f"/datasets/{gone}", {"expires": "2020-01-01T00:00:00Z"}).status == 200
    wait_for(lambda: bob.get(f"/datasets/{gone}").status == 404, 40)
    assert bob.get(f"/datasets/{kept}").status == 200
    assert hive.admin.get("/audit?action=dataset.expire").json["items"][0]["object"] == f"dataset {gone}"
    store = bob.get("/store").json
    assert store["dataset_bytes"] == len(data) and store["total_bytes"] > store["free_bytes"] > 0 and store["reserve_bytes"] == 1 << 30


def copied(client, number, destination):
    made = client.post("/copies", {"dataset_id": number, "destination_id": destination})
    assert made.status == 201, made.body
    return wait_for(lambda: (seen := client.get(f"/copies/{made.json['id']}").json)["state"] in ("done", "failed") and seen, 30)


def check_copy(folder, hive, number):
    copy, = folder.iterdir()
    assert copy.name.endswith(f"-{number}")
    manifest = hive.admin.get(f"/datasets/{number}/manifest")
    assert (copy / "manifest.json").read_bytes() == manifest.body and (copy / "README.txt").exists()
    for file in manifest.json["files"]:
        data = (copy / file["name"].removeprefix("data/")).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["sha256"]
    assert not [path for path in copy.iterdir() if path.name.endswith(".part")]
    return copy


def test_a_copy_in_a_directory(ours, tmp_path):
    hive, number, _ = ours
    (tmp_path / "copies").mkdir()
    made = hive.admin.post("/destinations", {"name": "disk", "kind": "directory", "url": str(tmp_path / "copies")})
    over = copied(hive.admin, number, made.json["id"])
    assert over["state"] == "done" and over["done_bytes"] == over["bytes"] > 0, over
    copy = check_copy(tmp_path / "copies", hive, number)
    (copy / "capture.pcap").write_bytes(b"altered")
    assert copied(hive.admin, number, made.json["id"])["state"] == "done"
    check_copy(tmp_path / "copies", hive, number)
    bob = hive.person("bob", ["jobs-all", "download"])
    assert bob.post("/destinations", {"name": "mine", "kind": "directory", "url": "/"}).status == 403
    assert bob.get("/destinations").json["items"][0]["name"] == "disk"
    for body in ({"url": "copies"}, {"kind": "s3", "url": "http://192.0.2.1/bucket", "user": "a", "secret": "b"},
                 {"kind": "sftp", "url": "sftp://127.0.0.1/x", "user": "a", "secret": "b"}):
        assert hive.admin.post("/destinations", {"name": "x", "kind": "directory", "url": "/x", **body}).status == 422


def test_secrets_of_destinations_stay(ours):
    hive, _, _ = ours
    made = hive.admin.post("/destinations", {"name": "far", "kind": "s3", "url": "https://192.0.2.1/bucket", "user": "key",
                                             "secret": PASSWORD})
    assert made.status == 201 and PASSWORD not in made.body.decode()
    assert hive.admin.get(f"/destinations/{made.json['id']}").json["user"] == "key"

SSHD = pathlib.Path("/usr/sbin/sshd")


@pytest.fixture
def sshd(tmp_path):
    """A real sshd on loopback, with keys of its own; root logs in with a key that only this test has. (url, key, the host's key)"""
    if not SSHD.exists():
        pytest.skip("no sshd: apt-get install openssh-server")
    for name in ("host", "login"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    pathlib.Path("/run/sshd").mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "sshd.conf").write_text(f"""Port {port}
ListenAddress 127.0.0.1
HostKey {tmp_path}/host
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
AuthorizedKeysFile {tmp_path}/login.pub
Subsystem sftp internal-sftp
""")
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", tmp_path / "sshd.conf"], stderr=subprocess.DEVNULL)
    told = subprocess.run(["ssh-keygen", "-lf", tmp_path / "host.pub"], capture_output=True, text=True, check=True).stdout
    (tmp_path / "far").mkdir()

    def listens():
        with socket.socket() as peer:
            return peer.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(listens)
        yield f"sftp://127.0.0.1:{port}{tmp_path}/far", (tmp_path / "login").read_text(), told.split()[1].removeprefix("SHA256:")
    finally:
        process.terminate()
        process.wait(10)


def test_a_copy_by_sftp(ours, sshd, tmp_path):
    """To a real sshd: right key of the host, or nothing; what was altered there is found and sent again."""
    hive, number, _ = ours
    url, key, host_key = sshd
    place = {"kind": "sftp", "url": url, "user": "root", "secret": key, "host_key": host_key}
    made = hive.admin.post("/destinations", {"name": "far", **place})
    assert made.status == 201 and "PRIVATE" not in made.body.decode(), made.body
    over = copied(hive.admin, number, made.json["id"])
    assert over["state"] == "done" and over["done_bytes"] == over["bytes"], over
    copy = check_copy(tmp_path / "far", hive, number)
    (copy / "capture.pcap").write_bytes(b"altered")
    assert copied(hive.admin, number, made.json["id"])["state"] == "done"
    check_copy(tmp_path / "far", hive, number)
    other = hive.admin.post("/destinations", {"name": "other", **place, "host_key": "A" * 43})
    over = copied(hive.admin, number, other.json["id"])
    assert over["state"] == "failed" and over["reason"], over
    assert key.split("\n")[1] not in (hive.folder / "log").read_text()


def test_a_copy_in_an_s3_store(ours):
    """Every request is signed, what is there is read back, what was altered there is sent again; a wrong key fails in words."""
    hive, number, _ = ours
    store = s3.Store()
    try:
        place = {"kind": "s3", "url": store.url, "user": s3.KEY, "secret": s3.SECRET, "region": s3.REGION}
        made = hive.admin.post("/destinations", {"name": "cloud", **place})
        over = copied(hive.admin, number, made.json["id"])
        assert over["state"] == "done" and over["done_bytes"] == over["bytes"], over
        objects = {key.rpartition("/")[2]: (key, value) for key, value in store.objects.items()}
        assert set(objects) == {"capture.pcap", "manifest.json", "README.txt"}
        key, data = objects["capture.pcap"]
        assert key.startswith("/bucket/archive/dataset-") and hashlib.sha256(data).hexdigest() == hive.admin.get(
            f"/datasets/{number}/manifest").json["files"][0]["sha256"]
        store.objects[key] = b"altered"
        assert copied(hive.admin, number, made.json["id"])["state"] == "done" and store.objects[key] == data
        wrong = hive.admin.post("/destinations", {"name": "wrong", **place, "secret": "another"})
        over = copied(hive.admin, number, wrong.json["id"])
        assert over["state"] == "failed" and "signature is wrong" in over["reason"], over
    finally:
        store.close()
