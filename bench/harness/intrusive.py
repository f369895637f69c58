# SPDX-License-Identifier: BSD-2-Clause
"""How much of its own TCP a host keeps while somebody captures on the link: one stream over the veth, with nobody, with tcpdump, and with
each of our sources that let the host have its traffic. TCP over a veth is segments of up to 64 KiB unless something turns that off."""
import json
import statistics
import subprocess
import sys

from .jobs import forget, fresh
from .rig import CPU_RX, CPU_TX, RX_LINK, TX_LINK, BenchError, Rig, run

ADDRESS = {"tx": "198.18.0.1", "rx": "198.18.0.2"}
PORT = 5201
RECEIVER = f"""
import json, socket, time
s = socket.create_server(("{ADDRESS['rx']}", {PORT}))
print("ready", flush=True)
c, _ = s.accept()
buf, total, start = bytearray(1 << 20), 0, None
while (n := c.recv_into(buf)):
    start = start or time.monotonic()
    total += n
print(json.dumps({{"bytes": total, "seconds": time.monotonic() - start}}), flush=True)
"""
SENDER = f"""
import socket, sys, time
s = socket.create_connection(("{ADDRESS['rx']}", {PORT}), timeout=10)
data, end = bytes(1 << 20), time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    s.sendall(data)
s.close()
"""


def in_space(namespace, cpu, *words):
    return ["ip", "netns", "exec", namespace, "taskset", "-c", str(cpu), sys.executable, "-c", *words]


def throughput(rig, seconds):
    """Bits of payload a second of one stream from the one end to the other."""
    receiver = subprocess.Popen(in_space(rig.rx, CPU_RX, RECEIVER), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if receiver.stdout.readline().strip() != "ready":
            raise BenchError(f"the receiver of the stream does not start: {receiver.stderr.read().strip()[-300:]}")
        sent = subprocess.run(in_space(rig.tx, CPU_TX, SENDER, str(seconds)), capture_output=True, text=True, timeout=seconds + 60)
        out, err = receiver.communicate(timeout=60)
    finally:
        if receiver.poll() is None:
            receiver.kill()
            receiver.wait()
    if sent.returncode or not out:
        raise BenchError(f"the stream broke: {(sent.stderr + err).strip()[-300:]}")
    said = json.loads(out)
    return said["bytes"] * 8 / said["seconds"]


def captured(bench, rig, words, ready, seconds):
    """The same while a capture runs."""
    work = fresh(bench)
    process = rig.start(words, work / "capture.log")
    try:
        rig.wait_ready(process, ready)
        found = throughput(rig, seconds)
        process.stop()
        if process.popen.returncode not in (0, 3):
            raise BenchError(f"{words[0]} failed: {process.log().strip()[-300:]}")
    finally:
        forget(bench, [process])
    return found


def cases(bench):
    """{name: (words, what it says when it captures)}; None: nobody captures."""
    ours = [bench.tools["skep-capture"].path(), "-i", RX_LINK, "-w", "/dev/null", "--link-role", "host", "--cpus", str(CPU_RX)]
    found = {"nobody": None}
    if "tcpdump" in bench.tools:
        tool = bench.tools["tcpdump"]
        found["tcpdump"] = ([tool.path(), "-n", "-i", RX_LINK, "-B", "524288", "-Z", "root", "-w", "/dev/null"], tool.ready)
    ready = bench.tools["skep-capture"].ready
    found["skep-capture"] = (ours, ready)
    for source in ("afpacket", "mirror"):
        found[f"skep-capture --source {source}"] = ([*ours, "--source", source], ready)
    return found


def intrusive(bench, plan):
    """One TCP stream while nobody, tcpdump or skep-capture looks on."""
    with Rig(label="tcp") as rig:
        run("ip", "-n", rig.tx, "addr", "add", f"{ADDRESS['tx']}/24", "dev", TX_LINK)
        run("ip", "-n", rig.rx, "addr", "add", f"{ADDRESS['rx']}/24", "dev", RX_LINK)
        here, found = bench.on(rig), {}
        for _ in range(plan.rounds):
            for name, case in cases(bench).items():
                bench.check_time()
                value = captured(here, rig, *case, plan.duration_s) if case else throughput(rig, plan.duration_s)
                found.setdefault(name, []).append(value)
                bench.figure(plan.name, "one TCP stream of the host's own", value / 1e9, "Gbit/s", series=name)
    middle = {name: statistics.median(values) / 1e9 for name, values in found.items()}
    if "tcpdump" in middle:
        bench.figure(plan.name, "the host's own TCP while we capture: of what tcpdump leaves", middle["skep-capture"] / middle["tcpdump"],
                     "x",
                     of="G15", target=0.95, ours=middle["skep-capture"], peers={"tcpdump": middle["tcpdump"]},
                     limit={"name": "nobody captures, Gbit/s", "value": middle["nobody"]})
    return [], []
