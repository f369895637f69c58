# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the tutorial works as it is written: its commands are read from the page and run one after another, in one folder, on a link
with traffic. Only names are put in: the build folder's path, cap0 for eth1, two seconds for ten; scripts/ are run by tests of their own."""
import re
import threading

import pytest

import frames
import rig as rig_module

PAGE = rig_module.ROOT / "docs" / "tutorial" / "first-capture.md"


def commands():
    """The lines of the page's ```sh blocks."""
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for line in block.splitlines():
            yield line.strip()


def localized(line):
    line = re.sub(r"^sudo ", "", line).replace("build/bin/", f"{rig_module.BIN}/")
    return line.replace("eth1", "cap0").replace("duration:10", "duration:2")


@pytest.mark.timeout(120)
def test_the_tutorial_works_as_written(rig, capture_built, tmp_path):
    stop = threading.Event()

    def traffic():
        while not stop.is_set():
            rig.send(frames.mixed(100, largest=1400), rate=2000)

    sender = threading.Thread(target=traffic)
    lines = [line for line in commands() if "scripts/" not in line]
    assert len(lines) >= 5, "the page has no commands to run"
    sender.start()
    try:
        for line in lines:
            done = rig.run(["bash", "-c", f"set -o pipefail; {localized(line)}"], timeout_s=30, cwd=tmp_path, text=True, check=False)
            # head-like readers (-c 10) end before the writer: 141 is its SIGPIPE
            assert done.returncode in ((0, 141, 1) if "zstd -dc" in line else (0,)), f"{line}: {done.returncode}\n{done.stderr}"
            if "tshark" in line or "tcpdump" in line:
                assert len(done.stdout.splitlines()) >= 10, f"{line}: {done.stdout}\n{done.stderr}"
    finally:
        stop.set()
        sender.join()
    lengths = rig_module.tshark_lengths(tmp_path / "first.pcap.zst")
    assert len(lengths) > 100
    assert rig_module.tcpdump_count(tmp_path / "quic.pcap.zst") == rig_module.tcpdump_count(tmp_path / "quic.pcap.zst", "udp port 443") > 0
