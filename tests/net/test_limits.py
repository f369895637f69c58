# SPDX-License-Identifier: BSD-2-Clause
"""Proves that a capture ends, rotates, cuts and chooses exactly where it was told to: -c, -a, -b, -s, --trim, filters; that
standard output is a live stream; and that several links and several queues come together in one file by time, and apart in a
folder."""
import subprocess
import time

import pytest

import frames
import pcapfile
import rig as rig_module
import traffic

HEADER, RECORD = 24, 16
XDP = traffic.SOURCES["xdp-native"]
CAPTURE = rig_module.BIN / "skep-capture"


def bytes_of(path):
    return [record.data for record in pcapfile.read(path)[1]]


# --- stopping ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("words", [("-c", "137"), ("-a", "packets:137"), ("-c", "137", "--source", "afpacket"), ("-c", "1"), ("-c", "64")],
                         ids=" ".join)
def test_stops_at_exactly_the_packet(rig, capture_built, tmp_path, words):
    sent, path, wanted = frames.numbered(2000, 100), tmp_path / "out.pcap.zst", int(words[1].rpartition(":")[2])
    process = rig.capture("-w", path, *(words if "--source" in words else words + XDP), *traffic.SMALL)
    rig.send(sent)
    process.finish()
    stats = process.stats()
    assert bytes_of(path) == sent[:wanted]
    assert (stats["stored"], stats["dropped"], stats["outcome"]) == (wanted, {}, "complete"), stats
    assert rig_module.balanced(stats)


@pytest.mark.parametrize("size_kb, payload", [(100, 100), (37, 1400), (64, 713)])
def test_a_file_size_limit_holds_and_is_used_up(rig, capture_built, tmp_path, size_kb, payload):
    """The file is not larger than the limit, and one more packet would not have fitted."""
    sent, path = frames.numbered(3000, payload), tmp_path / "out.pcap"
    process = rig.capture("-w", path, "-a", f"filesize:{size_kb}", *XDP, *traffic.SMALL)
    rig.send(sent)
    process.finish()
    size = path.stat().st_size
    assert size <= size_kb * 1000 < size + RECORD + payload
    stored = bytes_of(path)
    assert stored == sent[:len(stored)] and process.stats()["stored"] == len(stored)


def test_a_file_size_limit_counts_the_uncompressed_file(rig, capture_built, tmp_path):
    sent, path = frames.numbered(500, 1000), tmp_path / "out.pcapng.zst"
    process = rig.capture("-w", path, "-a", "filesize:50kB", *XDP, *traffic.SMALL)
    rig.send(sent)
    process.finish()
    raw = len(pcapfile.read_bytes(path))
    assert raw <= 50_000 < raw + 32 + 1000
    assert bytes_of(path) == sent[:process.stats()["stored"]]


def test_a_duration_ends_the_capture_on_time(rig, capture_built, tmp_path):
    path = tmp_path / "out.pcap.zst"
    process = rig.capture("-w", path, "-a", "duration:1", *XDP, *traffic.SMALL)
    sender = traffic.start_gen(rig, "--rate", "5kpps", "--duration", "2s", "--size", "100")
    process.finish()
    sender.finish(check=False)  # half of its frames went nowhere
    stats = process.stats()
    records = pcapfile.read(path)[1]
    times = [record.ts_ns for record in records]
    assert traffic.numbers(records) == list(range(stats["stored"])) and 0 < len(times) < 10_000 and stats["dropped"] == {}, stats
    assert times[-1] - times[0] < 1_000_000_000
    assert 1_000_000_000 <= stats["duration_ns"] < 1_500_000_000 * rig_module.PATIENCE


def test_a_duration_of_a_file_is_counted_by_its_packets(capture_built, tmp_path):
    pcapfile.write(tmp_path / "in.pcap", frames.numbered(100, 64), step_ns=100_000_000)
    rig_module.command([CAPTURE, "-r", tmp_path / "in.pcap", "-w", tmp_path / "out.pcap", "-a", "duration:3", *traffic.SMALL])
    assert len(bytes_of(tmp_path / "out.pcap")) == 30


# --- rotation ---------------------------------------------------------------------------------------------------------

def test_rotation_by_size_keeps_every_packet(rig, capture_built, tmp_path):
    """Each file stands alone, is full, and together they are what was sent."""
    sent = frames.numbered(1000, 500)
    process = rig.capture("-w", tmp_path / "out.pcap.zst", "-b", "filesize:100", *XDP, *traffic.SMALL)
    rig.send(sent)
    process.stop()
    stats = process.stats()
    files = traffic.files_of(tmp_path)
    traffic.lossless(stats, len(sent))
    assert [str(path) for path in files] == stats["files"] and len(files) == 6
    assert [record.data for record in traffic.records_of(files)] == sent
    for path in files[:-1]:
        raw = len(pcapfile.read_bytes(path))
        assert raw <= 100_000 < raw + RECORD + 500
        assert rig_module.tcpdump_count(path) == len(bytes_of(path))


