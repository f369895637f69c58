# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the first command of the README works: scripts/demo --once captures on a link of its own, shows where the file was and how to
open it, does a job through the daemon by the curl lines that it prints, tells two people's stories with a hive and two probes, ends with
exit code 0 and leaves nothing behind; without --once, the hive stays until --clean."""
import glob
import os
import re
import subprocess

import pytest

import rig as rig_module


@pytest.mark.timeout(200)
@pytest.mark.skipif(bool(os.environ.get("SKEP_SANITIZED")), reason="the demo builds and runs the ordinary build")
def test_demo_once(link_possible, tmp_path):
    """From a directory that is not the repository: scripts/demo --once."""
    process = subprocess.Popen([rig_module.ROOT / "scripts" / "demo", "--once"], cwd=tmp_path, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    text = process.communicate(timeout=180)[0]
    assert process.returncode == 0, text
    assert re.search(r"\b[1-9][0-9, ]* packets\b", text), text
    assert "pcap" in text and "tshark" in text, text
    assert re.search(r"^  CURL='curl .*--pinnedpubkey sha256//\S+ --oauth2-bearer skt_\w+", text, re.MULTILINE), text
    assert text.count("$CURL") >= 4 and "/v1/jobs/$JOB/segments/$NAME" in text and re.search(r"^/.*\.zst: OK$", text, re.MULTILINE), text
    assert '{"state":"done","outcome":"complete","stored":500}' in text, text
    assert "100 packets, every one of QUIC, none missing" in text and "all 100 packets from before the alarm" in text, text
    assert "    from skep import Hive\n" in text, text
    assert not glob.glob(f"/tmp/skep-demo.{process.pid}.*")
    assert not [name for name in os.listdir("/run/netns") if name.endswith(f"-{process.pid}")]
    assert not list(tmp_path.iterdir())
