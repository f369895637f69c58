# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the account is exact when the capture is overrun: the generator flat out, small and large frames, to nowhere, to a
file and with the slowest compression. What the generator counted as sent = stored + rejected + dropped; nothing is `unaccounted`;
what is stored is there once, in order, intact."""
import os
import signal

import pytest

import rig as rig_module
import traffic

SECONDS = "1s"
FLAT = [(size, target, source) for size in (64, 1500) for target in ("null", "file", "level 9") for source in ("xdp-native", "mirror")] + \
    [(64, "file", "xdp-generic"), (64, "file", "afpacket"), (1500, "folder", "xdp-native")]


def where(target, folder):
    words = {"null": ["-w", "/dev/null"], "folder": ["-w", folder], "file": ["-w", folder / "out.pcap.zst", "--level", "0"],
             "level 9": ["-w", folder / "out.pcap.zst", "--level", "9"]}
    return words[target]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("size, target, source", FLAT)
def test_flat_out(make_rig, capture_built, tmp_path, size, target, source):
    rig = make_rig(gro=source in ("afpacket", "xdp-generic"))  # redirected frames need native XDP or GRO
    process = rig.capture(*where(target, tmp_path), "--digest", "off", *traffic.SOURCES[source], *traffic.SMALL)
    said = traffic.gen(rig, "--size", size, "--duration", SECONDS, "--payload", "compressible" if target == "level 9" else "random")
    process.stop(check=False, timeout_s=60)
    stats = process.stats()
    assert "unaccounted" not in stats["dropped"], stats
    assert stats["stored"] + stats["rejected"] + sum(stats["dropped"].values()) == stats["seen"] == said["sent"], (stats, said)
    assert (stats["outcome"] == "complete") == (not stats["dropped"])
    files = traffic.files_of(tmp_path)
    if files:
        found = traffic.seqcheck(*files, last=said["last_seq"])[1]
        assert traffic.intact(found) and found["unique"] == stats["stored"] > 0, (found, stats)


def test_a_filter_that_rejects_half(rig, capture_built, tmp_path):
    """Flat out with a filter: rejected packets are part of the same sum."""
    process = rig.capture("-w", tmp_path / "out.pcap.zst", "--digest", "off", *traffic.SOURCES["xdp-native"], *traffic.SMALL, "ip6")
    said = traffic.gen(rig, "--size", "128", "--duration", "1s", "--ip", "mix", "--flows", "100")
    process.stop(check=False, timeout_s=30)
    stats = process.stats()
    assert stats["stored"] + stats["rejected"] + sum(stats["dropped"].values()) == stats["seen"] == said["sent"], (stats, said)
    assert stats["rejected"] > 0 and stats["stored"] > 0 and "unaccounted" not in stats["dropped"], stats
    assert rig_module.tcpdump_count(tmp_path / "out.pcap.zst", "ip6") == stats["stored"]


def test_two_links_that_lose_under_one_filter(make_rig, capture_built, tmp_path):
    """The kernel filters on both links and both rings run over while the engine stands still: what is missing is the sum of both."""
    rig = make_rig(links=2)
    process = rig.capture("-i", "cap1", "-w", tmp_path / "out.pcap.zst", *traffic.SOURCES["xdp-native"], *traffic.SMALL, "udp")
    os.kill(process.pid, signal.SIGSTOP)
    sent = [traffic.gen(rig, "--count", count, "--rate", "100kpps", link=link)["sent"]
            for count, link in (("40000", "gen0"), ("30000", "gen1"))]
    os.kill(process.pid, signal.SIGCONT)
    process.stop(check=False, timeout_s=30)
    stats = process.stats()
    lost = sum(stats["dropped"].values())
    assert "unaccounted" not in stats["dropped"] and lost > 10000, stats
    assert stats["stored"] + stats["rejected"] + lost == stats["seen"] == sum(sent), (stats, sent)