def test_rotation_keeps_the_last_files(rig, capture_built, tmp_path):
    sent = frames.numbered(2000, 500)
    process = rig.capture("-w", tmp_path / "out.pcap", "-b", "filesize:100", "-b", "files:3", *XDP, *traffic.SMALL)
    rig.send(sent)
    process.stop()
    files = traffic.files_of(tmp_path, ".pcap")
    stored = [record.data for record in traffic.records_of(files)]
    assert len(files) == 3 and [str(path) for path in files] == process.stats()["files"]
    assert stored == sent[-len(stored):] and len(stored) > 2 * 190
    beside = {f"{path.name}{suffix}" for path in files for suffix in (".json", ".sketch")}
    assert {path.name for path in tmp_path.iterdir()} - {path.name for path in files} <= beside, list(tmp_path.iterdir())


def test_rotation_by_time(rig, capture_built, tmp_path):
    process = rig.capture("-w", tmp_path / "out.pcap", "-b", "duration:1", *XDP, *traffic.SMALL)
    said = traffic.gen(rig, "--rate", "1kpps", "--duration", "2.5s", "--size", "100")
    process.stop()
    traffic.lossless(process.stats(), said["sent"])
    files = traffic.files_of(tmp_path, ".pcap")
    assert len(files) == 3
    assert traffic.numbers(traffic.records_of(files)) == list(range(said["sent"]))
    for path in files:
        times = [record.ts_ns for record in pcapfile.read(path)[1]]
        assert times[-1] - times[0] < 1_000_000_000


# --- cutting and choosing ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("snaplen", [14, 60, 68, 1000])
def test_snaplen_cuts_and_keeps_the_length(rig, capture_built, tmp_path, snaplen):
    sent, path = frames.mixed(200, largest=1400), tmp_path / "out.pcapng"
    process = rig.capture("-w", path, "-s", snaplen, *XDP, *traffic.SMALL)
    rig.send(sent)
    process.stop()
    records = pcapfile.read(path)[1]
    assert [record.data for record in records] == [frame[:snaplen] for frame in sent]
    assert [record.wire_len for record in records] == [len(frame) for frame in sent]



def test_trim_keeps_the_headers_and_nothing_else(rig, capture_built, tmp_path):
    """tshark, which saw the whole frame, says where the headers end."""
    sent, path, whole = frames.mixed(300, largest=1400), tmp_path / "out.pcap", tmp_path / "whole.pcap"
    pcapfile.write(whole, sent)
    process = rig.capture("-w", path, "--trim", "l4", *XDP, *traffic.SMALL)
    rig.send(sent)
    process.stop()
    rows = rig_module.command(["tshark", "-n", "-r", whole, "-T", "fields", "-e", "tcp.len", "-e", "udp.length", "-E", "occurrence=f"],
                              timeout_s=60, text=True).stdout.splitlines()
    records = pcapfile.read(path)[1]
    assert len(rows) == len(records) == len(sent)
    for frame, record, row in zip(sent, records, rows):
        tcp_len, udp_len = row.split("\t")
        payload = int(tcp_len) if tcp_len else int(udp_len) - 8
        assert record.data == frame[:len(frame) - payload] and record.wire_len == len(frame)


@pytest.mark.parametrize("expression", ["udp", "tcp port 80", "ip6", "vlan", "not ip and not ip6", "greater 1000", "udp port 443 and ip"])
def test_filters_choose_what_tcpdump_chooses(rig, capture_built, tmp_path, expression):
    sent, path, whole = frames.mixed(400, largest=1400), tmp_path / "out.pcap.zst", tmp_path / "whole.pcap"
    pcapfile.write(whole, sent)
    process = rig.capture("-w", path, *XDP, *traffic.SMALL, *expression.split())
    rig.send(sent)
    process.stop()
    stats = process.stats()
    rig_module.command(["tcpdump", "-nr", whole, "-w", tmp_path / "oracle.pcap", "-Z", "root", expression])
    assert bytes_of(path) == bytes_of(tmp_path / "oracle.pcap")
    assert stats["dropped"] == {} and (stats["seen"], stats["stored"] + stats["rejected"]) == (len(sent), len(sent))


def test_nothing_but_rejected_packets(rig, capture_built, tmp_path):
    """A valid empty file, and the reason in words."""
    path = tmp_path / "out.pcap.zst"
    process = rig.start([CAPTURE, "-i", "cap0", "-w", path, *XDP, *traffic.SMALL, "port", "54321"])
    process.wait_for_line(rig_module.READY)
    rig.send(frames.numbered(77, 100))
    assert process.stop() == 0
    assert "0 packets stored: 77 seen, all rejected by the filter" in process.err
    assert rig_module.tcpdump_count(path) == 0 and rig_module.tshark_lengths(path) == []


