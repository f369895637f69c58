# SPDX-License-Identifier: BSD-2-Clause
"""`skep-capture extract`: packets of a time span or that match a filter, out of many captures, in order of time. Oracles are our own list
of the packets, tcpdump's filter, and the count of blocks that were read."""
import json
import random
import shutil

import frames
import pcapfile
import pytest
import rig as rig_module

FIRST_NS = 1_700_000_000_000_000_000
STEP_NS = 1000


def extract(*args, check=True):
    """(exit code, summary or words) of the command."""
    done = rig_module.command([rig_module.BIN / "skep-capture", "extract", "--stats", "json", *args], timeout_s=60, check=False, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.returncode, json.loads(done.stderr) if done.returncode == 0 else done.stderr


def capture(source, target, *args):
    rig_module.command([rig_module.BIN / "skep-capture", "-r", source, "-w", target, "-q", "--digest", "off", *args], timeout_s=60)


@pytest.fixture(scope="module")
def folder(capture_built, tmp_path_factory):
    """Three captures whose packets are interleaved in time: 9,000 packets, one a microsecond; and the list of them."""
    path = tmp_path_factory.mktemp("extract")
    sent = frames.mixed(9000, largest=1400)
    for n in range(3):
        plain = path / f"plain{n}"
        pcapfile.write(plain, sent[n::3], first_ns=FIRST_NS + n * STEP_NS, step_ns=3 * STEP_NS)
        capture(plain, path / f"part{n}.pcap.zst")
        plain.unlink()
    return path, sent


def test_everything_in_order_of_time(folder, tmp_path):
    """Three files become one, every packet once, at its place."""
    path, sent = folder
    _, said = extract(path, "-w", tmp_path / "all.pcap")
    records = pcapfile.read(tmp_path / "all.pcap")[1]
    assert [record.data for record in records] == sent
    assert [record.ts_ns for record in records] == [FIRST_NS + n * STEP_NS for n in range(len(sent))]
    assert said["written"] == 9000 and said["blocks_read"] == said["blocks"] and said["files_unindexed"] == 0


@pytest.mark.parametrize("first, last", [(0, 0), (1, 1), (4000, 4321), (8999, 8999), (8990, 20000)])
def test_a_span_of_time(folder, tmp_path, first, last):
    """Both ends belong to it; of the blocks only those are read that can hold such packets."""
    path, sent = folder
    at = [f"@{(FIRST_NS + n * STEP_NS) // 10**9}.{(FIRST_NS + n * STEP_NS) % 10**9:09d}" for n in (first, last)]
    _, said = extract(path, "--from", at[0], "--to", at[1], "-w", tmp_path / "span.pcap")
    assert [record.data for record in pcapfile.read(tmp_path / "span.pcap")[1]] == sent[first:last + 1]
    assert said["blocks_read"] < said["blocks"], said


def test_times_before_and_behind(folder, tmp_path):
    """A span without packets gives a valid, empty file, and reads nothing."""
    path, _ = folder
    for span in (("--to", "2001-01-01T00:00:00Z"), ("--from", "2040-01-01T00:00:00Z")):
        _, said = extract(path, *span, "-w", tmp_path / "none.pcap")
        assert said["blocks_read"] == 0 and pcapfile.read(tmp_path / "none.pcap")[1] == []


@pytest.mark.parametrize("expression", ["udp", "ip6 and tcp port 80", "vlan", "not ip", "greater 1000", "host 192.0.2.7"])
def test_a_filter_means_what_tcpdump_means(folder, tmp_path, expression):
    path, _ = folder
    extract(path, "-w", tmp_path / "all.pcap")
    _, said = extract(path, "-f", expression, "-w", tmp_path / "some.pcap")
    assert said["written"] == rig_module.tcpdump_count(tmp_path / "all.pcap", expression) > 0


def test_pcapng_keeps_packets_and_times(folder, tmp_path):
    path, sent = folder
    extract(path, "--format", "pcapng", "-w", tmp_path / "all.pcapng")
    assert [record.data for record in pcapfile.read(tmp_path / "all.pcapng")[1]] == sent
    assert rig_module.tshark_lengths(tmp_path / "all.pcapng") == [len(frame) for frame in sent]


def test_other_peoples_files_and_lost_sidecars(folder, tmp_path):
    """Without an index a file is read from end to end; the result is the same. A torn file gives its whole records."""
    path, sent = folder
    mine = tmp_path / "mine"
    shutil.copytree(path, mine)
    (mine / "part0.pcap.zst.json").unlink()
    (mine / "part1.pcap.zst.json").write_text("{ not json")
    _, said = extract(mine, "-w", tmp_path / "all.pcap")
    assert [record.data for record in pcapfile.read(tmp_path / "all.pcap")[1]] == sent
    assert said["files_unindexed"] == 2
    whole = (tmp_path / "all.pcap").read_bytes()
    (tmp_path / "torn.pcap").write_bytes(whole[:-7])
    _, said = extract(tmp_path / "torn.pcap", "-w", tmp_path / "kept.pcap")
    assert [record.data for record in pcapfile.read(tmp_path / "kept.pcap")[1]] == sent[:-1]


def test_sidecars_that_lie(folder, tmp_path):
    """Index entries that point anywhere are refused by name, whatever they say; nothing is read out of bounds."""
    path, _ = folder
    rng = random.Random(7)
    mine = tmp_path / "mine"
    shutil.copytree(path, mine)
    side = mine / "part1.pcap.zst.json"
    honest = json.loads(side.read_text())
    refused = 0
    for _ in range(40):
        lie = json.loads(json.dumps(honest))
        entry = rng.choice(lie["index"])
        field = rng.randrange(len(entry))
        entry[field] = rng.choice([0, 1, entry[field] + 1, entry[field] * 3 + 17, 2**40, 2**62])
        side.write_text(json.dumps(lie))
        code, said = extract(mine, "-w", tmp_path / "out.pcap", check=False)
        assert code in (0, 1), said
        refused += code == 1
        assert code == 0 or "part1.pcap.zst" in said, said
    assert refused > 0


@pytest.mark.parametrize("args, words", [
    ((), "no file is named"),
    (("/nowhere/x.pcap",), "/nowhere/x.pcap"),
    (("--from", "yesterday", "/tmp"), "no moment"),
    (("--from", "2026-02-30T00:00:00Z", "/tmp"), "no moment"),
    (("--from", "@20", "--to", "@10", "/tmp"), "later than"),
    (("-f", "udp prt 5", "/tmp"), "prt"),
])
def test_refusals(capture_built, args, words):
    code, said = extract(*args, "-w", "/dev/null", check=False)
    assert code in (1, 2) and words in said


def test_the_output_is_never_an_input(folder, tmp_path):
    path, _ = folder
    mine = tmp_path / "mine"
    shutil.copytree(path, mine)
    before = (mine / "part0.pcap.zst").read_bytes()
    code, said = extract(mine / "part0.pcap.zst", "-w", mine / "part0.pcap.zst", check=False)
    assert code == 2 and "overwritten" in said and (mine / "part0.pcap.zst").read_bytes() == before
    _, said = extract(mine, "-w", mine / "out.pcap")
    assert said["files"] == 3


def blocks_of(path):
    """The blocks of a pcapng file: (type, bytes)."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        length = int.from_bytes(data[at + 4:at + 8], "little")
        found.append((int.from_bytes(data[at:at + 4], "little"), data[at:at + length]))
        at += length
    return found


def test_a_list_names_files_and_their_links(folder, tmp_path):
    """Two links of three files: an interface for each, and its statistics at the end: what its files stored, and nothing dropped."""
    path, sent = folder
    names = tmp_path / "list"
    names.write_text("".join(f"{path}/part{n}.pcap.zst\t{link}\n" for n, link in enumerate(("tap-a", "tap-b", "tap-a"))))
    _, said = extract("--list", names, "--format", "pcapng", "-w", tmp_path / "all.pcapng")
    assert [record.data for record in pcapfile.read(tmp_path / "all.pcapng")[1]] == sent
    assert said["bytes"] == (tmp_path / "all.pcapng").stat().st_size and said["in_order"] is True
    assert (said["first_ns"], said["last_ns"]) == (FIRST_NS, FIRST_NS + 8999 * STEP_NS)
    blocks = blocks_of(tmp_path / "all.pcapng")
    interfaces = [data for kind, data in blocks if kind == 1]
    assert [name in data for name, data in zip((b"tap-a", b"tap-b"), interfaces, strict=True)] == [True, True]
    assert [kind for kind, _ in blocks[-2:]] == [5, 5]
    for number, (_, data) in enumerate(blocks[-2:]):
        assert int.from_bytes(data[8:12], "little") == number
        received = data.index(b"\x04\x00\x08\x00")
        assert int.from_bytes(data[received + 4:received + 12], "little") == (6000, 3000)[number]


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_an_output_that_was_cut_off_goes_on(folder, tmp_path, form):
    path, _ = folder
    extract(path, "--format", form, "-w", tmp_path / "all")
    whole = (tmp_path / "all").read_bytes()
    for skip in (1, 24, 70000, len(whole) - 1, len(whole), len(whole) + 5):
        _, said = extract(path, "--format", form, "--skip", str(skip), "-w", tmp_path / "rest")
        assert (tmp_path / "rest").read_bytes() == whole[skip:] and said["bytes"] == len(whole)
