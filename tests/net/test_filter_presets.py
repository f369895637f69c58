# SPDX-License-Identifier: BSD-2-Clause
"""`quic` and lists of addresses from outside: skep-filter counts, explains and dumps them, and a capture from a file and from a link stores
exactly the packets that an oracle in Python, which shares nothing with the programs, says; with and without privileges."""
import ipaddress
import json
import os
import random
import re
import struct
import subprocess
import time

import frames
import pcapfile
import pytest
import rig as rig_module
import tunnels

TOOL = rig_module.BIN / "skep-filter"
CAPTURE = rig_module.BIN / "skep-capture"
WITHOUT_PRIVILEGES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]


def run(*argv, before=(), check=True):
    done = subprocess.run([*before, TOOL, *map(str, argv)], capture_output=True, text=True, timeout=60)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def count(path, expression, *options, before=()):
    done = run("count", *options, "-r", path, expression, before=before)
    return int(re.fullmatch(r"matched (\d+) of \d+\n", done.stdout)[1])


def udp_of(frame):
    """(addresses and ports of a plain UDP frame, its payload); None for any other."""
    kind = frame[12:14]
    at = 14 + 20 if kind == b"\x08\x00" else 14 + 40
    if kind == b"\x08\x00" and frame[23:24] == b"\x11":
        ends = (frame[26:30], frame[30:34])
    elif kind == b"\x86\xdd" and frame[20:21] == b"\x11":
        ends = (frame[22:38], frame[38:54])
    else:
        return None
    ports = struct.unpack("!HH", frame[at:at + 4])
    return frozenset(zip(ends, ports)), frame[at + 8:]


def quic_frames(sent):
    """Frames that `quic` is to take, in order: RFC 9000's long header of version 1, then everything of its flow."""
    flows, taken = set(), []
    for frame in sent:
        flow, payload = udp_of(frame) or (None, b"")
        if payload[:1] >= b"\xc0" and payload[1:5] == b"\0\0\0\1":
            flows.add(flow)
        if flow in flows and payload:
            taken.append(frame)
    return taken


def address(data):
    return ipaddress.ip_address(data)


def ends_of(frame):
    if frame[12:14] == b"\x08\x00":
        return address(frame[26:30]), address(frame[30:34])
    if frame[12:14] == b"\x86\xdd":
        return address(frame[22:38]), address(frame[38:54])
    return ()


@pytest.fixture(scope="module")
def traffic_sent():
    """Flows that begin with a long header, and flows of which it is not seen; both directions; other UDP and TCP between them."""
    rng, made = random.Random(12), frames.mixed(300, largest=1400)
    for flow in range(60):
        version = rng.choice((4, 6))
        sizes = [1200] * (flow % 3 > 0) + [rng.choice((20, 60, 500)) for _ in range(6)]
        made += [frames.ethernet(frames.ether(version), frames.quic(version, 5000 + flow, rng, size)) for size in sizes]
    back = []
    for frame in made:
        flow = udp_of(frame)
        if flow and rng.random() < 0.4:
            at = 34 if frame[12:14] == b"\x08\x00" else 54
            ends = (26, 30, 34) if at == 34 else (22, 38, 54)
            back.append(frame[:ends[0]] + frame[ends[1]:ends[2]] + frame[ends[0]:ends[1]] + frame[at + 2:at + 4] + frame[at:at + 2] +
                        frame[at + 4:])
        back.append(frame)
    return back


@pytest.fixture(scope="module")
def sample(tmp_path_factory, traffic_sent):
    path = tmp_path_factory.mktemp("presets") / "sent.pcap"
    pcapfile.write(path, traffic_sent)
    return path


def test_quic_is_the_oracles(sample, traffic_sent):
    want, udp = quic_frames(traffic_sent), [frame for frame in traffic_sent if udp_of(frame)]
    assert 100 < len(want) < len(udp) < len(traffic_sent)
    for before in ([], WITHOUT_PRIVILEGES) if os.geteuid() == 0 else ([],):
        assert count(sample, "quic", before=before) == len(want)
        assert count(sample, "not quic", before=before) == len(traffic_sent) - len(want)
        assert count(sample, "udp and not quic", before=before) == len(udp) - len(want)
        assert count(sample, "quic and ip6 and less 200", before=before) == \
            sum(frame[12:14] == b"\x86\xdd" and len(frame) <= 200 for frame in want)
    answer = json.loads(run("count", "--json", "-r", sample, "quic", before=WITHOUT_PRIVILEGES).stdout)
    assert answer["engine"] == "user" and answer["matched"] == len(want)


def test_forgotten_flows_are_said(tmp_path):
    """More flows than there is room for: each is taken when it begins, and it is said how many were forgotten."""
    path, flows = tmp_path / "many.pcap", 70000
    head = bytes((0xC3,)) + struct.pack("!IB", 1, 8) + bytes(30)
    frame = bytearray(frames.ethernet(0x0800, frames.udp(4, 1, head, port=443)))

    def begin(flow):
        frame[26:30] = struct.pack("!I", 0x0A000000 + flow)
        return bytes(frame)

    pcapfile.write(path, [begin(flow) for flow in range(flows)])
    for before in ([], WITHOUT_PRIVILEGES):
        done = run("count", "--json", "-r", path, "quic", before=before)
        answer = json.loads(done.stdout)
        assert answer["matched"] == answer["flows"] == flows and flows - 65536 <= answer["flows_forgotten"] < flows // 2
        assert f"{answer['flows_forgotten']} of {flows} QUIC flows were forgotten" in done.stderr


