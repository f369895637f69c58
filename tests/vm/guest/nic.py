# SPDX-License-Identifier: BSD-2-Clause
"""The emulated machine's NICs, seen from inside."""
import pathlib
import platform
import re

import capture

NET = pathlib.Path("/sys/class/net")


def kernel():
    """(6, 12) and the like."""
    return tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])


class Nic:
    def __init__(self, name, tap, plug):
        self.name, self.tap, self.plug = name, tap, plug
        self.driver = (NET / name / "device" / "driver").resolve().name
        # A virtio NIC is a device on a PCI device.
        place = (NET / name / "device").resolve()
        self.pci = place if (place / "numa_node").exists() else place.parent
        self.node = int((self.pci / "numa_node").read_text())

    def zero_copy(self):
        """The first kernel whose driver has zero copy: virtio-net 6.13 (6.11 could not bind yet), igb 6.14."""
        return kernel() >= {"virtio_net": (6, 13), "igb": (6, 14)}[self.driver]

    def queues(self):
        shown = capture.command("ethtool", "-l", self.name).stdout.partition("Current hardware settings")[2]
        return max(int(number) for number in re.findall(r"(?:RX|Combined):\s*(\d+)", shown))

    def up(self, mtu=1500):
        """As it should be before a check; igb takes three seconds for it, so not where it is so already."""
        is_up = int((NET / self.name / "flags").read_text(), 16) & 1
        if not is_up or (NET / self.name / "mtu").read_text().strip() != str(mtu):
            capture.command("ip", "link", "set", self.name, "down")
            capture.command("ip", "link", "set", self.name, "mtu", mtu)
            capture.command("ip", "link", "set", self.name, "up")
        self.wait()

    def wait(self, carrier="1"):
        """A link comes up some seconds after it was configured (igb: three)."""
        def state():
            try:
                return (NET / self.name / "carrier").read_text().strip() == carrier
            except OSError:  # the interface is down
                return carrier == "0"
        capture.until(state, f"carrier {carrier} of {self.name}")


def find(mac, tap, plug):
    """The NIC with this address, or None."""
    for path in sorted(NET.iterdir()):
        if (path / "address").read_text().strip() == mac:
            return Nic(path.name, tap, plug)
    return None
