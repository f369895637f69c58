# SPDX-License-Identifier: BSD-2-Clause
"""Proves that skep-capture answers on the command line as it should: what it cannot do is refused within a second, in words, with exit code
2 (wrong use) or 1 (everything else); --help and --version work without any right; a terminal is never filled with packets."""
import json
import os
import pty
import subprocess
import time

import pytest

import rig as rig_module

pytestmark = pytest.mark.usefixtures("capture_built")
CAPTURE = str(rig_module.BIN / "skep-capture")
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]


def run(*words, before=(), **kwargs):
    """The finished process, with the seconds that it took as .took."""
    begin = time.monotonic()
    done = subprocess.run([*before, CAPTURE, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=20 * rig_module.PATIENCE, check=False, **kwargs)
    done.took = time.monotonic() - begin
    return done


def refused(done, code, *texts):
    assert done.returncode == code, (done.args, done.stdout, done.stderr)
    for text in texts:
        assert text in done.stderr, (done.args, done.stderr)
    assert done.stdout == ""
    assert done.took < 1.0 * rig_module.PATIENCE


@pytest.mark.parametrize("words, text", [
    ([], "-i is missing"),
    (["-i", "lo"], "-w is missing"),
    (["--nonsense"], "no such option"),
    (["-i", "lo", "-w", "x.pcap", "-c", "none"], "-c"),
    (["-i", "lo", "-w", "x.pcap", "-b", "files:3"], "nothing says when the next file begins"),
    (["-r", "a.pcap", "-i", "lo", "-w", "x.pcap"], "-r and -i"),
    (["-i", "lo", "-w", "x.pcap", "udp", "prot", "53"], "prot"),
])
def test_wrong_use_is_exit_code_2(words, text, tmp_path):
    """Words that make no sense."""
    refused(run(*words, cwd=tmp_path), 2, text)
    assert not list(tmp_path.iterdir())


def test_no_such_interface(tmp_path):
    refused(run("-i", "skep-none0", "-w", "x.pcap", cwd=tmp_path), 1, "skep-none0")
    assert not list(tmp_path.iterdir())


def test_no_such_directory():
    refused(run("-i", "lo", "-w", "/nonexistent/x.pcap"), 1, "/nonexistent")


def test_no_rights(tmp_path):
    """Without any capability: which are missing and how to grant them."""
    tmp_path.chmod(0o777)
    refused(run("-i", "lo", "-w", "/tmp/skep-cli-none.pcap", before=AS_NOBODY), 1, "CAP_NET_RAW", "setcap")


def test_file_needs_no_rights(tmp_path):
    """-r works for anybody; an input that is not there is refused."""
    refused(run("-r", "/nonexistent.pcap", "-w", "/tmp/skep-cli-none.pcap", before=AS_NOBODY), 1, "/nonexistent.pcap")


def test_help_and_version_need_nothing():
    """And --help is the golden file."""
    done = run("--help", before=AS_NOBODY)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == (rig_module.ROOT / "tests" / "golden" / "skep-capture-help.txt").read_text()
    done = run("--version", before=AS_NOBODY)
    assert done.returncode == 0 and done.stdout.startswith("skep-capture ")


def test_probe_is_json():
    done = run("--probe")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict)


def test_list_names_the_links():
    done = run("-D")
    assert done.returncode == 0 and "lo" in done.stdout


def test_terminal_gets_no_packets():
    """-w - with a terminal as standard output."""
    leader, follower = pty.openpty()
    try:
        done = subprocess.run([CAPTURE, "-i", "lo", "-w", "-"], stdin=subprocess.DEVNULL, stdout=follower,
                              stderr=subprocess.PIPE, text=True, timeout=20, check=False)
    finally:
        os.close(follower)
        os.close(leader)
    assert done.returncode == 2 and "is a terminal" in done.stderr


def test_check_changes_nothing(rig, tmp_path):
    """--check says what would be done and as whom; no file, no program on the link afterwards."""
    done = subprocess.run(["ip", "netns", "exec", rig.cap, CAPTURE, "--check", "-i", "cap0", "-w",
                           str(tmp_path / "x.pcap.zst")], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert "cap0" in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
    shown = subprocess.run(["ip", "netns", "exec", rig.cap, "ip", "link", "show", "cap0"], capture_output=True, text=True,
                           check=True).stdout
    assert "xdp" not in shown
