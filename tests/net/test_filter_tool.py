# SPDX-License-Identifier: BSD-2-Clause
"""skep-filter from outside, with tcpdump as the oracle: the same packets match, whole files and truncated ones; refusals have exit code 2
and a column; JSON is JSON; and with no network at all (an empty namespace, every socket call traced) nothing tries to reach one."""
import json
import os
import re
import shutil
import subprocess

import frames
import pcapfile
import pytest
import rig as rig_module

TOOL = rig_module.BIN / "skep-filter"
EXPRESSIONS = ["", "tcp", "udp port 53", "ip6", "vlan", "host 10.0.0.1", "greater 600", "less 100", "tcp[tcpflags] & tcp-syn != 0",
               "tcp or (udp and not port 53)", "len % 2 = 1", "ether multicast"]


def run(*argv, check=True, **kwargs):
    done = subprocess.run([TOOL, *argv], capture_output=True, text=True, timeout=30, **kwargs)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def count(path, expression):
    match = re.fullmatch(r"matched (\d+) of (\d+)\n", run("count", "-r", path, expression).stdout)
    assert match
    return int(match[1]), int(match[2])


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Generated traffic of all kinds, the longest frames cut to 200 bytes in the file though they were longer on the wire."""
    path = tmp_path_factory.mktemp("filter") / "mixed.pcap"
    pcapfile.write(path, frames.mixed(400) + frames.malformed() + frames.jumbo(5))
    return path


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_count_is_tcpdumps(sample, tmp_path, expression):
    cut = tmp_path / "cut.pcap"
    subprocess.run(["tcpdump", "-nr", sample, "-s", "70", "-w", cut], capture_output=True, check=True)
    for path in (sample, cut):
        matched, packets = count(path, expression)
        assert packets == rig_module.tcpdump_count(path)
        assert matched == rig_module.tcpdump_count(path, expression)


def test_count_reads_pcapng_and_zstd(sample, tmp_path):
    packed = tmp_path / "mixed.pcap.zst"
    subprocess.run(["zstd", "-q", sample, "-o", packed], check=True)
    assert count(packed, "tcp") == count(sample, "tcp")


def test_count_json(sample):
    answer = json.loads(run("count", "--json", "-r", sample, "udp").stdout)
    assert (answer["matched"], answer["packets"]) == count(sample, "udp")
    assert answer["engine"] == ("xdp" if os.geteuid() == 0 else "libpcap")


def test_check_and_refusal():
    assert run("check", "tcp", "port", "80").stdout == "ok\n"
    done = run("check", "--json", "tcp prot 80", check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == 2 and answer["ok"] is False and answer["column"] == 5 and '"port"' in answer["hint"]
    done = run("check", "tcp prot 80", check=False)
    assert done.returncode == 2 and done.stdout == "" and "\n  tcp prot 80\n      ^\n" in done.stderr


def test_filter_from_a_file(tmp_path):
    """64 KiB are answered, one byte more and a NUL are refused."""
    path = tmp_path / "filter"
    path.write_text(("tcp and " * 9000)[:65533] + "tcp")
    assert run("check", "-F", path, check=False).returncode in (0, 2)
    path.write_bytes(b"tcp\0port 80")
    done = run("check", "--json", "-F", path, check=False)
    assert done.returncode == 2 and json.loads(done.stdout)["column"] == 4
    path.write_bytes(b" " * 65537)
    assert run("check", "-F", path, check=False).returncode == 2
    path.write_text("udp port 53\n")
    assert run("check", "-F", path).stdout == "ok\n"


def test_explain_says_words_and_cost():
    text = run("explain", "tcp dst port 80 and not host 10.0.0.1").stdout
    assert "TCP with destination port 80, and not source or destination address 10.0.0.1" in text
    answer = json.loads(run("explain", "--json", "dns").stdout)
    assert answer["expanded"] == "(udp port 53 or tcp port 53)" and answer["ebpf_insns"] > answer["cbpf_insns"] > 0
    assert answer["merged"] and "merged with theirs" in text
    assert not json.loads(run("explain", "--json", "tcp[0] > 3").stdout)["merged"]


def test_dump_is_tcpdumps():
    program = run("dump", "tcp port 80").stdout
    want = subprocess.run(["tcpdump", "-y", "EN10MB", "-d", "tcp port 80"], capture_output=True, text=True, check=True).stdout
    assert want in program and "bpf_xdp_load_bytes" in program
    assert len(json.loads(run("dump", "--json", "tcp port 80").stdout)["cbpf"]) == len(want.splitlines())


def test_presets_are_what_they_print():
    for preset in (preset for preset in json.loads(run("presets", "--json").stdout)["presets"] if preset["expr"]):
        assert json.loads(run("explain", "--json", preset["name"]).stdout)["expanded"] == f"({preset['expr']})"


@pytest.mark.parametrize("words", [["nonsense"], [], ["count", "tcp"], ["check", "--no-such"], ["count", "-r", "/nonexistent", "tcp"],
                                   ["presets", "x"]])
def test_bad_calls_are_refused_in_words(words):
    done = run(*words, check=False)
    assert done.returncode in (1, 2) and done.stderr.startswith("skep-filter: ") and done.stdout == ""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("strace"), reason="needs root and strace")
@pytest.mark.skipif(bool(os.environ.get("SKEP_SANITIZED")), reason="the leak sanitizer does not run under strace")
@pytest.mark.parametrize("expression", ["port http", "host example.com", "net example", "host 1.1.1.1 or (port 80) or example.com",
                                        "ether host printer", "ip proto \\tcp", "gateway router"])
def test_nothing_reaches_for_a_network(tmp_path, expression):
    log = tmp_path / "trace"
    done = subprocess.run(["unshare", "-n", "strace", "-f", "-o", log, "-e", "trace=socket,connect,sendto,sendmsg,sendmmsg", TOOL, "check",
                           expression], capture_output=True, text=True, timeout=30)
    assert done.returncode in (0, 2)
    calls = [line for line in log.read_text().splitlines() if re.search(r"\b(socket|connect|send\w+)\(", line)]
    assert all("= -1 EPERM" in call for call in calls), calls
