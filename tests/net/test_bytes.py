# SPDX-License-Identifier: BSD-2-Clause
"""Proves that a capture file is what was on the link, for every source, format, compression and level: one capture each over every frame of
the folder of captures and every kind of generated frame. And that -r gives what libpcap reads of the same file, for every link type.

Oracles: tcpdump (through zstd -dc), tshark, and a reader that shares no code with skep."""
import concurrent.futures
import struct
import time

import pytest

import frames
import pcapfile
import rig as rig_module
import traffic
from conftest import pcap_files

MTU = 9000
CAPTURE = rig_module.BIN / "skep-capture"


def folder_frames():
    """Ethernet frames of the folder; files that are torn on purpose give what is whole."""
    for path in pcap_files():
        linktype, records = pcapfile.parse(pcapfile.read_bytes(path), torn=True)
        if linktype == pcapfile.LINKTYPE_ETHERNET:
            yield from (record.data for record in records)


def everything():
    """What the link carries of all there is, and what it does not: shorter than a header, longer than the MTU and two tags."""
    rng_frames = frames.mixed(400, largest=MTU) + frames.jumbo(40, mtu=MTU) + frames.shortest() + frames.malformed()
    return rng_frames + list(folder_frames()) + frames.mixed(100, seed=9)


def is_tagged(frame):
    return frame[12:14] in (b"\x81\x00", b"\x88\xa8")


def carried(frame):
    """The kernel's own limits: packet_snd() refuses more than MTU + header, or + one tag if there is a tag."""
    return 14 <= len(frame) <= MTU + 14 + (4 if frame[12:14] == b"\x81\x00" else 0)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """(file with all frames, frames that the link carries)."""
    path = tmp_path_factory.mktemp("bytes") / "all.pcap"
    everyone = everything()
    pcapfile.write(path, everyone)
    return path, [frame for frame in everyone if carried(frame)], len(everyone)


def seen_by(source, sent):
    """The stack drops a frame with a tag and fewer than two bytes after it before an AF_PACKET socket sees it."""
    return [frame for frame in sent if len(frame) >= 20 or not is_tagged(frame)] if source == "afpacket" else sent


COMBINATIONS = [(source, name, level) for source in traffic.SOURCES for name, level in (
    ("out.pcap", None), ("out.pcap.zst", "auto"), ("out.pcapng.zst", "1"))] + \
    [("xdp-native", "out.pcap.zst", "0"), ("afpacket", "out.pcapng.zst", "0"), ("mirror", "out.pcapng", None)]


@pytest.mark.slow
@pytest.mark.parametrize("source, name, level", COMBINATIONS)
def test_stored_bytes_are_the_bytes_sent(make_rig, capture_built, material, tmp_path, source, name, level):
    """skep-send counts what the link did not take; everything else is in the file, in order, with the time at which it was sent."""
    everything_path, sent, total = material
    rig, path = make_rig(mtu=MTU), tmp_path / name
    process = rig.capture("-w", path, *traffic.SOURCES[source], *(("--level", level) if level else ()))
    begin_ns = time.time_ns()
    said = traffic.send_file(rig, everything_path, "--rate", "25kpps")
    process.stop()
    end_ns = time.time_ns()
    stats = process.stats()
    assert (said["sent"], said["skipped"], said["dropped"]) == (len(sent), total - len(sent), 0), said
    sent = seen_by(source, sent)
    traffic.lossless(stats, len(sent))
    records = pcapfile.read(path)[1]
    assert rig_module.first_difference(sent, [record.data for record in records]) is None
    assert [record.wire_len for record in records] == [len(frame) for frame in sent]
    assert rig_module.tcpdump_count(path) == len(sent)
    assert rig_module.tshark_lengths(path) == [len(frame) for frame in sent]
    times = [record.ts_ns for record in records]
    assert times == sorted(times)
    assert begin_ns <= times[0] and times[-1] <= end_ns, (begin_ns, times[0], times[-1], end_ns)


