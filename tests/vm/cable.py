# SPDX-License-Identifier: BSD-2-Clause
"""The host's end of the emulated machine's cables: frames to send, cables to pull, and the power.

The frames are skep-gen's, numbered and checkable by skep-seqcheck, taken once from a veth link by tcpdump, because redirected frames would
reach only those queues of a tap that have a processor on this host. A tap chooses the queue by its own hash of the flow, the same for both
directions, unless the guest has a hash of its own.
"""
import json
import os
import pathlib
import subprocess
import time

# name -> words for skep-gen
SETS = {
    "small": ("--size", "64", "--count", "2000", "--flows", "64"),
    "imix": ("--size", "imix", "--count", "3000", "--flows", "64"),
    "vlan": ("--size", "400", "--count", "600", "--flows", "64", "--vlan", "42"),
    "jumbo": ("--size", "9014", "--count", "300", "--flows", "64"),
}


def run(argv, **kwargs):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False, timeout=120, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def make_sets(programs, folder):
    """FOLDER/NAME.pcap for each set."""
    space = f"skep-vmgen-{os.environ.get('SKEP_RUN_PID', os.getpid())}"
    run(["ip", "netns", "add", space])
    try:
        inside = ["ip", "netns", "exec", space]
        run([*inside, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"])
        run(["ip", "-n", space, "link", "add", "name", "from0", "mtu", "9000", "type", "veth", "peer", "name", "to0", "mtu", "9000"])
        for end in ("from0", "to0"):
            run(["ip", "-n", space, "link", "set", end, "up"])
            # off and on again: a link that came up with GRO has no NAPI for redirected frames
            run([*inside, "ethtool", "-K", end, "gro", "off", "tso", "off", "gso", "off"])
            run([*inside, "ethtool", "-K", end, "gro", "on"])
        for name, words in SETS.items():
            count = words[words.index("--count") + 1]
            listener = subprocess.Popen([*inside, "tcpdump", "-i", "to0", "-p", "-n", "-U", "-B", "65536", "-c", count, "-Z", "root",
                                         "-w", str(folder / f"{name}.pcap")], stderr=subprocess.PIPE, text=True)
            try:
                listener.stderr.readline()  # "listening on"
                run([*inside, programs / "skep-gen", "-i", "from0", "--rate", "20kpps", *words])
                listener.wait(20)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"the frames of set {name} did not all arrive on a veth link") from None
            finally:
                listener.kill()
                listener.wait()
                listener.stderr.close()
    finally:
        run(["ip", "netns", "del", space])


class Cable:
    def __init__(self, programs, folder):
        self.programs, self.folder = pathlib.Path(programs), pathlib.Path(folder)

    def answer(self, vm, request):
        return getattr(self, f"do_{request.pop('do')}")(vm, **request)

    def do_hello(self, vm):
        return {"igb": vm.igb}

    def do_send(self, vm, tap, name, rate=1000, repeat=1):
        """Sends a set; how many frames the guest's emulated NIC was given, and how many the tap had no room for."""
        before = self._counters(vm, tap)
        done = vm.in_namespace(self.programs / "skep-send", "-i", tap, "--rate", f"{rate}pps", "--repeat", repeat,
                               self.folder / f"{name}.pcap")
        if done.returncode:
            raise RuntimeError(f"skep-send: {done.stderr.strip()}")
        time.sleep(0.5)  # what is in the tap's ring reaches the NIC
        after = self._counters(vm, tap)
        return {"sent": after["packets"] - before["packets"], "lost": after["dropped"] - before["dropped"], "said": done.stdout[:300]}

    def _counters(self, vm, tap):
        shown = run(["ip", "-n", vm.namespace, "-j", "-s", "link", "show", "dev", tap])
        return json.loads(shown)[0]["stats64"]["tx"]

    def do_plug(self, vm, nic, up):
        vm.command("set_link", name=nic, up=up)
        return {}

    def do_power(self, vm):
        """Power off and on; nobody waits for the answer."""
        vm.command("system_reset")
        return {}
