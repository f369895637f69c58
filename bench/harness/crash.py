# SPDX-License-Identifier: BSD-2-Clause
"""kill -9 in the middle of traffic, again and again: does what was written open in tcpdump, and how much of the end is missing?"""
import random
import shutil
import signal
import subprocess
import time

from .jobs import forget, fresh
from .measure import RUN_NAME
from .rig import CPU_TX, TX_LINK, BenchError
from .tools import PCAP_HEADER_BYTES, PCAP_RECORD_BYTES

SIZE = 512
# after the first of these limits nothing more may be missing
LOST_S = 1.0
LOST_BYTES = 4 << 20


def last_stamp(path, compressed):
    """(whole records, time stamp of the last one in ns) of a torn file of frames of SIZE bytes; (0, 0): it does not open."""
    raw = subprocess.run(["zstd", "-dcq", str(path)], capture_output=True).stdout if compressed else path.read_bytes()
    count = (len(raw) - PCAP_HEADER_BYTES) // (PCAP_RECORD_BYTES + SIZE)
    said = subprocess.run(["tcpdump", "-n", "-r", "-", "--count"], input=raw, capture_output=True)
    opens = f"{count} packet".encode() in said.stdout + said.stderr
    if count < 1 or not opens:
        return 0, 0
    at = PCAP_HEADER_BYTES + (count - 1) * (PCAP_RECORD_BYTES + SIZE)
    unit = 1 if raw[:4] == b"\x4d\x3c\xb2\xa1" else 1000
    return count, int.from_bytes(raw[at:at + 4], "little") * 10**9 + int.from_bytes(raw[at + 4:at + 8], "little") * unit


def one(bench, name, seconds):
    """Kills the tool after so many seconds of capturing. Returns (it opens, seconds lost, whole records)."""
    tool, work = bench.tools[name], fresh(bench)
    processes = tool.start(bench.rig, work, "disk", "auto")
    try:
        bench.rig.wait_ready(processes[0], tool.ready)
        time.sleep(seconds)
        killed_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        # all at once: what reads from a killed one could go on to the end
        for process in reversed(processes):
            process.popen.send_signal(signal.SIGKILL)
        for process in processes:
            process.popen.wait(10)
    finally:
        forget(bench, processes)
    found = [path for path in work.iterdir() if path.name.startswith("out.pcap") and path.suffix != ".json"]
    count, last_ns = last_stamp(found[0], ".zst" in found[0].name) if found else (0, 0)
    return count > 0, (killed_ns - last_ns) / 1e9 if count else seconds, count


def crash(bench, plan):
    """Kills skep-capture, and a few times its peers, at random moments in the middle of traffic."""
    words = ["ip", "netns", "exec", bench.rig.tx, str(bench.bin_dir / "skep-gen"), "-i", TX_LINK, "--json", "--cpu", str(CPU_TX), "--size",
             str(SIZE), "--payload", "compressible", "--rate", f"{plan.rate}pps", "--duration", "3600"]
    generator = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    dice, lost, opened, tried = random.Random(plan.seed), {}, {}, {}
    try:
        for name in [plan.tool] * plan.kills + [peer for peer in plan.peers for _ in range(plan.peer_kills)]:
            if name not in bench.tools:
                continue
            bench.check_time()
            if generator.poll() is not None:
                raise BenchError(f"the generator ended with {generator.returncode}")
            good, seconds, _ = one(bench, name, dice.uniform(plan.after_s[0], plan.after_s[1]))
            tried[name] = tried.get(name, 0) + 1
            opened[name] = opened.get(name, 0) + good
            lost.setdefault(name, []).append(seconds)
    finally:
        generator.send_signal(signal.SIGINT)
        generator.wait(20)
        shutil.rmtree(bench.work_dir / RUN_NAME, ignore_errors=True)
    ours = plan.tool
    others = [name for name in plan.peers if name in tried]
    bench.figure(plan.name, f"files that open in tcpdump, of {tried[ours]} kills", opened[ours], "", of="G13", target=tried[ours],
                 peers={f"{name}, of {tried[name]}": opened[name] for name in others})
    allowed = max(LOST_S, LOST_BYTES / (plan.rate * (SIZE + PCAP_RECORD_BYTES)))
    bench.figure(plan.name, "end of the file that is missing, longest", max(lost[ours]), "s", of="G13", target=allowed, at_least=False,
                 peers={name: max(lost[name]) for name in others})
    return [], []