def read_back(path, folder, name):
    out = folder / name
    done = rig_module.command([CAPTURE, "-r", path, "-w", out, "-q", "--digest", "off", *traffic.SMALL],
                               check=False, timeout_s=60, text=True)
    return done, out


def compare_with_libpcap(path, folder):
    """None, or what is different. libpcap cuts a record at the file's own snapshot length, where Wireshark and we keep what is there."""
    oracle = rig_module.command(["tcpdump", "--time-stamp-precision=nano", "-r", path,
                                 "-w", folder / (path.name + ".oracle"), "-Z", "root"],
                                check=False, timeout_s=60, text=True)
    done, out = read_back(path, folder, path.name + ".pcap")
    if oracle.returncode:
        return None if done.returncode in (1, 3) and done.stderr.strip() else \
            f"{path.name}: tcpdump refuses it ({oracle.stderr.strip()}), we say {done.returncode} {done.stderr}"
    if done.returncode:
        return f"{path.name}: exit code {done.returncode}: {done.stderr}"
    data = (folder / (path.name + ".oracle")).read_bytes()
    snaplen = struct.unpack_from("<I", data, 16)[0]
    (want_type, want), (have_type, have) = pcapfile.parse(data), pcapfile.read(out)
    if (want_type, len(want)) != (have_type, len(have)):
        return f"{path.name}: link type {have_type} for {want_type}, {len(have)} records for {len(want)}"
    for n, (a, b) in enumerate(zip(want, have)):
        cut = len(a.data) == snaplen < len(b.data)
        if a.ts_ns != b.ts_ns or (b.data[:snaplen] if cut else b.data) != a.data or b.wire_len != max(a.wire_len, len(b.data)):
            return f"{path.name}: record {n}: {b} for {a}"
    return None


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_reading_every_file_gives_what_libpcap_reads(capture_built):
    """-r FILE -w FILE, Ethernet or not, pcap or pcapng."""
    files = pcap_files()
    if not files:
        pytest.skip("no folder of captures: neither SKEP_PCAPS nor ../shared/pcaps")
    with traffic.quick_folder() as folder, concurrent.futures.ThreadPoolExecutor(4) as pool:
        wrong = [line for line in pool.map(lambda path: compare_with_libpcap(path, folder), files) if line]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["out.pcap", "out.pcapng", "out.pcap.zst", "out.pcapng.zst"])
def test_reading_generated_files(capture_built, tmp_path, name):
    """Any format in, any format out, and back again: the records do not change."""
    made = frames.mixed(300) + frames.shortest() + frames.malformed() + frames.jumbo(20) + [b""]
    pcapfile.write(tmp_path / "in.pcap", made)
    want = pcapfile.read(tmp_path / "in.pcap")
    for step in (name, "again-" + name, "back.pcap"):
        source = tmp_path / "in.pcap" if step == name else tmp_path / (name if step.startswith("again") else "again-" + name)
        done, out = read_back(source, tmp_path, step)
        assert done.returncode == 0, done.stderr
        assert pcapfile.read(out) == want, step
    assert rig_module.tcpdump_count(tmp_path / name) == len(made)


def test_a_torn_file_gives_its_whole_records_and_exit_code_3(capture_built, tmp_path):
    """What can be read is stored; that something is missing is said."""
    pcapfile.write(tmp_path / "in.pcap", frames.numbered(100, 200))
    (tmp_path / "torn.pcap").write_bytes((tmp_path / "in.pcap").read_bytes()[:-50])
    done, out = read_back(tmp_path / "torn.pcap", tmp_path, "out.pcap")
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert pcapfile.read(out)[1] == pcapfile.read(tmp_path / "in.pcap")[1][:99]
    assert "torn.pcap" in done.stderr or "ends" in done.stderr or "cut" in done.stderr, done.stderr
