# SPDX-License-Identifier: BSD-2-Clause
"""Proves that a segment's sketch changes how much `skep-capture extract` reads and never what it finds: filters for flows, hosts, nets and
ports give exactly tcpdump's packets with the sketch, without it and with a spoilt one, and a flow that is in one block costs one block."""
import json
import os
import random

import pytest

import frames
import pcapfile
import rig as rig_module

FIRST_NS = 1_700_000_000_000_000_000
STEP_NS = 1000
FLOW = 49_999  # mixed() has flows 0 to 8,999, so source ports 10,000 to 18,999


def extract(*args):
    done = rig_module.command([rig_module.BIN / "skep-capture", "extract", "--stats", "json", *args], timeout_s=60, text=True)
    return json.loads(done.stderr)


@pytest.fixture(scope="module")
def segment(capture_built, tmp_path_factory):
    """9,000 packets of as many flows, and 20 packets of one more flow in a row in the middle; the plain file, the segment, the list."""
    folder = tmp_path_factory.mktemp("sketch")
    rng = random.Random(5)
    flow = [frames.ethernet(frames.ETH_IPV4, frames.udp(4, FLOW, rng.randbytes(100))) for _ in range(20)]
    mixed = frames.mixed(9000, largest=1400)
    sent = mixed[:4000] + flow + mixed[4000:] + frames.malformed()
    pcapfile.write(folder / "plain.pcap", sent, first_ns=FIRST_NS, step_ns=STEP_NS)
    rig_module.command([rig_module.BIN / "skep-capture", "-r", folder / "plain.pcap", "-w", folder / "s.pcap.zst", "-q"], timeout_s=60)
    return folder, flow


def test_a_flow_costs_its_block(segment, tmp_path):
    folder, flow = segment
    assert (folder / "s.pcap.zst.sketch").stat().st_size < 0.012 * (folder / "plain.pcap").stat().st_size
    said = extract(folder / "s.pcap.zst", "-f", "udp src port 59999", "-w", tmp_path / "flow.pcap")
    assert [record.data for record in pcapfile.read(tmp_path / "flow.pcap")[1]] == flow
    assert said["blocks"] >= 5 and said["blocks_read"] <= 2, said
    said = extract(folder / "s.pcap.zst", "-f", "host 203.0.113.99", "-w", tmp_path / "none.pcap")
    assert said["blocks_read"] <= 1 and pcapfile.read(tmp_path / "none.pcap")[1] == [], said


def random_filter(rng):
    def one():
        flow = rng.choice((FLOW, rng.randrange(12000)))
        src, dst = (".".join(map(str, address)) for address in frames.addresses(4, flow))
        src6 = frames.addresses(6, flow)[0].hex(":", 2)
        return rng.choice((f"host {src}", f"dst host {dst}", f"src host {src} and src port {10000 + flow % 50000}", f"host {src6}",
                           f"port {10000 + flow % 50000}", f"net {dst}/32", "dst net 198.51.0.0/16", "udp", "tcp port 80", "icmp", "ip6",
                           "vlan", f"ip6 and src port {10000 + flow % 50000}", "greater 1000", "not udp", "arp", "ether proto 0x88b5",
                           f"vlan and host {src}", "ip[6:2] & 0x1fff != 0", "portrange 12000-12010"))
    return " and ".join(f"({one()})" for _ in range(rng.choice((1, 1, 2)))) if rng.random() < 0.7 else f"{one()} or {one()}"


def test_what_is_found_is_what_tcpdump_finds(segment, tmp_path):
    folder, _ = segment
    rng = random.Random(99)
    read, blocks = 0, 0
    for _ in range(40):
        expression = random_filter(rng)
        try:
            said = extract(folder / "s.pcap.zst", "-f", expression, "-w", tmp_path / "some.pcap")
        except AssertionError as error:
            assert "rejects all packets" in str(error)  # libpcap sees that it contradicts itself
            continue
        assert said["written"] == rig_module.tcpdump_count(folder / "plain.pcap", expression), expression
        read, blocks = read + said["blocks_read"], blocks + said["blocks"]
    assert read < 0.8 * blocks


@pytest.mark.parametrize("spoil", ["removed", "torn", "flipped", "another's", "folder"])
def test_without_a_right_sketch_all_is_read(segment, tmp_path, spoil):
    folder, flow = segment
    for name in ("s.pcap.zst", "s.pcap.zst.json"):
        os.link(folder / name, tmp_path / name)
    sketch = (folder / "s.pcap.zst.sketch").read_bytes()
    mine = tmp_path / "s.pcap.zst.sketch"
    if spoil == "torn":
        mine.write_bytes(sketch[:-9])
    elif spoil == "flipped":
        mine.write_bytes(sketch[:200] + bytes((sketch[200] ^ 1,)) + sketch[201:])
    elif spoil == "another's":
        side = json.loads((folder / "s.pcap.zst.json").read_text())
        side["bytes_disk"] += 1
        (tmp_path / "s.pcap.zst.json").unlink()
        (tmp_path / "s.pcap.zst.json").write_text(json.dumps(side))
        mine.write_bytes(sketch)
    elif spoil == "folder":
        mine.mkdir()
    said = extract(tmp_path / "s.pcap.zst", "-f", "udp src port 59999", "-w", tmp_path / "flow.pcap")
    assert [record.data for record in pcapfile.read(tmp_path / "flow.pcap")[1]] == flow
    assert said["blocks_read"] == said["blocks"]


def test_a_ring_takes_its_sketches_along(capture_built, tmp_path):
    """-b files:2 leaves two segments, and beside them what is theirs only."""
    pcapfile.write(tmp_path / "plain", frames.mixed(3000, largest=1400), first_ns=FIRST_NS, step_ns=STEP_NS)
    out = tmp_path / "out"
    out.mkdir()
    rig_module.command([rig_module.BIN / "skep-capture", "-r", tmp_path / "plain", "-w", f"{out}/", "-b", "filesize:200", "-b", "files:2",
                        "-q"], timeout_s=60)
    names = sorted(path.name for path in out.iterdir())
    kept = [name for name in names if name.endswith(".zst")]
    assert len(kept) == 2 and names == sorted(kept + [f"{name}.json" for name in kept] + [f"{name}.sketch" for name in kept]), names
