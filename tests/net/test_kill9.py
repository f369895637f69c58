# SPDX-License-Identifier: BSD-2-Clause
"""Proves that `kill -9` at any moment under load costs at most the last second: what was flushed reads in `zstd -dc |
tcpdump -r -` as it lies, `skep-capture recover` ends it so that every tool is content, nothing stays on the link, and the next capture
starts at once. 100 random moments, seeded: files and folders, payload that shrinks and payload that does not, rotation every 2
MB in the folders."""
import json
import random
import time

import pytest

import pcapfile
import rig as rig_module
import traffic

CAPTURE = rig_module.BIN / "skep-capture"
SECOND_NS = 10**9
POINTS = 25 if rig_module.PATIENCE == 1 else 5
RATE = 8_000


def targets(kind, folder):
    if kind == "file":
        return ("-w", folder / "out.pcap.zst", "--level", "auto")
    return ("-w", folder, "-b", "filesize:2000")


def capture_and_kill(rig, kind, folder, delay_s):
    """Starts a capture, kills it after delay_s; returns the time of the kill (ns). The last one's socket may still be with the kernel."""
    process = rig.capture(*targets(kind, folder), *traffic.SOURCES["xdp-native"], *traffic.SMALL, "ip")
    time.sleep(delay_s)
    killed_ns = time.time_ns()
    process.kill()
    return killed_ns


def captures_in(folder):
    """Complete and torn capture files, in the order in which they were written."""
    return sorted(path for path in folder.iterdir() if path.name.endswith((".pcap.zst", ".pcap.zst.part")))


def check_readable(folder, delay_s, killed_ns):
    """As it lies: every record of every file, in order and without a gap, until a second before the end. Returns the records."""
    records = [record for path in captures_in(folder) for record in traffic.torn_read(path)]
    found = traffic.numbers(records)
    if found:
        assert found == list(range(found[0], found[0] + len(found))), f"a gap or disorder in {len(found)} records of {folder}"
    if delay_s > 1.1 * rig_module.PATIENCE:
        assert records, f"nothing to read after {delay_s} s"
        age_ns = killed_ns - records[-1].ts_ns
        assert age_ns <= SECOND_NS * rig_module.PATIENCE, f"the last packet that can be read is {age_ns / 1e9:.2f} s old"
    return records


def check_recovered(folder, records):
    """After recover: no .part, every file whole for zstd, tcpdump and our reader, no record fewer than before."""
    done = rig_module.command([CAPTURE, "recover", folder], timeout_s=30, text=True)
    left = [path.name for path in folder.iterdir() if path.name.endswith((".part", ".mend"))]
    assert not left, (left, done.stderr)
    files = captures_in(folder)
    assert not [path.name for path in folder.iterdir() if path.name.endswith(".part.json")], "a note without its file"
    for path in files:
        side = json.loads(path.with_name(path.name + ".json").read_text())
        assert side["link"] == "cap0" and side["source"] and side["hostname"] and side["filter"] == "ip", side
        rig_module.command(["zstd", "-tq", path])
        assert rig_module.tcpdump_count(path) == len(pcapfile.read(path)[1])
    recovered = traffic.records_of(files)
    assert recovered[:len(records)] == records, f"{len(recovered)} records recovered, {len(records)} could be read before"
    found = traffic.numbers(recovered)
    assert found == list(range(found[0], found[0] + len(found))) if found else True
    return files


@pytest.mark.timeout(120)
@pytest.mark.parametrize("payload", ["random", "compressible"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_killed_at_random_moments(make_rig, capture_built, kind, payload):
    """Also: the link is as it was after each kill, and the next capture starts although the last one was killed."""
    rig, rng = make_rig(gro=True), random.Random(f"{kind} {payload}")
    before = traffic.link_state(rig)
    generator = traffic.start_gen(rig, "--rate", f"{RATE}pps", "--size", "700", "--payload", payload, "--duration", "10m")
    with traffic.quick_folder() as base:
        for point in range(POINTS):
            folder = base / str(point)
            folder.mkdir()
            delay_s = rng.uniform(1.2, 1.6) * rig_module.PATIENCE if point % 12 == 11 else rng.uniform(0.0, 0.5)
            killed_ns = capture_and_kill(rig, kind, folder, delay_s)
            traffic.wait_for_state(rig, before)
            records = check_readable(folder, delay_s, killed_ns)
            files = check_recovered(folder, records)
            if point % 12 == 11:
                for path in files:
                    assert len(rig_module.tshark_lengths(path)) == len(pcapfile.read(path)[1])
    generator.stop(check=False)


def test_a_torn_file_reads_in_tshark_as_it_lies(make_rig, capture_built, tmp_path):
    """Not only after recover: tshark reads the .part itself up to the tear."""
    rig = make_rig(gro=True)
    generator = traffic.start_gen(rig, "--rate", "10kpps", "--size", "300", "--payload", "random", "--duration", "1m")
    process = rig.capture(*targets("file", tmp_path), *traffic.SOURCES["xdp-native"], *traffic.SMALL)
    # However long a busy machine takes for it: what is killed shall have written something.
    rig.wait_for(lambda: len(traffic.torn_read(captures_in(tmp_path)[0])) > 5000, "5000 packets in the file", 20)
    process.kill()
    generator.stop(check=False)
    part = captures_in(tmp_path)[0]
    records = traffic.torn_read(part)
    done = rig_module.command(["tshark", "-n", "-r", part, "-T", "fields", "-e", "frame.cap_len"], check=False, timeout_s=60, text=True)
    assert len(records) > 5000 and len(done.stdout.split()) >= len(records), done.stderr


def test_a_killed_folder_is_captured_into_again(make_rig, capture_built, tmp_path):
    """The next capture takes the next numbers and touches nothing; recover then ends what is torn and nothing else."""
    rig = make_rig(gro=True)
    generator = traffic.start_gen(rig, "--rate", "10kpps", "--size", "300", "--duration", "1m")
    capture_and_kill(rig, "folder", tmp_path, 1.2)
    torn = {path.name: path.read_bytes() for path in captures_in(tmp_path)}
    process = rig.capture(*targets("folder", tmp_path), "-c", "1000", *traffic.SOURCES["xdp-native"], *traffic.SMALL)
    process.finish()
    generator.stop(check=False)
    assert all((tmp_path / name).read_bytes() == data for name, data in torn.items())
    second = process.stats()["files"]
    assert second and not {path.rpartition("/")[2] for path in second} & set(torn)
    rig_module.command([CAPTURE, "recover", tmp_path], text=True)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
    assert sum(len(pcapfile.read(path)[1]) for path in second) == 1000
    for path in captures_in(tmp_path):
        side = path.with_name(path.name + ".json")
        assert side.exists(), f"{path.name} has no sidecar"
        assert json.loads(side.read_text())["account"]["stored_pkts"] == rig_module.tcpdump_count(path)


def test_recover_leaves_a_running_capture_alone(make_rig, capture_built, tmp_path):
    rig = make_rig(gro=True)
    process = rig.capture(*targets("file", tmp_path), *traffic.SOURCES["xdp-native"], *traffic.SMALL)
    said = traffic.gen(rig, "--count", "2000", "--rate", "10kpps", "--size", "300")
    rig_module.command([CAPTURE, "recover", tmp_path], check=False, text=True)
    assert (tmp_path / "out.pcap.zst.part").exists()
    process.stop()
    traffic.lossless(process.stats(), said["sent"])
    assert rig_module.tcpdump_count(tmp_path / "out.pcap.zst") == said["sent"]
