# SPDX-License-Identifier: BSD-2-Clause
"""Proves that Wireshark's own programs see every permitted link as an interface, and capture on it what is sent there, across the border
between two jobs of the chain: none missing, none twice, in order."""
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import time

import pytest

from client import Command
from hive import wait_for

import frames


@pytest.fixture
def installed(world, tmp_path):
    """`skep` and Wireshark's programs with a home of their own, where skep-extcap is installed."""
    if not shutil.which("tshark"):
        pytest.skip("needs tshark")
    run = Command(tmp_path, SKEP_URL=world.url, SKEP_TOKEN=world.token)
    done = run("extcap", "--install")
    assert done.returncode == 0 and done.stdout.strip() == f"{tmp_path}/.local/lib/wireshark/extcap/skep-extcap", done
    return run


def command_line(run, *words):
    """tshark in a mount namespace of its own, where Wireshark's folder of extcap programs is ours: started by root it takes no other, and
    Debian 12's 4.0 knows no folder in a home."""
    folders = subprocess.run(["tshark", "-G", "folders"], capture_output=True, text=True, timeout=60, check=True).stdout
    theirs = re.search(r"^Extcap path:\s+(\S+)", folders, re.MULTILINE)[1]
    ours = pathlib.Path(run.environment["HOME"]) / ".local/lib/wireshark/extcap"
    script = 'mount --bind "$1" "$2" && shift 2 && exec tshark "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "tshark", str(ours), theirs, *map(str, words)]


def tshark(run, *words):
    return subprocess.run(command_line(run, *words), env=run.environment, capture_output=True, text=True, timeout=60, check=False)


def numbered(first, count):
    return [frames.ethernet(frames.ETH_IPV4, frames.udp(4, 1, struct.pack("!I", n) + bytes(60))) for n in range(first, first + count)]


def test_links_are_interfaces(world, installed):
    listed = tshark(installed, "-D").stdout
    assert "skep-A (skep A: tap of probe-a)" in listed and "skep-B (skep B: tap of probe-b)" in listed, listed
    assert "EN10MB" in tshark(installed, "-L", "-i", "skep-A").stdout
    only, _ = world.person("only-a", links=["A"])
    token = only.create_token("t", rights=["jobs"], expires="+1h").token
    mine = Command(installed.config.parent, **{**installed.environment, "SKEP_TOKEN": token})
    listed = tshark(mine, "-D").stdout
    assert "skep-A" in listed and "skep-B" not in listed
    config = installed("extcap", "--extcap-config", "--extcap-interface", "skep-A").stdout
    assert config.count("arg {number=") == 3 and "{call=--slice}" in config
    check = ["extcap", "--extcap-interface", "skep-A", "--extcap-capture-filter"]
    assert installed(*check, "quic").stdout == "" and "column" in installed(*check, "udp prot 53").stdout
    assert installed("extcap", "--capture", "--extcap-interface", "skep-Z", "--fifo", "/dev/null").returncode == 5


def test_wireshark_starts_where_there_is_no_hive(installed):
    nobody = Command(installed.config.parent, **{**installed.environment, "SKEP_URL": "http://127.0.0.1:9"})
    done = tshark(nobody, "-D")
    assert done.returncode == 0 and "skep-A" not in done.stdout and "lo" in done.stdout
    assert Command(installed.config.parent)("extcap", "--extcap-interfaces").returncode == 0


def test_packets_reach_tshark_across_two_jobs(world, installed, tmp_path):
    words = ["-i", "skep-A", "-f", "udp port 53", "-o", "extcap.skep_a.slice:1s", "-l", "-T", "fields", "-e", "udp.payload", "-c", "120"]
    process = subprocess.Popen(command_line(installed, "-n", *words), env=installed.environment, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: any(world.admin.get_jobs(name="Wireshark", state="running")), 30)
        for n in range(0, 120, 10):
            world.send("A", numbered(n, 10) + [frames.ethernet(frames.ETH_IPV4, frames.tcp(4, 5, 1, b"x", port=80))])
            time.sleep(0.3)  # so that they are spread over several jobs
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    got = [int(line[:8], 16) for line in out.split()]
    assert got == list(range(120)), f"{got}\n{err}"
    jobs = list(world.admin.get_jobs(name="Wireshark"))
    assert len(jobs) > 1
    wait_for(lambda: all(job.has_ended for job in world.admin.get_jobs(name="Wireshark")), 40)


def test_stop_shows_what_the_last_job_has(world, installed, tmp_path):
    """As Wireshark's stop button: SIGTERM, and the pipe is read to its end."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = f"{tmp_path}/.local/lib/wireshark/extcap/skep-extcap"
    process = subprocess.Popen([program, "--capture", "--extcap-interface", "skep-B", "--fifo", fifo, "--slice", "1h"],
                               env=installed.environment, stderr=subprocess.PIPE, text=True)
    reader = subprocess.Popen(["cat", str(fifo)], stdout=open(tmp_path / "seen.pcap", "wb"))
    try:
        job = wait_for(lambda: next(world.admin.get_jobs(name="Wireshark", state="running"), None), 30)
        world.send("B", numbered(0, 30))
        wait_for(lambda: world.admin.get_job(job).stored_pkts == 30, 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, process.stderr.read()
        assert reader.wait(10) == 0
    finally:
        process.kill()
        reader.kill()
    done = tshark(installed, "-r", tmp_path / "seen.pcap", "-T", "fields", "-e", "udp.payload")
    assert [int(line[:8], 16) for line in done.stdout.split()] == list(range(30))
    assert world.admin.get_job(job).archived