@pytest.mark.parametrize("name", ["out.pcap", "out.pcap.zst", "out.pcapng", "out.pcapng.zst"])
def test_no_packet_at_all(rig, capture_built, tmp_path, name):
    path = tmp_path / name
    process = rig.start([CAPTURE, "-i", "cap0", "-w", path, *XDP, *traffic.SMALL])
    process.wait_for_line(rig_module.READY)
    assert process.stop() == 0
    assert "0 packets stored: none was seen" in process.err
    assert pcapfile.read(path)[1] == [] and rig_module.tcpdump_count(path) == 0 and rig_module.tshark_lengths(path) == []


# --- standard output --------------------------------------------------------------------------------------------------

def test_standard_output_is_live(rig, capture_built):
    """Packets appear in `tcpdump -r -` within a second of being sent, not when the capture ends."""
    process = rig.start(["bash", "-c", '"$0" -i cap0 -w - --source xdp --link-role tap --memory 24MiB | tcpdump -nlr - 2>/dev/null',
                         CAPTURE])
    process.wait_for_line(rig_module.READY)
    for count in (1, 2, 3):
        rig.send(frames.numbered(10, 100))
        rig.wait_for(lambda count=count: process.out.count(b"\n") >= 10 * count, "tcpdump to print what was sent", 1)


def test_the_reader_of_standard_output_goes_away(rig, capture_built):
    """Ends with a reason and exit code 3; the link is as before."""
    before = traffic.link_state(rig)
    process = rig.start(["bash", "-c", '"$0" -i cap0 -w - --source xdp --link-role tap --memory 24MiB | head -c 100 >/dev/null;'
                         ' exit ${PIPESTATUS[0]}', CAPTURE])
    process.wait_for_line(rig_module.READY)
    deadline = time.monotonic() + 5 * rig_module.PATIENCE
    sender = traffic.start_gen(rig, "--rate", "1kpps", "--duration", "10s")
    while process.popen.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    sender.stop(check=False)
    assert process.finish(check=False, timeout_s=1) == 3, process.describe()
    assert "reader of the output went away" in process.err
    traffic.wait_for_state(rig, before)


# --- several links, several queues ------------------------------------------------------------------------------------

def interleave(rig, links, rounds=10, each=20):
    """Frames on each link in turn, so that their order in time is known; returns [(link number, frame)]."""
    order = []
    for n in range(rounds):
        for link in range(links):
            some = frames.numbered(each, 100, seed=n * links + link)
            rig.send(some, link=f"gen{link}")
            order += [(link, frame) for frame in some]
        time.sleep(0.002)
    return order


def test_two_links_in_one_pcapng(make_rig, capture_built, tmp_path):
    rig, path = make_rig(links=2), tmp_path / "out.pcapng.zst"
    process = rig.capture("-i", "cap1", "-w", path, *XDP, *traffic.SMALL)
    order = interleave(rig, 2)
    process.stop()
    traffic.lossless(process.stats(), len(order))
    records = pcapfile.read(path)[1]
    assert [record.data for record in records] == [frame for _, frame in order]
    plain = tmp_path / "plain.pcapng"
    plain.write_bytes(pcapfile.read_bytes(path))
    rows = rig_module.command(["tshark", "-n", "-r", plain, "-T", "fields", "-e", "frame.interface_id", "-e", "frame.interface_name"],
                              timeout_s=60, text=True).stdout.split("\n")[:-1]
    assert rows == [f"{link}\tcap{link}" for link, _ in order]


def test_two_links_in_a_folder(make_rig, capture_built, tmp_path):
    rig = make_rig(links=2)
    process = rig.capture("-i", "cap1", "-w", tmp_path, *XDP, *traffic.SMALL)
    order = interleave(rig, 2, rounds=3)
    process.stop()
    traffic.lossless(process.stats(), len(order))
    for link in (0, 1):
        mine = [path for path in traffic.files_of(tmp_path) if path.name.startswith(f"cap{link}-q0-")]
        assert [record.data for record in traffic.records_of(mine)] == [frame for n, frame in order if n == link]


def two_senders(rig, count, rate="4kpps"):
    """On a veth the receive queue is the sender's CPU: one generator for each queue, with numbers of its own. Each sees the
    other's frames in
    the link's counters and says so; the link's counters are checked here instead."""
    before = rig.link("gen0")["stats64"]["tx"]["dropped"]
    senders = [traffic.start_gen(rig, "--cpu", str(cpu), "--count", str(count), "--rate", rate, "--size", "200",
                                 "--first-seq", str(cpu * 1_000_000)) for cpu in (0, 1)]
    for sender in senders:
        code = sender.finish(timeout_s=30, check=False)
        assert code == 0 or f"{count} frames were handed over" in sender.err, sender.describe()
    assert rig.link("gen0")["stats64"]["tx"]["dropped"] == before, "the link lost frames"
    return 2 * count


