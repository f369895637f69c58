# SPDX-License-Identifier: BSD-2-Clause
"""Proves what a dataset is good for once it is there, with a real probe and real packets: one merged stream that tshark and tcpdump read,
by range and for a part; bundles that are byte for byte the same and whose checksums hold; a manifest that says what was captured; and
segments that are fetched while the capture runs."""
import hashlib
import io
import json
import subprocess
import tarfile
import zipfile

import pytest

from hive import wait_for
from test_capture import create, net, nothing_left, pcapfile, reach, udp  # noqa: F401


@pytest.fixture
def dataset(net):  # noqa: F811
    """A dataset of 300 packets; (hive, its id, the packets)."""
    sent = udp(300)
    job = create(net, limit_pkts=300)
    reach(net, job, "running")
    net.rig.send(sent)
    done = reach(net, job, "done")
    assert done["outcome"] == "complete", done
    return net, net.admin.get(f"/datasets?job_id={job}").json["items"][0]["id"], sent


def fetch(net, dataset, query, **kwargs):
    return net.admin.get(f"/datasets/{dataset}/download?{query}", **kwargs)


def records_of(tmp_path, body, name="got.pcap"):
    (tmp_path / name).write_bytes(body)
    return pcapfile.read(tmp_path / name)[1]


def test_downloads(dataset, tmp_path):
    net, number, sent = dataset
    whole = merged(net, number, sent, tmp_path)
    ranges(net, number, whole)
    parts(net, number, sent, tmp_path)
    refusals(net, number)
    manifest = check_manifest(net, number)
    bundles(net, number, manifest, tmp_path)
    audit = net.admin.get("/audit?action=dataset.download&limit=1000").json["items"]
    assert {"pcap", "pcapng", "pcap.zst", "zip", "tar"} <= {entry["detail"] for entry in audit}


def merged(net, number, sent, tmp_path):
    """pcap, pcapng and pcap.zst hold the same packets; pcapng names the link and what was dropped."""
    plain = fetch(net, number, "format=pcap")
    assert plain.status == 200, plain.body
    assert plain.headers["Accept-Ranges"] == "bytes" and plain.headers["ETag"]
    assert plain.headers["Content-Disposition"] == f'attachment; filename="udp-{number}.pcap"'
    assert int(plain.headers["Content-Length"]) == len(plain.body)
    assert [record.data for record in records_of(tmp_path, plain.body)] == sent
    packed = fetch(net, number, "format=pcap.zst")
    assert packed.headers["Accept-Ranges"] == "none" and "Content-Length" not in packed.headers
    assert subprocess.run(["zstd", "-dc"], input=packed.body, capture_output=True, check=True).stdout == plain.body
    block = fetch(net, number, "format=pcapng")
    assert [record.data for record in records_of(tmp_path, block.body, "got.pcapng")] == sent
    told = subprocess.run(["capinfos", "-M", tmp_path / "got.pcapng"], capture_output=True, text=True, check=True).stdout
    assert "tap-a" in told, told
    statistics = pcapng_statistics(block.body)
    assert statistics == [{4: 300, 5: 0, 6: 300}], statistics
    return plain.body, plain.headers["ETag"]


def pcapng_statistics(body):
    """The options of every interface statistics block: code -> number."""
    found, at = [], 0
    while at < len(body):
        kind, length = (int.from_bytes(body[at + n:at + n + 4], "little") for n in (0, 4))
        if kind == 5:
            options, here = {}, at + 20
            while here < at + length - 4:
                code, size = (int.from_bytes(body[here + n:here + n + 2], "little") for n in (0, 2))
                if code in (4, 5, 6):
                    options[code] = int.from_bytes(body[here + 4:here + 4 + size], "little")
                here += 4 + (size + 3) // 4 * 4
            found.append(options)
        at += length
    return found


