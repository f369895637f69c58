# SPDX-License-Identifier: BSD-2-Clause
"""--inside and --decap on a link, with every source: each job stores exactly the frames in which a packet of the kinds it named matches,
and the job that takes tunnels off stores the very frames that were put in."""
import random
import subprocess

import frames
import pcapfile
import pytest
import rig as rig_module
import tunnels
from test_jobs import check_balanced, engine, stored  # noqa: F401 (engine is a fixture)

TUNNELS = ("gre", "erspan", "vxlan")
LAYERS = [(), ("vlan",), ("qinq",), ("mpls",), ("gre",), ("erspan",), ("vxlan",), ("erspan", "vlan"), ("vlan", "vxlan"), ("erspan", "mpls"),
          ("gre", "vxlan")]


def make_traffic(count):
    """(layers from the inside out, frames from the innermost to the one on the wire, destination port of the innermost)."""
    rng = random.Random(11)
    made = []
    for flow in range(count):
        version, port, layers = rng.choice((4, 6)), rng.choice((53, 99)), LAYERS[flow % len(LAYERS)]
        steps = [frames.ethernet(frames.ether(version), frames.udp(version, 7000, rng.randbytes(rng.randrange(4, 300)), port=port))]
        for kind in layers:
            steps.append(tunnels.wrap(kind, steps[-1], rng, flow))
        made.append((layers, steps, port))
    return made


def decapsulated(layers, steps):
    """The frame that the outermost tunnel was put around."""
    outermost = max((depth for depth, kind in enumerate(layers) if kind in TUNNELS), default=len(layers))
    return steps[outermost]


WANTED = {"plain": "", "vlan": "vlan", "tags": "vlan,qinq", "gre": "gre", "erspan": "erspan", "vxlan": "vxlan", "mpls": "mpls",
          "mirrored": "mpls,erspan", "everything": ",".join(tunnels.KINDS)}


@pytest.mark.parametrize("source", ["xdp", "mirror", "afpacket"])
def test_on_a_link(make_rig, engine, source):  # noqa: F811
    rig = make_rig()
    e = engine(rig, source=source)
    for name, inside in WANTED.items():
        e.client.add(name, "udp dst port 53", inside=inside)
    e.client.add("decap", decap="gre,erspan,vxlan")
    e.client.add("both", "udp dst port 53", inside="vxlan,gre,vlan", decap="vxlan")
    made = make_traffic(330)
    rig.send([steps[-1] for _, steps, _ in made])
    ended = {name: e.client.stop(name) for name in (*WANTED, "decap", "both")}
    for name, inside in WANTED.items():
        check_balanced(ended[name])
        kinds = set(inside.split(","))
        assert stored(e, name) == [steps[-1] for layers, steps, port in made if port == 53 and set(layers) <= kinds], name
    assert stored(e, "decap") == [decapsulated(layers, steps) for layers, steps, _ in made]
    assert stored(e, "both") == [steps[layers.index("vxlan")] if "vxlan" in layers else steps[-1] for layers, steps, port in made
                                 if port == 53 and set(layers) <= {"vxlan", "gre", "vlan"}]


def test_only_ethernet(tmp_path, capture_built):
    """Packets of another link type are not taken for Ethernet frames: refused in words; what does not read them works."""
    source, out = tmp_path / "raw.pcap", tmp_path / "out.pcap"
    pcapfile.write(source, [frames.udp(4, flow, b"x") for flow in range(10)])
    data = bytearray(source.read_bytes())
    data[20] = 101  # LINKTYPE_RAW
    source.write_bytes(data)
    for options in (["--inside", "gre"], ["--decap", "gre"], ["--sample", "2:flow"], ["--cut-off", "packets:1"]):
        done = subprocess.run([rig_module.BIN / "skep-capture", "-r", source, "-w", out, *options, "udp"], capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 1 and "needs Ethernet frames, and these are of link type 101" in done.stderr, done.stderr
    subprocess.run([rig_module.BIN / "skep-capture", "-r", source, "-w", out, "--sample", "2", "udp"], capture_output=True, check=True,
                   timeout=60)
    assert len(pcapfile.read(out)[1]) == 5


def test_from_a_file(tmp_path, capture_built):
    """The same without a link; the stored frame's length on the wire is its own, and snaplen cuts the frame that is stored."""
    made = make_traffic(110)
    source, out = tmp_path / "in.pcap", tmp_path / "out.pcap"
    pcapfile.write(source, [steps[-1] for _, steps, _ in made])
    subprocess.run([rig_module.BIN / "skep-capture", "-r", source, "-w", out, "-s", "40", "--decap", "erspan", "--inside",
                    "erspan,vlan,mpls",
                    "udp dst port 53"], capture_output=True, check=True, timeout=60)
    want = [steps[layers.index("erspan")] if "erspan" in layers else steps[-1] for layers, steps, port in made
            if port == 53 and set(layers) <= {"erspan", "vlan", "mpls"}]
    records = pcapfile.read(out)[1]
    assert [(record.data, record.wire_len) for record in records] == [(frame[:40], len(frame)) for frame in want]