def test_two_queues_in_a_folder(make_rig, capture_built, tmp_path):
    """Each queue has files of its own, and nothing is lost between them."""
    rig = make_rig(queues=2)
    process = rig.capture("-w", tmp_path, *XDP, *traffic.SMALL)
    sent = two_senders(rig, 3000)
    process.stop()
    traffic.lossless(process.stats(), sent)
    for queue in (0, 1):
        mine = [path for path in traffic.files_of(tmp_path) if path.name.startswith(f"cap0-q{queue}-")]
        first = queue * 1_000_000
        assert traffic.numbers(traffic.records_of(mine)) == list(range(first, first + 3000))


def test_two_queues_in_one_file(make_rig, capture_built, tmp_path):
    """Merged by time stamp; each queue's own order is kept."""
    rig, path = make_rig(queues=2), tmp_path / "out.pcap.zst"
    process = rig.capture("-w", path, *XDP, *traffic.SMALL)
    sent = two_senders(rig, 3000)
    process.stop()
    traffic.lossless(process.stats(), sent)
    records = pcapfile.read(path)[1]
    found = traffic.numbers(records)
    assert [n for n in found if n < 1_000_000] == list(range(3000))
    assert [n for n in found if n >= 1_000_000] == list(range(1_000_000, 1_003_000))
    times = [record.ts_ns for record in records]
    late = sum(1 for a, b in zip(times, times[1:]) if b < a)
    assert late <= len(times) // 100, f"{late} of {len(times)} records are earlier than the one before"


@pytest.mark.parametrize("where", ["folder", "file"])
def test_a_count_over_two_queues_is_exact(make_rig, capture_built, tmp_path, where):
    rig = make_rig(queues=2)
    target = tmp_path if where == "folder" else tmp_path / "out.pcap.zst"
    process = rig.capture("-w", target, "-c", "2345", *XDP, *traffic.SMALL)
    two_senders(rig, 3000)
    process.finish()
    stats = process.stats()
    assert (stats["stored"], stats["dropped"]) == (2345, {}), stats
    assert len(traffic.records_of(traffic.files_of(tmp_path))) == 2345


def test_chosen_queues_only(make_rig, capture_built, tmp_path):
    """What comes in on other queues is not part of the capture, and still balanced."""
    rig, path = make_rig(queues=2), tmp_path / "out.pcap"
    process = rig.capture("-w", path, "--queues", "1", *XDP, *traffic.SMALL)
    two_senders(rig, 500)
    process.stop()
    stats = process.stats()
    assert traffic.numbers(pcapfile.read(path)[1]) == list(range(1_000_000, 1_000_500))
    assert stats["stored"] == 500 and rig_module.balanced(stats) and "unaccounted" not in stats["dropped"], stats


# --- streams ----------------------------------------------------------------------------------------------------------

def test_a_stream_from_standard_input_and_from_a_command(capture_built, tmp_path):
    made = frames.mixed(200)
    pcapfile.write(tmp_path / "in.pcap", made)
    with open(tmp_path / "in.pcap", "rb") as stream:
        done = subprocess.run([CAPTURE, "--source", "stream", "-w", tmp_path / "a.pcap", *traffic.SMALL], stdin=stream,
                              capture_output=True, timeout=20 * rig_module.PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    done = rig_module.command([CAPTURE, "--stream-command", f"cat {tmp_path}/in.pcap", "-w", tmp_path / "b.pcap", *traffic.SMALL])
    assert bytes_of(tmp_path / "a.pcap") == bytes_of(tmp_path / "b.pcap") == made


def test_a_stream_command_that_fails_is_told(capture_built, tmp_path):
    done = rig_module.command([CAPTURE, "--stream-command", "exit 7", "-w", tmp_path / "x.pcap", *traffic.SMALL], check=False, text=True)
    assert done.returncode in (1, 3) and "7" in done.stderr, (done.returncode, done.stderr)


def test_a_link_without_xdp_falls_back_and_says_so(rig, capture_built, tmp_path):
    """Loopback has no native XDP: afpacket is taken."""
    path = tmp_path / "out.pcap"
    process = rig.capture("-w", path, *traffic.SMALL, link="lo")
    rig.run(["bash", "-c", "for i in 1 2 3; do echo x >/dev/udp/127.0.0.1/9; done"])
    time.sleep(0.2)
    process.stop()
    assert "afpacket" in process.err and "afpacket" in " ".join(process.stats()["links"])
    assert rig_module.tcpdump_count(path, "udp", "port", "9") == 3
