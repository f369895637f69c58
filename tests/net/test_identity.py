# SPDX-License-Identifier: BSD-2-Clause
"""Proves that what is stored is what was on the link: every frame, byte for byte and in order, read back by tcpdump, by tshark and by a
reader that shares no code with skep; and that the account is exact. For generated frames of every kind on every source, kind by kind;
test_bytes.py has all of them and the folder of captures in one go."""
import pytest

import frames
import pcapfile
import rig as rig_module
from traffic import SOURCES

KINDS = {
    "mixed": lambda: frames.mixed(600, largest=1400),
    "shortest": frames.shortest,
    "malformed": frames.malformed,
    "numbered": lambda: frames.numbered(3000, 64),
}


def capture(rig, path, sent, *args):
    """Sends frames while skep-capture runs; returns its account. Ends at the last frame, or by signal if some did not come."""
    process = rig.capture("-w", path, *args)
    rig.send(sent)
    rig.wait_for(lambda: rig.arrived()[0] >= len(sent), "the frames to arrive")
    process.stop()
    return process.stats()


def check(path, sent, stats):
    """File, oracles and account say the same as the list of frames that was sent."""
    records = pcapfile.read(path)[1]
    assert rig_module.first_difference(sent, [record.data for record in records]) is None, stats
    assert [record.wire_len for record in records] == [len(frame) for frame in sent]
    assert rig_module.tcpdump_count(path) == len(sent)
    assert rig_module.tshark_lengths(path) == [len(frame) for frame in sent]
    assert rig_module.balanced(stats)
    assert (stats["seen"], stats["stored"], stats["rejected"], sum(stats["dropped"].values())) == (len(sent), len(sent), 0, 0)
    assert stats["bytes_wire"] == sum(len(frame) for frame in sent)
    times = [record.ts_ns for record in records]
    assert times == sorted(times)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", SOURCES)
def test_generated_frames(rig, capture_built, tmp_path, source, kind):
    sent, path = KINDS[kind](), tmp_path / "out.pcap.zst"
    check(path, sent, capture(rig, path, sent, *SOURCES[source]))


@pytest.mark.parametrize("source", ["xdp-native", "xdp-generic", "mirror"])
def test_torn_tags_are_seen_by_xdp(rig, capture_built, tmp_path, source):
    """Frames that the kernel's stack would drop before anybody else sees them."""
    sent, path = frames.torn_tags(), tmp_path / "out.pcap.zst"
    check(path, sent, capture(rig, path, sent, *SOURCES[source]))


@pytest.mark.parametrize("source", SOURCES)
def test_jumbo_frames(make_rig, capture_built, tmp_path, source):
    rig, sent, path = make_rig(mtu=9000), frames.jumbo(200), tmp_path / "out.pcap.zst"
    check(path, sent, capture(rig, path, sent, *SOURCES[source]))


@pytest.mark.parametrize("name", ["out.pcap", "out.pcapng", "out.pcapng.zst"])
def test_other_formats(rig, capture_built, tmp_path, name):
    sent, path = frames.mixed(300, largest=1400), tmp_path / name
    check(path, sent, capture(rig, path, sent, *SOURCES["xdp-native"]))
