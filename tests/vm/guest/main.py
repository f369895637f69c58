# SPDX-License-Identifier: BSD-2-Clause
"""The first process of the emulated machine: mounts what is missing, runs the checks, turns the machine off. In the middle of the last
check the power is cut; then the machine boots a second time, and what the first one left is looked at.

A check runs on the kernels on which it proves something that it does not prove on another: the middle one has neither the oldest verifier
nor zero copy.
"""
import ctypes
import json
import os
import pathlib
import platform
import subprocess
import traceback

import capture
import control
import crash
import host
import nic
import programs
import receive
import tap

RB_POWER_OFF = 0x4321FEDC
ENDS, NEWEST = ("6.1", "newest"), ("newest",)
MARK = pathlib.Path("/data/power-was-cut")
POWER = "the power is cut in the middle of jobs"


def mount(kind, at, source="none"):
    os.makedirs(at, exist_ok=True)
    subprocess.run(["busybox", "mount", "-t", kind, source, at], check=True)


def off():
    os.sync()
    ctypes.CDLL(None).reboot(RB_POWER_OFF)


def shape(nics):
    """Nodes, and where the NICs are."""
    nodes = pathlib.Path("/sys/devices/system/node")
    cpus = {path.name: (path / "cpulist").read_text().strip() for path in sorted(nodes.glob("node[0-9]"))}
    assert cpus == {"node0": "0-1", "node1": "2-3"}, cpus
    placed = {f"{one.driver}": (one.node, one.queues()) for one in nics}
    assert placed == {"virtio_net": (1, 4), "igb": (0, 4)} or placed == {"virtio_net": (1, 4)}, f"(node, queues): {placed}"
    return f"CPUs {cpus}, (node, queues) of the NICs {placed}"


def find_nics(outside):
    nics = [nic.find("52:54:00:5e:00:01", "tap0", "n0")]
    if outside.ask("hello")["igb"]:
        nics.append(nic.find("52:54:00:5e:00:02", "tap1", "n1"))
    return nics


def programs_and_others(report, first):
    report.run("jobs of every kind on xdp", first.jobs, *receive.XDP)
    report.run("jobs of every kind on mirror", first.jobs, "--source", "mirror", on=ENDS)
    for path in sorted(pathlib.Path("/skep/tests").iterdir()):
        report.run(f"tests/bpf/{path.name} in this kernel", first.own_tests, path)
    report.run("libxdp's dispatcher was there first", first.dispatcher_first)
    report.run("libxdp's dispatcher comes second", first.dispatcher_second, on=ENDS)
    report.run("xdpdump on our program", first.xdpdump)


def receiving(report, outside, one):
    tests = receive.Receive(outside, one)
    report.run(f"{one.driver}: every frame, intact, on every queue", tests.every_queue)
    report.run(f"{one.driver}: --zero-copy on", tests.zero_copy_demanded)
    if one.zero_copy():  # elsewhere each other check is one of copy mode
        report.run(f"{one.driver}: --zero-copy off", tests.copy_mode)
    # What does not touch the driver is shown on one of them.
    if one.driver == "virtio_net":
        report.run(f"{one.driver}: generic XDP", tests.other_source, *receive.XDP, "--xdp", "generic", on=ENDS)
        report.run(f"{one.driver}: afpacket", tests.other_source, "--source", "afpacket", on=ENDS)
    else:
        report.run(f"{one.driver}: mirror", tests.other_source, "--source", "mirror", on=ENDS)
        report.run(f"{one.driver}: hardware time stamps", tests.hardware_stamps)
    report.run(f"{one.driver}: workers and memory on the NIC's node", tests.node)
    report.run(f"{one.driver}: both directions of a flow on one queue", tests.both_directions)
    report.run(f"{one.driver}: the cable is pulled and put back", tests.cable_pulled)
    report.run(f"{one.driver}: jumbo frames in several buffers", tests.jumbo)
    report.run(f"{one.driver}: VLAN tags", tests.vlan)
    report.run(f"{one.driver}: the number of queues changes", tests.queues_changed)


def cut_the_power(report, outside, nics):
    """Does not come back, if all goes well."""
    promise = control.Promise(nics[0], receive.Receive(outside, nics[0]))
    alone = crash.Crash(outside, nics[-1], receive.Receive(outside, nics[-1])) if len(nics) > 1 else None
    if not report.run("before the power is cut: a job of skep-control", promise.begin, on=ENDS):
        return
    if alone and not report.run("before the power is cut: a capture beside it", alone.before_power, on=ENDS):
        return
    durably(MARK, json.dumps({"checks": report.number, "promise": promise.mark(), "sent": alone.sent if alone else None}))
    report.run(POWER, into_the_dark, promise, outside, on=ENDS)


def into_the_dark(promise, outside):
    promise.last_words()
    outside.ask("power")
    raise AssertionError("the power did not go")


def durably(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def checks(report, outside):
    nics = find_nics(outside)
    report.run("two nodes, four processors, the NICs on their nodes", shape, nics)
    programs_and_others(report, programs.Programs(outside, nics[0], receive.Receive(outside, nics[0])))
    for one in nics:
        receiving(report, outside, one)
    crashes = crash.Crash(outside, nics[0], receive.Receive(outside, nics[0]))
    report.run("kill -9 after the last frame", crashes.kill, on=NEWEST)
    report.run("kill -9 under load", crashes.kill_under_load, on=NEWEST)
    if report.wants(POWER, on=ENDS):
        cut_the_power(report, outside, nics)


def checks_after_power(report, outside):
    left = json.loads(MARK.read_text())
    report.number = left["checks"]
    nics = find_nics(outside)
    if left["sent"] is not None:
        report.run(f"{POWER}: what skep-capture wrote", crash.Crash(outside, nics[-1], None).after_power, left["sent"])
    report.run(f"{POWER}: what skep-control had accepted", control.Promise(nics[0], receive.Receive(outside, nics[0])).after,
               left["promise"])


def main():
    os.environ.update(PATH="/skep/bin:/usr/bin:/usr/sbin", HOME="/root", PYTHONDONTWRITEBYTECODE="1")
    mount("tmpfs", "/tmp")
    mount("tmpfs", "/run")
    mount("bpf", "/sys/fs/bpf")
    mount("ext4", "/data", "/dev/vdb")
    capture.command("ip", "link", "set", "lo", "up")
    report = tap.Report()
    report.note(f"kernel {platform.release()}")
    (checks_after_power if MARK.exists() else checks)(report, host.Host())
    report.line(f"1..{report.number}")


try:
    main()
except BaseException:  # pylint: disable=broad-except
    print("Bail out! the guest's own script failed", flush=True)
    traceback.print_exc()
finally:
    off()
