# SPDX-License-Identifier: BSD-2-Clause
"""Which BPF programs this kernel loads: through skep-capture with jobs of every kind, and each by its own tests; and who else may be on the
link."""
import collections
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

# (job, what it wants of frame n: its flow, whether it has a tag). The generator's flow f is 198.18.0.f port 1024 + f to 198.19.0.1 port 9.
JOBS = [
    ({"name": "all"}, lambda flow, tag: True),
    ({"name": "dns", "filter": "dns"}, lambda flow, tag: False),
    ({"name": "quic", "filter": "quic"}, lambda flow, tag: False),
    ({"name": "hosts", "filter": "src host 198.18.0.3 or host 198.18.0.17"}, lambda flow, tag: not tag and flow in (3, 17)),
    ({"name": "net", "filter": "udp and src net 198.18.0.32/27 and dst host 198.19.0.1"}, lambda flow, tag: not tag and flow >= 32),
    ({"name": "ports", "filter": "udp src portrange 1030-1033 and port 9"}, lambda flow, tag: not tag and 6 <= flow <= 9),
    ({"name": "list", "filter": "net in @/tmp/nets"}, lambda flow, tag: not tag and flow < 16),
    ({"name": "bytes", "filter": "udp[0:2] & 1 = 1"}, lambda flow, tag: not tag and flow % 2 == 1),
    ({"name": "inside", "filter": "src net 198.18.0.0/27", "inside": "vlan,qinq,mpls,gre,erspan,vxlan"}, lambda flow, tag: flow < 32),
    ({"name": "tagged", "filter": "vlan 42 and udp"}, lambda flow, tag: tag),
    ({"name": "cut", "cutoff": {"packets": 3}}, None),
    ({"name": "sample", "sample": {"every": 4, "by": "flow"}}, None),
]
FLOWS = 64
OBJECTS = pathlib.Path("/usr/lib/x86_64-linux-gnu/bpf")


def loaded(kind="xdp"):
    """{id: name} of the programs of a kind in the kernel."""
    return {one["id"]: one.get("name", "") for one in json.loads(capture.command("bpftool", "-j", "prog", "show").stdout)
            if one["type"] == kind}


class Socket:
    def __init__(self, path):
        self.end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.end.settimeout(capture.PATIENCE_S)
        self.end.connect(path)
        self.lines = self.end.makefile("r")

    def add(self, job):
        """Again where libpcap did not compile the filter within half a second: the limit is for real machines."""
        for _ in range(5):
            try:
                return self.ask("add", job=job)
            except AssertionError as error:
                if "took too long" not in str(error):
                    raise
        raise AssertionError(f"{job}: never compiled in time")

    def ask(self, do, **fields):
        self.end.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
        answer = json.loads(self.lines.readline())
        assert answer["ok"], f"{do} {fields}: {answer}"
        return answer


class Programs:
    def __init__(self, outside, nic, receive):
        self.outside, self.nic, self.receive = outside, nic, receive

    def jobs(self, *words):
        """All kinds of jobs at once: each gets exactly what it wants, the accounts balance, every program of the chain is in the kernel."""
        pathlib.Path("/tmp/nets").write_text("198.18.0.0/28\n192.0.2.0/24\n")
        self.nic.up()
        before = loaded()
        with capture.Capture(self.nic.name, *words, "--serve", "/tmp/jobs.sock", memory="256MiB", folder="/data/jobs") as running:
            jobs = Socket("/tmp/jobs.sock")
            for job, _ in JOBS:
                jobs.add(job)
            names = sorted(set(name for number, name in loaded().items() if number not in before))
            small, tagged = self.receive.send("small"), self.receive.send("vlan")
            time.sleep(1)
            ended = {job["name"]: jobs.ask("stop", name=job["name"], wait=True)["job"]["account"] for job, _ in JOBS}
            running.popen.terminate()
            running.end()
        frames = [(n % FLOWS, False) for n in range(small)] + [(n % FLOWS, True) for n in range(tagged)]
        for name, account in ended.items():
            rest = account["seen"] - account["stored"] - account["rejected"] - sum(account["dropped"].values())
            assert rest == 0 and account["seen"] == len(frames) and not account["dropped"], f"{name}: {account}"
        stored = {name: account["stored"] for name, account in ended.items()}
        wanted = {job["name"]: sum(wants(*frame) for frame in frames) for job, wants in JOBS if wants}
        # A flow is the same with and without its tag; but where the workers count, each queue does it for itself, and a tag may be
        # another queue.
        assert stored["cut"] == 3 * FLOWS or ("mirror" in words and 3 * FLOWS < stored["cut"] <= 6 * FLOWS), ended["cut"]
        wrong = {name: (stored[name], n) for name, n in wanted.items() if stored[name] != n}
        assert not wrong, f"stored, wanted: {wrong}; {[ended[name] for name in wrong]}"
        self.whole_flows(running.folder / "sample", collections.Counter(flow for flow, _ in frames), ended["sample"])
        return f"{' '.join(names)}; stored by job, of {len(frames)}: {stored}"

    @staticmethod
    def whole_flows(folder, frames, account):
        """Some flows, and of each every frame."""
        got = collections.Counter()
        for path in sorted(folder.rglob("*.pcap.zst")):
            got.update(source_port(record.data) - 1024 for record in pcapfile.read(path)[1])
        torn = {flow: (count, frames[flow]) for flow, count in got.items() if count != frames[flow]}
        assert 0 < len(got) < FLOWS and not torn, f"{len(got)} of {FLOWS} flows are in the sample, torn: {torn}; {account}"

    def own_tests(self, path):
        """A program of tests/bpf in this kernel. (One of them takes a file.)"""
        done = subprocess.run([str(path), "/skep/filters.txt"], capture_output=True, text=True, check=False, cwd="/tmp",
                              timeout=4 * capture.PATIENCE_S, env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP"})
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
                capture.until(lambda: dump.poll() is not None or loaded("tracing"), "xdpdump's own program")
                time.sleep(2)  # it is loaded, and then put on ours
                alive = dump.poll() is None
                sent = self.receive.send("small", 300)
                dump.send_signal(2)
                said = dump.communicate(timeout=capture.PATIENCE_S)[0]
            stats = running.stop()
        capture.lossless(stats, sent)
        if not alive:
            return f"xdpdump of Debian 12 cannot follow our program ({' '.join(said.split())[-160:]}; the program is {entry}); " \
                   f"the capture is not touched: {stats['stored']} of {sent}"
        counted = len(pcapfile.read("/tmp/xdpdump.pcap")[1])
        assert counted == sent, f"xdpdump saw {counted} of {sent} frames: {said}"
        return f"xdpdump saw {counted} of {sent} frames in {entry}, we stored {stats['stored']}"


def source_port(frame):
    """Of UDP over IPv4 that may have a tag."""
    return int.from_bytes(frame[38:40] if frame[12:14] == b"\x81\x00" else frame[34:36], "big")


def attached(link):
    """Name of the program on the link's hook."""
    shown = json.loads(capture.command("ip", "-j", "-d", "link", "show", "dev", link).stdout)[0]
    return loaded().get(shown["xdp"]["prog"]["id"], "?")
