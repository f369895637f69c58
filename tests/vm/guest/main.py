# SPDX-License-Identifier: BSD-2-Clause
"""The first process of the emulated machine: mounts what is missing, runs the checks, turns the machine off."""
import ctypes
import os
import pathlib
import platform
import subprocess
import traceback

import capture
import crash
import host
import nic
import programs
import receive
import tap

RB_POWER_OFF = 0x4321FEDC


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


def checks(report, outside):
    igb = outside.ask("hello")["igb"]
    nics = [nic.find("52:54:00:5e:00:01", "tap0", "n0")]
    if igb:
        nics.append(nic.find("52:54:00:5e:00:02", "tap1", "n1"))
    report.run("two nodes, four processors, the NICs on their nodes", shape, nics)
    first = programs.Programs(outside, nics[0], receive.Receive(outside, nics[0]))
    report.run("jobs of every kind on xdp", first.jobs, *receive.XDP)
    report.run("jobs of every kind on mirror", first.jobs, "--source", "mirror")
    for path in sorted(pathlib.Path("/skep/bpf").iterdir()):
        report.run(f"verifier: {path.name}", first.verifier, path)
    for path in sorted(pathlib.Path("/skep/tests").iterdir()):
        report.run(f"tests/bpf/{path.name} in this kernel", first.own_tests, path)
    report.run("libxdp's dispatcher was there first", first.dispatcher_first)
    report.run("libxdp's dispatcher comes second", first.dispatcher_second)
    report.run("xdpdump on our program", first.xdpdump)
    for one in nics:
        tests = receive.Receive(outside, one)
        report.run(f"{one.driver}: every frame, intact, on every queue", tests.every_queue)
        report.run(f"{one.driver}: --zero-copy on", tests.zero_copy_demanded)
        report.run(f"{one.driver}: --zero-copy off", tests.copy_mode)
        report.run(f"{one.driver}: generic XDP", tests.other_source, *receive.XDP, "--xdp", "generic")
        report.run(f"{one.driver}: mirror", tests.other_source, "--source", "mirror")
        report.run(f"{one.driver}: afpacket", tests.other_source, "--source", "afpacket")
        report.run(f"{one.driver}: workers and memory on the NIC's node", tests.node)
        report.run(f"{one.driver}: both directions of a flow on one queue", tests.both_directions)
        report.run(f"{one.driver}: the cable is pulled and put back", tests.cable_pulled)
        report.run(f"{one.driver}: jumbo frames in several buffers", tests.jumbo)
        report.run(f"{one.driver}: VLAN tags", tests.vlan)
        report.run(f"{one.driver}: the number of queues changes", tests.queues_changed)
    crashes = crash.Crash(outside, nics[0], receive.Receive(outside, nics[0]))
    report.run("kill -9 after the last frame", crashes.kill)
    report.run("kill -9 under load", crashes.kill_under_load)
    if report.wants("the power was cut in the middle of a job"):
        crash.durably(crash.MARK.with_name("checks-done"), report.number)
        crashes.power()


def main():
    os.environ.update(PATH="/skep/bin:/usr/bin:/usr/sbin", HOME="/root", PYTHONDONTWRITEBYTECODE="1")
    mount("tmpfs", "/tmp")
    mount("tmpfs", "/run")
    mount("bpf", "/sys/fs/bpf")
    mount("ext4", "/data", "/dev/vdb")
    capture.command("ip", "link", "set", "lo", "up")
    report = tap.Report()
    report.note(f"kernel {platform.release()}")
    if crash.MARK.exists():
        report.number = int(crash.MARK.with_name("checks-done").read_text())
        report.run("the power was cut in the middle of a job", crash.Crash(None, None, None).after_power)
    else:
        checks(report, host.Host())
    report.line(f"1..{report.number}")


try:
    main()
except BaseException:  # pylint: disable=broad-except
    print("Bail out! the guest's own script failed", flush=True)
    traceback.print_exc()
finally:
    off()