def test_quic_inside(tmp_path, traffic_sent):
    """In a tunnel that is asked for, as if it were not there."""
    rng, path = random.Random(4), tmp_path / "tunnels.pcap"
    want = len(quic_frames(traffic_sent))
    for kind in ("vxlan", "erspan", "mpls"):
        plain = [frame for frame in traffic_sent if frame[12:14] in (b"\x08\x00", b"\x86\xdd")]
        pcapfile.write(path, [tunnels.wrap(kind, frame, rng, 1) for frame in plain])
        assert count(path, "quic") == 0
        assert count(path, "quic", "--inside", kind) == want
        assert count(path, "quic", "--inside", kind, before=WITHOUT_PRIVILEGES) == want


def test_lists_are_the_oracles(sample, traffic_sent, tmp_path):
    """100,000 lines and more, mixed; some are there."""
    rng, path = random.Random(6), tmp_path / "list"
    lines = [str(ipaddress.ip_address(rng.getrandbits(32))) for _ in range(60000)]
    lines += [f"{ipaddress.ip_address(rng.getrandbits(112) << 16)}/112" for _ in range(60000)]
    hosts = {str(end) for frame in traffic_sent for end in ends_of(frame)[:1]}
    chosen = sorted(hosts)[::3]
    path.write_text("# addresses\n" + "\n".join(lines + chosen + ["192.0.2.128/25 # half of a net"]) + "\n")
    net, chosen = ipaddress.ip_network("192.0.2.128/25"), {ipaddress.ip_address(host) for host in chosen}

    def listed(end):
        return end in chosen or (end.version == 4 and end in net)

    ends = [ends_of(frame) for frame in traffic_sent]
    sources, any_end = sum(bool(e) and listed(e[0]) for e in ends), sum(any(map(listed, e)) for e in ends)
    assert 50 < sources < any_end < len(ends)
    began = time.monotonic()
    assert run("check", f"net in @{path}").stdout == "ok\n"
    assert time.monotonic() - began < 10  # a second, on a machine that has nothing else to do
    for before in ([], WITHOUT_PRIVILEGES):
        assert count(sample, f"net in @{path}", before=before) == any_end
        assert count(sample, f'src host in @"{path}"', before=before) == sources
        assert count(sample, f"not (net in @{path})", before=before) == len(ends) - any_end
        assert count(sample, f"ip6 and src in @{path}", before=before) == \
            sum(bool(e) and e[0].version == 6 and listed(e[0]) for e in ends)
    words = run("explain", f"src net in @{path} and not quic").stdout
    assert re.search(rf"source address in the list {re.escape(str(path))} \({120001 + len(chosen)} entries", words)
    assert "QUIC flows and addresses in lists" in words
    answer = json.loads(run("explain", "--json", f"net in @{path}").stdout)["lists"]
    assert len(answer) == 1 and answer[0]["file"] == str(path) and answer[0]["entries"] == 120001 + len(chosen)
    assert 60000 <= answer[0]["ip4"] <= answer[0]["entries"] - answer[0]["ip6"] and answer[0]["ip6"] >= 60000


def test_dump_says_what_it_reads(tmp_path):
    path = tmp_path / "list"
    path.write_text("10.0.0.0/8\n")
    text = run("dump", f"quic or dst net in @{path}").stdout
    for name in ("scratch.marks", "scratch.dst_lists", "map[scratch]"):
        assert name in text
    assert "scratch.src_lists" not in text
    assert json.loads(run("dump", "--json", "quic").stdout)["ok"] is True


def test_refusals(tmp_path):
    path, secret = tmp_path / "list", tmp_path / "secret"
    path.write_text("10.0.0.0/8\n# fine\n10.0.0.1/8\n")
    secret.write_text("hunter2\n")
    done = run("check", f"net in @{path}", check=False)
    assert done.returncode == 2 and f"{path}:3: \"10.0.0.1/8\" has bits set behind" in done.stderr
    done = run("check", f"net in @{secret}", check=False)
    assert done.returncode == 2 and f"{secret}:1:" in done.stderr and "hunter2" not in done.stderr
    answer = json.loads(run("check", "--json", "--no-files", f"tcp and net in @{path}", check=False).stdout)
    assert answer["ok"] is False and answer["column"] == 16
    answer = json.loads(run("check", "--json", "vlan and quic", check=False).stdout)
    assert answer["ok"] is False and answer["column"] == 10
    done = run("check", "net in @/nonexistent", check=False)
    assert done.returncode == 1 and "/nonexistent" in done.stderr


def test_capture_from_a_file(sample, traffic_sent, tmp_path):
    out = tmp_path / "out.pcap"
    subprocess.run([CAPTURE, "-r", sample, "-w", out, "quic"], capture_output=True, check=True, timeout=60)
    assert [record.data for record in pcapfile.read(out)[1]] == quic_frames(traffic_sent)


@pytest.mark.parametrize("source", ["xdp", "mirror", "afpacket"])
def test_capture_from_a_link(rig, traffic_sent, tmp_path, source):
    """QUIC and a list, on each source: in XDP where the link is a tap, else in user space."""
    out, path = tmp_path / "out.pcap", tmp_path / "list"
    want = quic_frames(traffic_sent)
    left_out = {str(ends_of(frame)[0]) for frame in want[::5]}
    path.write_text("\n".join(sorted(left_out)) + "\n")
    want = [frame for frame in want if str(ends_of(frame)[0]) not in left_out]
    assert len(want) > 50
    capture = rig.capture("--source", source, "-w", out, f"quic and not src host in @{path}")
    rig.send(traffic_sent)
    capture.stop()
    stats = capture.stats()
    assert rig_module.balanced(stats) and stats["stored"] == len(want)
    assert [record.data for record in pcapfile.read(out)[1]] == want
