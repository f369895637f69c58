# SPDX-License-Identifier: BSD-2-Clause
"""Which BPF programs this kernel loads: through skep-capture with jobs of every kind, and each by its own tests; and who else may be on the
link."""
import json
import os
import pathlib
import re
import socket
import subprocess
import time

import capture
import pcapfile
import tap
from receive import XDP

JOBS = [
    {"name": "all"},
    {"name": "dns", "filter": "dns"},
    {"name": "quic", "filter": "quic"},
    {"name": "list", "filter": "net in @/tmp/nets"},
    {"name": "inside", "filter": "udp port 53", "inside": "vlan,qinq,mpls,gre,erspan,vxlan"},
    {"name": "sample", "sample": {"every": 4, "by": "flow"}},
    {"name": "cut", "cutoff": {"packets": 3}},
]
OBJECTS = pathlib.Path("/usr/lib/x86_64-linux-gnu/bpf")


def loaded():
    """{id: name} of the XDP programs in the kernel."""
    return {one["id"]: one.get("name", "") for one in json.loads(capture.command("bpftool", "-j", "prog", "show").stdout)
            if one["type"] == "xdp"}


class Socket:
    def __init__(self, path):
        self.end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.end.settimeout(capture.PATIENCE_S)
        self.end.connect(path)
        self.lines = self.end.makefile("r")

    def ask(self, do, **fields):
        self.end.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
        answer = json.loads(self.lines.readline())
        assert answer["ok"], f"{do} {fields}: {answer}"
        return answer


class Programs:
    def __init__(self, outside, nic, receive):
        self.outside, self.nic, self.receive = outside, nic, receive

    def jobs(self, *words):
        """All kinds of jobs at once: every program of the chain is in the kernel, and the accounts balance."""
        pathlib.Path("/tmp/nets").write_text("10.0.0.0/8\n192.0.2.0/24\n")
        self.nic.up()
        before = loaded()
        with capture.Capture(self.nic.name, *words, "--serve", "/tmp/jobs.sock") as running:
            jobs = Socket("/tmp/jobs.sock")
            for job in JOBS:
                jobs.ask("add", job=job)
            names = sorted(set(name for number, name in loaded().items() if number not in before))
            sent = self.receive.send("small")
            time.sleep(1)
            ended = {job["name"]: jobs.ask("stop", name=job["name"], wait=True)["job"]["account"] for job in JOBS}
            running.popen.terminate()
            running.end()
        for name, account in ended.items():
            rest = account["seen"] - account["stored"] - account["rejected"] - sum(account["dropped"].values())
            assert rest == 0 and account["seen"] == sent, f"{name}: {account}"
        stored = {name: account["stored"] for name, account in ended.items()}
        assert stored["all"] == sent and 0 < stored["cut"] < sent and 0 < stored["sample"] < sent, f"{stored}; {ended['sample']}"
        return f"{' '.join(names)}; stored by job, of {sent}: {stored}"

    def own_tests(self, path):
        """A program of tests/bpf in this kernel. (One of them takes a file.)"""
        done = subprocess.run([str(path), "/skep/filters.txt"], capture_output=True, text=True, check=False, timeout=240, cwd="/tmp",
                              env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP"})
        text = done.stdout + done.stderr
        passed, skipped = len(re.findall(r"^ok ", text, re.MULTILINE)), re.findall(r"^(?:not )?ok.*# SKIP.*$", text, re.MULTILINE)
        failed = [line for line in re.findall(r"^not ok.*$", text, re.MULTILINE) if "# SKIP" not in line]
        if done.returncode == 77 or (skipped and not passed and not failed):
            raise tap.Skip(text.strip().splitlines()[-1])
        assert not failed and passed, f"exit code {done.returncode}: {'; '.join(failed)}: {' '.join(text.split())[-600:]}"
        notes = "; ".join(line[2:] for line in text.splitlines() if re.match(r"# \S+.* loaded,", line))
        return f"{passed} cases passed{f', {len(skipped)} skipped' if skipped else ''}{f' ({notes})' if notes else ''}"

    # --- others on the link ------------------------------------------------------------------------------------------

    def dispatcher_first(self):
        """libxdp's dispatcher is there: xdp is refused and names it, afpacket captures beside it."""
        self.nic.up()
        done = capture.command("xdp-loader", "load", "-m", "skb", self.nic.name, OBJECTS / "xdpfilt_alw_all.o", "-s", "xdp", check=False)
        if done.returncode:
            done = capture.command("xdp-loader", "load", "-m", "skb", self.nic.name, OBJECTS / "xdpfilt_alw_all.o", check=False)
        status = capture.command("xdp-loader", "status", self.nic.name, check=False).stdout
        if done.returncode or "xdp_dispatcher" not in status:
            raise tap.Skip(f"xdp-loader could not load its dispatcher here: {(done.stderr or status).strip()[-200:]}")
        try:
            with capture.Capture(self.nic.name, *XDP, ready=False) as running:
                code, _ = running.end()
            said = " / ".join(line.strip() for line in running.said)
            assert code == 1 and "xdp_dispatcher" in said, f"exit code {code}: {said}"
            self.receive.other_source("--source", "afpacket")
            return f"exit code 1, \"{said}\"; afpacket captures beside it"
        finally:
            capture.command("xdp-loader", "unload", self.nic.name, "--all")

    def dispatcher_second(self):
        """While we capture, xdp-loader is refused, and nothing is lost by its try."""
        self.nic.up()
        with capture.Capture(self.nic.name, *XDP) as running:
            done = capture.command("xdp-loader", "load", self.nic.name, OBJECTS / "xdpfilt_alw_all.o", check=False)
            sent = self.receive.send("small")
            stats = running.stop()
        assert done.returncode, f"xdp-loader loaded beside us: {done.stdout}"
        capture.lossless(stats, sent)
        return f"xdp-loader: \"{' '.join(done.stderr.split())[-120:]}\"; {stats['stored']} of {sent} frames"

    def xdpdump(self):
        """xdpdump looks at our program by a trampoline and sees the same frames; we lose none."""
        self.nic.up()
        with capture.Capture(self.nic.name, *XDP) as running:
            entry = attached(self.nic.name)
            with subprocess.Popen(["xdpdump", "-i", self.nic.name, "-p", entry, "-w", "/tmp/xdpdump.pcap"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True) as dump:
                time.sleep(5)
                alive = dump.poll() is None
                sent = self.receive.send("small", 300)
                dump.send_signal(2)
                said = dump.communicate(timeout=30)[0]
            stats = running.stop()
        capture.lossless(stats, sent)
        if not alive:
            return f"xdpdump of Debian 12 cannot follow our program ({' '.join(said.split())[-160:]}; the program is {entry}); " \
                   f"the capture is not touched: {stats['stored']} of {sent}"
        counted = len(pcapfile.read("/tmp/xdpdump.pcap")[1])
        assert counted == sent, f"xdpdump saw {counted} of {sent} frames: {said}"
        return f"xdpdump saw {counted} of {sent} frames in {entry}, we stored {stats['stored']}"


def attached(link):
    """Name of the program on the link's hook."""
    shown = json.loads(capture.command("ip", "-j", "-d", "link", "show", "dev", link).stdout)[0]
    return loaded().get(shown["xdp"]["prog"]["id"], "?")
