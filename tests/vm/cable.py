# SPDX-License-Identifier: BSD-2-Clause
"""The host's end of the emulated machine's cables: frames to send, cables to pull, and the power.

The frames are skep-gen's, numbered and checkable by skep-seqcheck, taken once from a veth link by tcpdump, because redirected frames would
reach only those queues of a tap that have a processor on this host. A tap chooses the queue by its own hash of the flow, the same for both
directions, unless the guest has a hash of its own.
"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "net"))
import pcapfile  # noqa: E402  pylint: disable=wrong-import-position

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
    spread(folder / "imix.pcap")
    make_both(folder)


def spread(path, flows=64):
    """Source ports that have nothing to do with the addresses: a NIC's hash with an unlucky random key gives the generator's flows to half
    of the queues, one boot in twenty."""
    pcapfile.write(path, [with_port(record.data, n % flows) for n, record in enumerate(pcapfile.read(path)[1])])


def make_both(folder, flows=64, rounds=10):
    """both.pcap: each flow of the set "small" in both directions, a frame at a time."""
    frames = [with_port(record.data, n % flows) for n, record in enumerate(pcapfile.read(folder / "small.pcap")[1][:flows * rounds])]
    pcapfile.write(folder / "both.pcap", [way for frame in frames for way in (frame, turned(frame))])


def with_port(frame, flow):
    """Another source port, and no UDP checksum. The generator's ports rise with its addresses, which a symmetric hash cannot tell apart."""
    return frame[:34] + struct.pack("!H", 1024 + flow * 7919 % 60000) + frame[36:40] + b"\0\0" + frame[42:]


def turned(frame):
    """The answer to a UDP/IPv4 frame: ends swapped, which leaves the checksums right."""
    return frame[6:12] + frame[:6] + frame[12:26] + frame[30:34] + frame[26:30] + frame[36:38] + frame[34:36] + frame[38:]


class Cable:
    def __init__(self, programs, folder):
        self.programs, self.folder = pathlib.Path(programs), pathlib.Path(folder)
        self.sender = None

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

    def do_send_behind(self, vm, tap, name, rate):
        """As do_send, but answers at once; send_done waits for the end."""
        self.sender = threading.Thread(target=self.do_send, args=(vm, tap, name, rate), daemon=True)
        self.sender.start()
        return {}

    def do_send_done(self, _vm):
        self.sender.join(60)
        return {}

    def _counters(self, vm, tap):
        shown = run(["ip", "-n", vm.namespace, "-j", "-s", "link", "show", "dev", tap])
        return json.loads(shown)[0]["stats64"]["tx"]

    def do_plug(self, vm, nic, up):
        vm.command("set_link", name=nic, up=up)
        return {}

    def do_power(self, vm):
        """Power off and on. No answer: the machine that boots would read it."""
        vm.command("system_reset")
