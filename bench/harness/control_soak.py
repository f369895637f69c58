# SPDX-License-Identifier: BSD-2-Clause
"""The scenario control-soak: a probe that works without a pause, every kind of request there is, for as long as one likes; is its memory
flat, and the number of its descriptors?"""
import contextlib
import hashlib
import os
import statistics
import time
from pathlib import Path

from .control_probe import Probe, Traffic
from .jobs import unbalanced
from .rig import BenchError

MIB = 1 << 20
GROWTH_MIB = 2  # an allocator's, of an hour; a leak of one answer for each request would be tens


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def listen(probe):
    """An event stream, looked at and left."""
    with contextlib.closing(probe.socket()) as peer:
        peer.sendall(f"GET /v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {probe.token}\r\n\r\n".encode())
        if b" 200 " not in peer.recv(4096):
            raise BenchError("no event stream")


def cycle(probe, ring, number):
    """One of everything."""
    job = probe.add(name=f"soak {number}", filter=("udp", "", "udp dst port 9")[number % 3], limits={"packets": 5000})
    listen(probe)
    job = probe.wait(job)
    # a busy machine may drop; it is said, and the limit holds all the same
    if job["state"] != "done" or job["account"]["stored"] != 5000 or unbalanced(job["account"]):
        raise BenchError(f"a job of the soak: {job}")
    for segment in probe.segments(job):
        path = f"/v1/jobs/{job['id']}/segments/{segment['name']}"
        data = probe.want("GET", path)
        if segment["sha256"] and hashlib.sha256(data).hexdigest() != segment["sha256"]:
            raise BenchError(f"{path}: another digest")
        probe.want("DELETE", path, status=204)
    probe.drop(job)
    for path in ("/v1/links", "/v1/probe", "/v1/jobs", "/metrics", "/readyz"):
        probe.want("GET", path)
    probe.want("POST", "/v1/filters/check", {"filter": f"host 192.0.2.{number % 250}"})
    probe.want("POST", "/v1/filters/check", {"filter": f"prt {number}"})
    if probe.ask("GET", "/v1/jobs/none")[0] != 404 or probe.ask("POST", "/v1/jobs", {"links": 7})[0] != 422:
        raise BenchError("what is wrong is not refused")
    if number % 10 == 9:
        saved = probe.want("POST", f"/v1/rings/{ring['id']}/trigger", {"before_ns": 2 * 10**9, "after_ns": 0}, 201)
        probe.drop(probe.wait(saved))
    probe.want("GET", f"/v1/jobs/{ring['id']}/packets?filter=udp+and+port+1&max_bytes=100000")


def growth(samples, kind):
    """By how much the middle of the last quarter is above that of the second; the first is for warming up."""
    values = [sample[kind] for sample in samples]
    quarter = max(1, len(values) // 4)
    return statistics.median(values[-quarter:]) - statistics.median(values[quarter:2 * quarter])


def soak(bench, plan):
    """Jobs, fetches, events, refusals, rings, extraction, without a pause; samples of memory and descriptors."""
    samples, cycles = {"daemon": [], "engine": []}, 0
    with Probe(bench, tls=True) as probe, Traffic(bench, "512", rate=plan.rate):
        ring = probe.add(name="recorder", ring={"bytes": 64 * MIB})
        engine = min(probe.engines())
        begin = time.monotonic()
        sampled = said = 0.0
        while (now := time.monotonic() - begin) < plan.duration_s:
            bench.check_time()
            cycle(probe, ring, cycles)
            cycles += 1
            if now - sampled < plan.sample_s and sampled:
                continue
            sampled = now
            for name, pid in (("daemon", probe.process.pid), ("engine", engine)):
                samples[name].append({"memory": resident_bytes(pid) / MIB, "descriptors": descriptors(pid)})
                if now - said >= plan.duration_s / 30 or not said:
                    bench.figure(plan.name, "resident memory", samples[name][-1]["memory"], "MiB", series=name, x=round(now / 60, 2))
            if now - said >= plan.duration_s / 30 or not said:
                said = now
        account = probe.want("GET", f"/v1/jobs/{ring['id']}")["account"]
    if unbalanced(account):
        raise BenchError(f"the account of the ring does not balance: {account}")
    hours = plan.duration_s / 3600
    for name, found in samples.items():
        bench.figure(plan.name, f"{name}: memory, growth in {hours:.2g} h and {cycles} cycles", growth(found, "memory"), "MiB",
                     of="control", target=GROWTH_MIB, at_least=False, ours=growth(found, "memory"),
                     why=f"at the end {found[-1]['memory']:.1f} MiB")
        bench.figure(plan.name, f"{name}: descriptors, growth", growth(found, "descriptors"), "", of="control", target=0, at_least=False,
                     ours=growth(found, "descriptors"), why=f"at the end {found[-1]['descriptors']}")
    return [], []