def ranges(net, number, whole):
    """A merged pcap can be gone on with where it was cut off."""
    body, etag = whole
    for first, last in ((0, 0), (24, 100), (1000, 1999), (len(body) - 5, len(body) - 1)):
        part = fetch(net, number, "format=pcap", headers={"Range": f"bytes={first}-{last}", "If-Range": etag})
        assert part.status == 206 and part.body == body[first:last + 1]
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{len(body)}"
    assert fetch(net, number, "format=pcap", headers={"Range": f"bytes={len(body)}-"}).status == 416
    assert fetch(net, number, "format=pcap", headers={"If-None-Match": etag}).status == 304
    assert fetch(net, number, "format=pcap", headers={"If-Match": '"other"'}).status == 412
    changed = fetch(net, number, "format=pcap", headers={"Range": "bytes=5-9", "If-Range": '"other"'})
    assert changed.status == 200 and changed.body == body
    head = net.admin.call("HEAD", f"/api/v1/datasets/{number}/download?format=pcap")
    assert head.status == 200 and int(head.headers["Content-Length"]) == len(body)


def parts(net, number, sent, tmp_path):
    """By filter, by time, by link: against our own list of what was sent."""
    assert [record.data for record in records_of(tmp_path, fetch(net, number, "format=pcap&link=tap-a").body)] == sent
    half = [frame for frame in sent if frame[42] < 128]
    got = records_of(tmp_path, fetch(net, number, "format=pcap&filter=udp%5B8%5D+%3C+128").body)
    assert [record.data for record in got] == half
    everything = records_of(tmp_path, fetch(net, number, "format=pcap").body)
    from_ns, to_ns = everything[100].ts_ns, everything[199].ts_ns
    stamp = [f"{text_of(ns)}" for ns in (from_ns, to_ns)]
    got = records_of(tmp_path, fetch(net, number, f"format=pcap&from={stamp[0]}&to={stamp[1]}").body)
    assert [record.ts_ns for record in got] == [record.ts_ns for record in everything if from_ns <= record.ts_ns <= to_ns]


