# SPDX-License-Identifier: BSD-2-Clause
"""--inside against tshark, which looks into everything: the same frames match, for every kind alone and for packets in packets in packets;
without --inside, and for other kinds, exactly what tcpdump matches. Through skep-filter count, so through the programs of a link."""
import json
import random
import re
import subprocess

import frames
import pcapfile
import pytest
import rig as rig_module
import tunnels

TOOL = rig_module.BIN / "skep-filter"
INNER_FLOW = 7000  # its addresses are no outer one's


def count(path, expression, inside=None):
    options = ["--inside", inside] if inside else []
    done = subprocess.run([TOOL, "count", *options, "-r", path, expression], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return int(re.fullmatch(r"matched (\d+) of \d+\n", done.stdout)[1])


def tshark_count(path, display):
    done = subprocess.run(["tshark", "-n", "-r", path, "-d", "udp.port==8472,vxlan", "-Y", display, "-T", "fields", "-e", "frame.number"],
                          capture_output=True, text=True, timeout=120, check=True)
    return len(done.stdout.splitlines())


def inner_frame(rng):
    version, kind = rng.choice((4, 6)), rng.choice(("tcp", "udp"))
    packet = frames.packet(version, kind, INNER_FLOW + rng.randrange(4), rng, rng.choice((0, 20, 300)))
    return frames.ethernet(frames.ether(version), packet)


def write(path, count_frames, depth, kinds, seed):
    """Frames of up to `depth` layers; no tags on tags, which would be one layer, and labels right below an Ethernet header."""
    rng = random.Random(seed)
    made = []
    for flow in range(count_frames):
        frame, last = inner_frame(rng), None
        for _ in range(rng.randrange(1, depth + 1)):
            above = {"vlan": ("vlan", "qinq"), "qinq": ("vlan", "qinq"), "mpls": ("vlan", "qinq", "mpls")}
            last = rng.choice([kind for kind in kinds if last not in above.get(kind, ())])
            frame = tunnels.wrap(last, frame, rng, flow)
        made.append(frame)
    pcapfile.write(path, made)




@pytest.mark.parametrize("kind", tunnels.KINDS)
def test_one_kind(tmp_path, kind):
    path = tmp_path / "one.pcap"
    write(path, 200, 1, [kind], seed=5)
    inner4, inner6 = frames.addresses(4, INNER_FLOW), frames.addresses(6, INNER_FLOW)
    terms = [("udp port 53", "udp.port == 53"), ("tcp port 80", "tcp.port == 80"), ("udp port 53 or tcp port 80", "frame"),
             (f"dst host {'.'.join(map(str, inner4[1]))}", f"ip.dst == {'.'.join(map(str, inner4[1]))}"),
             (f"src host 2001:db8::{INNER_FLOW + 1:x}", f"ipv6.src == 2001:db8::{INNER_FLOW + 1:x}")]
    assert inner6[0][-2:] == (INNER_FLOW + 1).to_bytes(2, "big")
    for expression, display in terms:
        want = tshark_count(path, display)
        assert want > 0
        assert count(path, expression, kind) == want
        assert count(path, expression, ",".join(tunnels.KINDS)) == want
        others = ",".join(other for other in tunnels.KINDS if other != kind)
        assert count(path, expression) == count(path, expression, others) == rig_module.tcpdump_count(path, expression) == 0


@pytest.mark.parametrize("seed", range(3))
def test_packets_in_packets(tmp_path, seed):
    path = tmp_path / "nested.pcap"
    write(path, 600, 3, tunnels.KINDS, seed)
    everything = ",".join(tunnels.KINDS)
    for expression, display in [("udp port 53", "udp.port == 53"), ("tcp port 80", "tcp.port == 80"), ("tcp", "tcp"), ("vlan", "vlan"),
                                ("net 192.0.2.0/24", "ip.addr == 192.0.2.0/24"), ("ip6", "ipv6"), ("ip", "ip")]:
        if expression == "vlan":  # to pcap-filter(7) any tag, at the beginning of a frame
            display = "vlan or ieee8021ad"
        assert count(path, expression, everything) == tshark_count(path, display), expression


def test_what_is_not_asked_for_changes_nothing(tmp_path):
    """On traffic of all kinds, whole and malformed, a filter without --inside stays tcpdump's."""
    path = tmp_path / "all.pcap"
    rng = random.Random(9)
    made = [tunnels.wrap(kind, inner_frame(rng), rng, flow) for flow, kind in enumerate(tunnels.KINDS * 20)]
    pcapfile.write(path, made + [frame[:rng.randrange(14, len(frame))] for frame in made] + frames.malformed())
    for expression in ("tcp", "udp port 4789", "proto 47", "vlan and ip", "mpls and ip", "net 198.51.100.0/24", "len > 120"):
        assert count(path, expression) == rig_module.tcpdump_count(path, expression)


def test_words(tmp_path):
    def run(*argv):
        return subprocess.run([TOOL, *argv], capture_output=True, text=True, timeout=30)

    done = run("check", "--inside", "gre,ipip", "tcp")
    assert done.returncode == 2 and "\"ipip\" is no kind" in done.stderr and "vlan,qinq,mpls,gre,erspan,vxlan" in done.stderr
    assert run("check", "--inside", "vxlan", "tcp port 80").stdout == "ok\n"
    assert "packet inside: gre,vxlan" in run("explain", "--inside", "vxlan,gre", "tcp").stdout
    assert json.loads(run("explain", "--json", "--inside", "vxlan,gre", "tcp").stdout)["inside"] == "gre,vxlan"
    program = json.loads(run("dump", "--json", "--inside", "vlan", "tcp").stdout)
    assert len(program["inside_ebpf"]) > len(program["ebpf"]) > 0
    assert "eBPF for packets inside" in run("dump", "--inside", "vlan", "tcp").stdout
    path = tmp_path / "raw.pcap"
    pcapfile.write(path, [frames.tcp(4, 1, 1, b"")])
    data = bytearray(path.read_bytes())
    data[20] = 101  # LINKTYPE_RAW
    path.write_bytes(data)
    done = run("count", "--inside", "gre", "-r", path, "tcp")
    assert done.returncode == 2 and "not Ethernet" in done.stderr
