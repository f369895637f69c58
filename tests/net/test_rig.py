# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the rig itself can be trusted: frames cross the link byte for byte and in order, the generated frames are what they claim
to be for other people's programs, files are read as tcpdump reads them, and nothing is left behind."""
import os
import subprocess
import time

import pytest

import frames
import pcapfile
import rig as rig_module
from conftest import pcap_files


def receive(rig, sent, tmp_path, sender):
    """What tcpdump stored on cap0 while sender() ran."""
    path = tmp_path / "seen.pcap"
    oracle = rig.start(["tcpdump", "-i", "cap0", "-w", path, "-U", "--immediate-mode", "-B", "65536", "-Z", "root"])
    oracle.wait_for_line("listening on")
    sender()
    rig.wait_for(lambda: path.exists() and path.stat().st_size >= 24 + sum(16 + len(frame) for frame in sent), "tcpdump's file", 10)
    oracle.stop()
    return [record.data for record in pcapfile.read(path)[1]]


@pytest.mark.parametrize("kind", ["mixed", "shortest", "malformed", "numbered"])
def test_frames_cross_the_link_unchanged(rig, tmp_path, kind):
    sent = {"mixed": lambda: frames.mixed(300, largest=1400), "shortest": frames.shortest, "malformed": frames.malformed,
            "numbered": lambda: frames.numbered(2000, 64)}[kind]()
    assert rig_module.first_difference(sent, receive(rig, sent, tmp_path, lambda: rig.send(sent))) is None


def test_jumbo_frames_cross_a_link_with_room(make_rig, tmp_path):
    rig, sent = make_rig(mtu=9000), frames.jumbo(20)
    assert rig_module.first_difference(sent, receive(rig, sent, tmp_path, lambda: rig.send(sent))) is None


def test_a_frame_too_long_for_the_link_is_an_error_not_a_loss(rig):
    with pytest.raises(AssertionError, match="bytes: .*[Mm]essage too long"):
        rig.send(frames.jumbo(1))


def test_silent_link_carries_nothing(rig):
    """No router solicitations, no ARP: what is counted is what was sent."""
    time.sleep(1.5)
    assert rig.arrived() == (0, 0)
    rig.send(frames.numbered(5, 64))
    assert rig.arrived() == (5, 0)


def test_queues_and_mtu(make_rig):
    link = make_rig(mtu=3000, queues=4).link("cap0")
    assert (link["mtu"], link["num_rx_queues"], link["num_tx_queues"]) == (3000, 4, 4)


def test_namespaces_are_gone_after_close(link_possible):
    rig = rig_module.Rig()
    process = rig.start(["sleep", "60"])
    names = (rig.cap, rig.gen)
    assert all(os.path.exists(f"/run/netns/{name}") for name in names)
    rig.close()
    rig.close()
    assert not any(os.path.exists(f"/run/netns/{name}") for name in names)
    assert process.popen.poll() is not None


def test_generated_frames_are_what_they_claim(tmp_path):
    """tshark finds every checksum right, and every protocol and tag present."""
    path = tmp_path / "mixed.pcap"
    sent = frames.mixed(400)
    pcapfile.write(path, sent)
    done = rig_module.command(
        ["tshark", "-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
         "-T", "fields", "-e", "frame.protocols", "-e", "ip.checksum.status", "-e", "tcp.checksum.status", "-e", "udp.checksum.status"],
        timeout_s=60, text=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == len(sent)
    assert not [row for row in rows if "0" in (row[1], row[2], row[3])], "a bad checksum"
    everything = " ".join(row[0] for row in rows)
    for protocol in ("ip:tcp", "ip:udp", "ipv6:tcp", "ipv6:udp", "quic", "vlan", "ethertype:vlan:ethertype:vlan"):
        assert protocol in everything or protocol.replace("ethertype:vlan:ethertype:vlan", "ieee8021ad") in everything, protocol


def test_the_seed_decides():
    assert frames.mixed(50, seed=5) == frames.mixed(50, seed=5)
    assert frames.mixed(50, seed=5) != frames.mixed(50, seed=6)


def test_reader_agrees_with_tcpdump(tmp_path):
    """Generated files, and every file of the folder of captures where there is one."""
    path = tmp_path / "made.pcap"
    made = frames.mixed(100)
    pcapfile.write(path, made)
    assert [record.data for record in pcapfile.read(path)[1]] == made
    assert rig_module.tcpdump_count(path) == 100
    assert rig_module.tshark_lengths(path) == [len(frame) for frame in made]
    for path in pcap_files():
        try:
            records = pcapfile.read(path)[1]
        except pcapfile.BadFile:
            with pytest.raises(AssertionError):
                rig_module.tcpdump_count(path)
            continue
        try:
            expected = rig_module.tcpdump_count(path)
        except AssertionError:
            continue  # tcpdump refuses what the format allows (several link types in a pcapng)
        assert len(records) == expected, path


def test_reader_refuses_torn_files(tmp_path):
    path = tmp_path / "torn.pcap"
    pcapfile.write(path, frames.numbered(10, 100))
    whole = path.read_bytes()
    for cut in (10, 30, 24 + 116 * 3 + 15, len(whole) - 1):
        with pytest.raises(pcapfile.BadFile):
            pcapfile.parse(whole[:cut])
        assert len(pcapfile.parse(whole[:cut], torn=True)[1]) == max(0, cut - 24) // 116


def test_difference_is_found():
    a, b = b"x" * 20, b"x" * 19 + b"y"
    assert rig_module.first_difference([a, b], [a, b]) is None
    assert "frame 1" in rig_module.first_difference([a, b], [a, a])
    assert "1 stored" in rig_module.first_difference([a, b], [a])


def test_a_test_that_hangs_is_stopped(tmp_path):
    """The limit of conftest.py is real: a test that sleeps for ever fails, and the next one still runs."""
    (tmp_path / "conftest.py").write_text((rig_module.ROOT / "tests/net/conftest.py").read_text())
    (tmp_path / "test_hang.py").write_text(
        "import time, pytest\n@pytest.mark.timeout(1)\ndef test_hang():\n    time.sleep(60)\ndef test_next():\n    pass\n")
    env = {**os.environ, "PYTHONPATH": str(rig_module.ROOT / "tests/net")}
    env.pop("SKEP_SANITIZED", None)
    done = subprocess.run([rig_module.PYTHON, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)], env=env,
                          capture_output=True, text=True, timeout=50, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout


def test_the_stack_drops_torn_tags_before_tcpdump(rig, tmp_path):
    """Why frames.torn_tags() is apart: they arrive, but no AF_PACKET socket sees them."""
    last = frames.numbered(1, 64)
    assert receive(rig, last, tmp_path, lambda: rig.send(frames.torn_tags() + last)) == last
    assert rig.arrived()[0] == len(frames.torn_tags()) + 1


def test_frames_lost_on_the_link_are_noticed(rig):
    """A loss before the capture must never look like a loss of the capture."""
    rig.run(["ip", "link", "set", "cap0", "down"])
    with pytest.raises(AssertionError, match="lost 3 of 3"):
        rig.send(frames.numbered(3, 64))
