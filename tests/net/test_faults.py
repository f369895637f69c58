# SPDX-License-Identifier: BSD-2-Clause
"""Proves what happens when things go wrong during a capture: the disk fills up and gets space again, or is slower than the link;
the link goes down, comes back, is deleted or changed; its program is taken away; a signal ends everything. The account is exact
each time, against the generator's count; files are whole; the reason is given in words; the link is left as it was found."""
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

import frames
import pcapfile
import rig as rig_module
import traffic

CAPTURE = rig_module.BIN / "skep-capture"
XDP = traffic.SOURCES["xdp-native"]
MIB = 1 << 20


class Disk:
    """A small file system of its own, seen by everybody through `path`: tmpfs, or ext4 on a loop device."""

    def __init__(self, folder, kind, size_mib):
        self.path, self.kind = folder / "disk", kind
        self.path.mkdir()
        if kind == "tmpfs":
            rig_module.command(["mount", "-t", "tmpfs", "-o", f"size={size_mib}M", "skep-test", self.path])
            return
        image = folder / "image"
        with open(image, "wb") as file:
            file.truncate(size_mib * MIB)
        rig_module.command(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image])
        done = rig_module.command(["mount", "-o", "loop", image, self.path], check=False, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a loop device: {done.stderr.strip()}")

    def free_mib(self):
        return os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize / MIB

    def close(self):
        subprocess.run(["umount", "-l", self.path], timeout=20, check=False)


@pytest.fixture
def make_disk(tmp_path):
    disks = []

    def make(kind, size_mib):
        disks.append(Disk(tmp_path, kind, size_mib))
        return disks[-1]

    yield make
    for disk in disks:
        disk.close()


def stored_in(folder):
    """Every file of the folder, checked by zstd and tcpdump; the generator's numbers in order."""
    files = traffic.files_of(folder)
    for path in files:
        rig_module.command(["zstd", "-tq", path])
        assert rig_module.tcpdump_count(path) == len(pcapfile.read(path)[1])
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
    found = traffic.numbers(traffic.records_of(files))
    assert found == sorted(set(found)), "duplicates or disorder"
    return found


def exact(stats, sent, stored):
    """Everything that was sent is in the account, and everything that is called stored can be read."""
    assert stats["stored"] + stats["rejected"] + sum(stats["dropped"].values()) == stats["seen"] == sent, (stats, sent)
    assert stats["stored"] == stored, (stats, stored)
    assert "unaccounted" not in stats["dropped"], stats


# --- the disk ---------------------------------------------------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_full_disk_gets_space_again(rig, capture_built, make_disk, kind):
    """Drops are counted by name, little CPU is used while waiting, the reserve stays free, and when there is space the capture goes on."""
    disk = make_disk(kind, 128)
    ballast = disk.path / "ballast"
    ballast.write_bytes(os.urandom(72 * MIB))
    process = rig.capture("-w", disk.path, "--reserve", "16MiB", "--digest", "off", "--on-full", "wait", *XDP, *traffic.SMALL)
    # 40 kpps of 1,000 random bytes are 40 MB/s: full after a second, and memory (24 MiB) half a second later.
    sender = traffic.start_gen(rig, "--rate", "40kpps", "--size", "1000", "--payload", "random", "--duration", "60s")
    process.wait_for_line("disk is full", 8)
    assert disk.free_mib() >= 15.9
    time.sleep(1)
    used_s, begin_s = traffic.cpu_s(process.pid), time.monotonic()
    time.sleep(1)
    busy = (traffic.cpu_s(process.pid) - used_s) / (time.monotonic() - begin_s)
    assert disk.free_mib() >= 15.9, "the reserve was used"
    ballast.unlink()
    process.wait_for_line("goes on", 5)
    time.sleep(2)
    sender.stop()
    assert process.stop(check=False, timeout_s=10) == 3
    stats, found = process.stats(), stored_in(disk.path)
    exact(stats, sender.stats()["sent"], len(found))
    assert stats["dropped"].get("disk_full", 0) > 0 and set(stats["dropped"]) <= {"disk_full", "buffers_full", "rx_ring_full"}, stats
    after_gap = max(range(1, len(found)), key=lambda n: found[n] - found[n - 1])
    assert found[0] == 0 and len(found) - after_gap > 5000, f"only {len(found) - after_gap} packets are from after the full disk"
    assert busy < 0.6 * rig_module.PATIENCE, f"{busy:.2f} of a CPU while the disk was full"
    assert stats["outcome"] == "incomplete" and any("disk_full" in reason for reason in stats["reasons"])
    assert disk.free_mib() >= 15.9


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_full_disk_stops_the_capture_if_so_told(rig, capture_built, make_disk, kind):
    disk, before = make_disk(kind, 48), traffic.link_state(rig)
    process = rig.capture("-w", disk.path, "--reserve", "16MiB", "--digest", "off", "--on-full", "stop", *XDP, *traffic.SMALL)
    sender = traffic.start_gen(rig, "--rate", "40kpps", "--size", "1000", "--payload", "random", "--duration", "8s")
    assert process.finish(check=False, timeout_s=8) == 3
    sender.stop(check=False)
    stats, found = process.stats(), stored_in(disk.path)
    assert rig_module.balanced(stats) and stats["stored"] == len(found) > 5000, stats
    # What is missing between the first and the last was dropped, for the one reason that a busy machine has: a ring that nobody emptied.
    missing = found[-1] + 1 - len(found)
    assert missing <= sum(n for why, n in stats["dropped"].items() if why != "disk_full"), f"{missing} packets are missing: {stats}"
    assert any("disk is full" in reason for reason in stats["reasons"]), stats
    assert disk.free_mib() >= 15.9
    traffic.wait_for_state(rig, before)


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_reader_ten_times_slower_than_the_link(rig, capture_built, tmp_path):
    """A pipe that takes 3 MB/s of 30: everything not stored is counted, memory stays flat."""
    pipe, got = tmp_path / "pipe", bytearray()
    os.mkfifo(pipe)

    def read_slowly():
        with open(pipe, "rb", buffering=0) as stream:
            while chunk := stream.read(65536):
                got.extend(chunk)
                time.sleep(0.02)

    reader = threading.Thread(target=read_slowly, daemon=True)
    reader.start()
    process = rig.capture("-w", pipe, *XDP, *traffic.SMALL)
    # By number, not by time: on a busy machine it takes longer, but the pipe and memory (24 MiB) do not get larger for it.
    sender = traffic.start_gen(rig, "--rate", "30kpps", "--size", "1000", "--payload", "random", "--count", "120000")
    sizes = []
    while sender.popen.poll() is None:
        sizes.append(traffic.rss_kib(process.pid))
        time.sleep(0.2)
    sender.finish()
    process.stop(check=False, timeout_s=40)
    reader.join(5)
    stats = process.stats()
    records = pcapfile.parse(bytes(got), torn=True)[1]
    found = traffic.numbers(records)
    exact(stats, sender.stats()["sent"], len(found))
    assert found == sorted(set(found))
    assert stats["dropped"]["buffers_full"] > 50_000 and set(stats["dropped"]) <= {"buffers_full", "rx_ring_full"}, stats
    if rig_module.PATIENCE == 1:
        assert max(sizes) < 300 * 1024 and max(sizes) - sizes[len(sizes) // 2] < 8 * 1024, sizes


# --- the link ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("source", traffic.SOURCES)
def test_a_link_that_goes_down_and_up(rig, capture_built, tmp_path, source):
    """The capture goes on by itself; packets from before and after are in the file."""
    path = tmp_path / "out.pcap.zst"
    process = rig.capture("-w", path, *traffic.SOURCES[source], *traffic.SMALL)
    sent = frames.numbered(300, 100)
    rig.send(sent[:150])
    rig.run(["ip", "link", "set", "cap0", "down"])
    time.sleep(0.5)
    rig.run(["ip", "link", "set", "cap0", "up"])
    rig.wait_for(lambda: rig.link("cap0")["operstate"] == "UP", "the link to come up")
    time.sleep(0.3)
    assert process.popen.poll() is None, process.describe()
    rig.send(sent[150:])
    process.stop(check=False)
    assert [record.data for record in pcapfile.read(path)[1]] == sent
    traffic.lossless(process.stats(), len(sent))


@pytest.mark.parametrize("source", traffic.SOURCES)
def test_a_link_that_is_deleted(rig, capture_built, tmp_path, source):
    """Ends with a reason; what came before is in the file."""
    path, sent = tmp_path / "out.pcap.zst", frames.numbered(200, 100)
    process = rig.capture("-w", path, *traffic.SOURCES[source], *traffic.SMALL)
    rig.send(sent)
    time.sleep(0.5)
    rig.run(["ip", "link", "del", "cap0"])
    assert process.finish(check=False, timeout_s=5) == 3, process.describe()
    stats = process.stats()
    assert any("cap0" in reason and ("deleted" in reason or "gone" in reason or "removed" in reason) for reason in stats["reasons"]), stats
    assert [record.data for record in pcapfile.read(path)[1]] == sent
    traffic.lossless(stats, len(sent))


@pytest.mark.parametrize("source", traffic.SOURCES)
def test_the_mtu_changes(rig, capture_built, tmp_path, source):
    """Longer frames than at the start are stored too, or the capture ends and says why."""
    path = tmp_path / "out.pcap.zst"
    process = rig.capture("-w", path, *traffic.SOURCES[source], *traffic.SMALL)
    short = frames.numbered(100, 100)
    rig.send(short)
    grown = all(rig.run(["ip", "link", "set", name, "mtu", "3000"], ns=ns, check=False).returncode == 0
                for name, ns in (("cap0", rig.cap), ("gen0", rig.gen)))
    if not grown:  # the driver refuses it while such a program is attached: a way to be right
        process.stop()
        traffic.lossless(process.stats(), len(short))
        return
    time.sleep(0.5)
    if process.popen.poll() is None:
        longer = frames.numbered(100, 2800)
        rig.send(longer)
        process.stop(check=False)
        traffic.lossless(process.stats(), 200)
        assert [record.data for record in pcapfile.read(path)[1]] == short + longer
    else:
        assert process.finish(check=False) == 3
        assert any("MTU" in reason for reason in process.stats()["reasons"]), process.stats()
        assert [record.data for record in pcapfile.read(path)[1]] == short


def test_the_number_of_queues_changes(make_rig, capture_built, tmp_path):
    """A capture of all queues that no longer sees all of them ends and says so, rather than lose packets silently."""
    rig, path = make_rig(queues=2), tmp_path / "out.pcap.zst"
    rig.run(["ethtool", "-L", "gen0", "tx", "1"], ns=rig.gen)  # a veth end needs as many receive queues as the other has for sending
    rig.run(["ethtool", "-L", "cap0", "rx", "1"])
    process = rig.capture("-w", path, *XDP, *traffic.SMALL)
    done = rig.run(["ethtool", "-L", "cap0", "rx", "2"], check=False, text=True)
    if done.returncode:
        process.stop()
        pytest.skip(f"the driver refuses the change: {done.stderr.strip()}")
    assert process.finish(check=False, timeout_s=5) == 3, process.describe()
    assert any("queues changed from 1 to 2" in reason for reason in process.stats()["reasons"]), process.stats()
    assert pcapfile.read(path)[1] == []


def xdp_object(folder):
    """A tiny XDP program of somebody else's."""
    (folder / "other.c").write_text(
        '__attribute__((section("xdp"), used)) int other(void *ctx) { return 2; }\n'
        'char _license[] __attribute__((section("license"), used)) = "GPL";\n')
    rig_module.command(["clang", "-O2", "-target", "bpf", "-g", "-c", folder / "other.c", "-o", folder / "other.o"], timeout_s=60)
    return folder / "other.o"


@pytest.mark.parametrize("source", ["xdp-native", "mirror"])
def test_nobody_puts_another_program_in_our_place(rig, capture_built, tmp_path, source):
    """The kernel refuses it, because ours is attached by a BPF link; the capture goes on."""
    other, path = xdp_object(tmp_path), tmp_path / "out.pcap.zst"
    process = rig.capture("-w", path, *traffic.SOURCES[source], *traffic.SMALL)
    done = rig.run(["ip", "-force", "link", "set", "dev", "cap0", "xdp", "obj", other, "sec", "xdp"], check=False, text=True)
    assert done.returncode != 0
    sent = frames.numbered(100, 100)
    rig.send(sent)
    process.stop()
    traffic.lossless(process.stats(), len(sent))
    assert [record.data for record in pcapfile.read(path)[1]] == sent


@pytest.mark.parametrize("source", ["xdp-native", "mirror"])
def test_our_program_is_taken_away(rig, capture_built, tmp_path, source):
    """By root, with `bpftool link detach`: the capture ends with a reason in words, what it had is stored."""
    path, sent = tmp_path / "out.pcap.zst", frames.numbered(100, 100)
    process = rig.capture("-w", path, *traffic.SOURCES[source], *traffic.SMALL)
    rig.send(sent)
    prog = rig.link("cap0")["xdp"]["prog"]["id"]
    links = [entry for entry in json.loads(rig.run(["bpftool", "-j", "link", "show"], text=True).stdout)
             if entry.get("prog_id") == prog]
    assert len(links) == 1, links
    rig.run(["bpftool", "link", "detach", "id", links[0]["id"]])
    assert process.finish(check=False, timeout_s=5) == 3, process.describe()
    assert any("cap0" in reason and "program" in reason for reason in process.stats()["reasons"]), process.stats()
    assert [record.data for record in pcapfile.read(path)[1]] == sent


# --- signals ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda sig: sig.name)
@pytest.mark.parametrize("source", traffic.SOURCES)
def test_a_signal_ends_it_properly(rig, capture_built, tmp_path, source, sig):
    """Everything that had arrived is stored; exit code 0; the link is as it was found."""
    rig.run(["ethtool", "-K", "cap0", "gro", "on"])
    before, path, sent = traffic.link_state(rig), tmp_path / "out.pcap.zst", frames.numbered(100, 100)
    process = rig.capture("-w", path, *traffic.SOURCES[source], *traffic.SMALL)
    assert rig.link("cap0")["promiscuity"] == before["promiscuity"] + 1
    rig.send(sent)
    assert process.stop(sig) == 0
    assert [record.data for record in pcapfile.read(path)[1]] == sent
    traffic.wait_for_state(rig, before)


@pytest.mark.parametrize("sig", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL], ids=lambda sig: sig.name)
@pytest.mark.parametrize("source", ["xdp-native", "mirror", "afpacket"])
def test_a_crash_leaves_the_link_as_it_was(rig, capture_built, tmp_path, source, sig):
    before = traffic.link_state(rig)
    process = rig.capture("-w", tmp_path / "out.pcap.zst", *traffic.SOURCES[source], *traffic.SMALL)
    rig.send(frames.numbered(10, 100))
    process.popen.send_signal(sig)
    process.finish(check=False)
    traffic.wait_for_state(rig, before)
    again = rig.capture("-w", tmp_path / "again.pcap.zst", *traffic.SOURCES[source], *traffic.SMALL)
    rig.send(frames.numbered(10, 100))
    again.stop()
    traffic.lossless(again.stats(), 10)


def test_no_process_is_left_behind(rig, capture_built, tmp_path):
    process = rig.capture("-w", tmp_path / "out.pcap.zst", *XDP, *traffic.SMALL)
    process.popen.kill()
    process.finish(check=False)
    rig.wait_for(lambda: not rig_module.command(["ip", "netns", "pids", rig.cap], text=True).stdout.split(), "every process to end", 3)
    assert not pathlib.Path(f"/proc/{process.pid}").exists()