def text_of(ns):
    import datetime
    return datetime.datetime.fromtimestamp(ns // 10**9, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % 10**9:09d}Z"


def refusals(net, number):
    for query, status, word in (("format=doc", 400, "format"), ("", 400, "format"), ("format=pcap&colour=red", 400, "colour"),
                                ("format=pcap&from=yesterday", 400, "from"), ("format=pcap&link=tap-z", 404, "tap-z"),
                                ("format=zip&filter=udp", 422, "bundle"), ("format=pcap&filter=udp+port+https+port", 422, "port"),
                                ("format=pcap&filter=net+in+%40%2Fetc%2Fhostname", 422, "ermission")):
        answer = fetch(net, number, query)
        assert answer.status == status and word in answer.json["detail"] + str(answer.json.get("errors")), (query, answer.body)


def check_manifest(net, number):
    manifest = net.admin.get(f"/datasets/{number}/manifest")
    assert manifest.status == 200
    told = manifest.json
    assert (told["complete"], told["reasons"], told["pkts"], told["dataset"]) == (True, [], 300, number)
    assert told["job"]["filter"] == "udp" and told["job"]["limits"]["pkts"] == 300 and told["job"]["owner"] == "root"
    link = told["links"][0]
    assert (link["name"], link["probe"], link["account"]["stored_pkts"], link["account"]["dropped"]) == ("tap-a", "p1", 300, {})
    assert link["clock"] and link["kernels"] and link["hosts"] and link["software"] and link["drivers"]
    assert sum(file["pkts"] for file in told["files"]) == 300 and all(file["sidecar"] for file in told["files"])
    return manifest.body


def bundles(net, number, manifest, tmp_path):
    """zip and tar: deterministic, whole, a valid bag; any part of them can be had by itself."""
    for kind in ("zip", "tar"):
        first, second = fetch(net, number, f"format={kind}"), fetch(net, number, f"format={kind}&link=tap-a")
        assert first.status == 200 and first.body == second.body and first.headers["ETag"] == second.headers["ETag"]
        middle = len(first.body) // 2
        pieces = [fetch(net, number, f"format={kind}", headers={"Range": f"bytes={a}-{b}"}).body
                  for a, b in ((0, middle), (middle + 1, len(first.body) - 1))]
        assert b"".join(pieces) == first.body
        folder = tmp_path / kind
        folder.mkdir()
        if kind == "zip":
            with zipfile.ZipFile(io.BytesIO(first.body)) as bundle:
                assert bundle.testzip() is None
                bundle.extractall(folder)
        else:
            subprocess.run(["tar", "-x", "-C", folder], input=first.body, check=True)
            with tarfile.open(fileobj=io.BytesIO(first.body)) as bundle:
                assert {member.mtime for member in bundle} == {list(bundle)[0].mtime}
        check_bag(folder / f"dataset-{number}", manifest)


def check_bag(bag, manifest):
    assert (bag / "bagit.txt").read_text() == "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    assert (bag / "manifest.json").read_bytes() == manifest
    readme = (bag / "README.txt").read_text()
    assert "Nothing: every packet" in readme and "tap-a: saw" in readme
    for name in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        subprocess.run(["sha256sum", "--strict", "-c", name], cwd=bag, check=True, capture_output=True)
    listed = {line.split("  ")[1] for line in (bag / "manifest-sha256.txt").read_text().splitlines()}
    assert listed == {f"data/{path.name}" for path in (bag / "data").iterdir()}
    told = json.loads(manifest)
    for file in told["files"]:
        data = (bag / file["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    info = (bag / "bag-info.txt").read_text()
    sizes = [path.stat().st_size for path in (bag / "data").iterdir()]
    assert f"Payload-Oxum: {sum(sizes)}.{len(sizes)}\n" in info


def test_segments_come_while_the_capture_runs(net, tmp_path):  # noqa: F811
    """A segment that is complete is here before its capture ends, and is not fetched twice; a cancelled job leaves nothing."""
    job = create(net, limit_pkts=100)
    reach(net, job, "running")
    sent = udp(100)
    net.rig.send(sent[:40])
    wait_for(lambda: net.admin.get(f"/jobs/{job}").json["stored_pkts"] == 40)
    at_probe = net.probe.get("/v1/jobs").json()["jobs"][0]["id"]
    assert net.probe.ask("POST", f"/v1/jobs/{at_probe}/rotate").status in (200, 202, 204)

    def early():
        found = net.admin.get(f"/datasets?job_id={job}").json["items"]
        return found and net.admin.get(f"/datasets/{found[0]['id']}/files").json["items"]

    files = wait_for(early, 30)
    assert sum(file["pkts"] for file in files) == 40 and net.admin.get(f"/jobs/{job}").json["state"] == "running"
    dataset = net.admin.get(f"/datasets?job_id={job}").json["items"][0]
    assert dataset["state"] == "open"
    assert fetch(net, dataset["id"], "format=zip").status == 409
    assert net.admin.get(f"/datasets/{dataset['id']}/manifest").status == 409
    net.rig.send(sent[40:])
    assert reach(net, job, "done")["kept_pkts"] == 100
    got = records_of(tmp_path, fetch(net, dataset["id"], "format=pcap").body)
    assert [record.data for record in got] == sent
    nothing_left(net)


def test_what_is_missing_is_said(net, tmp_path):  # noqa: F811
    """A link whose probe is away is left out, as the job said: row, manifest, README and bundle say so, and the rest is whole."""
    net.link("tap-z", probe="away")
    sent = udp(20)
    job = create(net, links=["tap-a", "tap-z"], missing="skip", link_limit_pkts=20)
    wait_for(lambda: net.admin.get(f"/jobs/{job}").json["links"][0]["state"] == "running", 30)
    net.rig.send(sent)
    done = reach(net, job, "done", seconds=60)
    assert done["outcome"] == "incomplete", done
    dataset = net.admin.get(f"/datasets?job_id={job}").json["items"][0]
    manifest = net.admin.get(f"/datasets/{dataset['id']}/manifest").json
    assert dataset["state"] == "incomplete" and "tap-z: " in dataset["reasons"] and "tap-a" not in dataset["reasons"]
    assert manifest["complete"] is False and manifest["reasons"] == dataset["reasons"].split("\n")
    assert [link["result"] for link in manifest["links"]] == ["collected", "skipped"]
    assert [record.data for record in records_of(tmp_path, fetch(net, dataset["id"], "format=pcap").body)] == sent
    with zipfile.ZipFile(io.BytesIO(fetch(net, dataset["id"], "format=zip").body)) as bundle:
        readme = bundle.read(f"dataset-{dataset['id']}/README.txt").decode()
    assert f"- {manifest['reasons'][0]}\n" in readme and "Nothing: every packet" not in readme
    assert fetch(net, dataset["id"], "format=pcap&link=tap-z").status == 404
