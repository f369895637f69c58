# SPDX-License-Identifier: BSD-2-Clause
"""A small world: a hive and two probes, each in a network namespace of its own, with a link to tap behind each probe.

    hive ──── probe A ═ A ═╗
      └────── probe B ═ B ═╩ traffic

The hive reaches its probes by TLS with pinned keys over links of their own; people reach the hive through a relay on 127.0.0.1. Nothing
of the machine's own network is touched. Names of namespaces end in a pid, so that only our own are removed. Needs the standard library
and the Python client only: scripts/demo uses it too."""
import atexit
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SKEP_BIN", ROOT / "build" / "bin"))
sys.path[:0] = [str(ROOT / "hive" / "client" / "python"), str(ROOT / "tests" / "net")]

import skep  # noqa: E402
from netns import Relay  # noqa: E402

LINKS = ("A", "B")
HIVE_PORT, PROBE_PORT = 8480, 8443
RIGHTS = ["jobs", "jobs-group", "jobs-all", "download", "users", "groups", "probes", "audit"]
PATIENCE = 4 if os.environ.get("SKEP_SANITIZED") else 1


def command(*argv, check=True, **more):
    return subprocess.run([str(word) for word in argv], check=check, capture_output=True, text=True, timeout=30 * PATIENCE, **more)


class World:
    def __init__(self, folder, listen=0, hive_settings=""):
        self.folder, self.listen, self.hive_settings = pathlib.Path(folder), listen, hive_settings
        self.pid = os.environ.get("SKEP_RUN_PID", str(os.getpid()))
        self.hive_ns, self.gen_ns = f"skep-hive-{self.pid}", f"skep-wire-{self.pid}"
        self.probe_ns = {link: f"skep-probe{link}-{self.pid}" for link in LINKS}
        self.run = pathlib.Path(tempfile.mkdtemp(prefix="skep-"))  # short: the sockets of engines are in it
        self.processes, self.relay, self.admin, self.token, self.enrolled = {}, None, None, None, {}
        atexit.register(self.close)

    def namespaces(self):
        return [self.hive_ns, self.gen_ns, *self.probe_ns.values()]

    # --- building it ---

    def start(self):
        """All of it, with an administrator (self.admin, a skep.Hive; self.token) and the links "A" and "B" known to the hive."""
        self._wires()
        for link in LINKS:
            self.start_probe(link)
        self.start_hive()
        self._claim()
        self._enrol()
        return self

    def _wires(self):
        for name in self.namespaces():
            command("ip", "netns", "add", name)
            command("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                    "net.ipv6.conf.default.disable_ipv6=1", check=False)
            command("ip", "-n", name, "link", "set", "lo", "up")
        for n, link in enumerate(LINKS, 1):
            probe = self.probe_ns[link]
            command("ip", "-n", self.hive_ns, "link", "add", f"to{link}", "type", "veth", "peer", "name", "up0", "netns", probe)
            for name, interface, host in ((self.hive_ns, f"to{link}", 1), (probe, "up0", 2)):
                command("ip", "-n", name, "addr", "add", f"192.0.2.{n * 4 + host}/30", "dev", interface)
                command("ip", "-n", name, "link", "set", interface, "up")
            command("ip", "-n", probe, "link", "add", "cap0", "type", "veth", "peer", "name", f"wire{link}", "netns", self.gen_ns)
            for name, interface in ((probe, "cap0"), (self.gen_ns, f"wire{link}")):
                command("ip", "netns", "exec", name, "ethtool", "-K", interface, "tso", "off", "gso", "off", "tx", "off", "gro", "on")
                command("ip", "-n", name, "link", "set", interface, "up")

    def _spawn(self, name, namespace, *argv):
        log = open(self.folder / f"{name}.log", "a", encoding="utf-8")
        self.processes[name] = subprocess.Popen(["ip", "netns", "exec", namespace, *map(str, argv)], stdin=subprocess.DEVNULL, stdout=log,
                                                stderr=log, start_new_session=True)
        log.close()

    def said(self, name):
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def _until(self, condition, what, name, seconds=20):
        until = time.monotonic() + seconds * PATIENCE
        while not (found := condition()):
            if self.processes[name].poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{what}:\n{self.said(name)[-3000:]}")
            time.sleep(0.02)
        return found

    def start_probe(self, link):
        """skep-control on the probe of the link, where cap0 is a tap."""
        name, address = f"probe{link}", f"192.0.2.{(LINKS.index(link) + 1) * 4 + 2}"
        run = self.run / link
        run.mkdir(exist_ok=True)
        config = self.folder / f"{name}.conf"
        config.write_text(f"[probe]\nname = probe-{link.lower()}\nstate = {self.folder / name}\nrun = {run}\nprograms = {BIN}\n"
                          f"[server]\nlisten = {address}:{PROBE_PORT}\n[spool]\ndirectory = {self.folder / name}-spool\nreserve = 16MiB\n"
                          "[link cap0]\nrole = tap\n", encoding="utf-8")
        (run / "port").unlink(missing_ok=True)
        self._spawn(name, self.probe_ns[link], BIN / "skep-control", "-c", config)
        self._until(lambda: (run / "port").exists() and (run / "port").read_text().endswith("\n"), "skep-control did not start", name)
        if link not in self.enrolled:
            line = command(BIN / "skep-control", "-c", config, "enrol").stdout
            self.enrolled[link] = dict(word.partition("=")[::2] for word in line.split()[1:])

    def start_hive(self):
        config = self.folder / "hive.conf"
        state = self.folder / "hive"
        config.write_text(f"[hive]\nlisten = 127.0.0.1:{HIVE_PORT}\nstate_dir = {state}\nprograms = {BIN}\n[store]\nreserve = 16MiB\n"
                          f"{self.hive_settings}", encoding="utf-8")
        (self.folder / "hive.log").unlink(missing_ok=True)
        self._spawn("hive", self.hive_ns, BIN / "skep-hive", "-c", config)
        self._until(lambda: "listening on" in self.said("hive"), "skep-hive did not start", "hive")
        if not self.relay:
            self.relay = Relay(self.hive_ns, HIVE_PORT, self.listen)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.relay.listen}"

    def _claim(self):
        secret = self._until(lambda: re.search(r"#claim=(\S+)", self.said("hive")), "no one-time link", "hive")[1]
        self.admin = skep.Hive(self.url)
        self.admin.claim(secret, "admin", os.urandom(16).hex())
        self.token = self.admin.create_token("administrator", rights=RIGHTS, expires="+1d").token

    def _enrol(self):
        for link in LINKS:
            probe = self.enrolled[link]
            made = self.admin.create_probe(probe["name"], probe["url"], probe["token"], key_pin=probe["pin"])
            self.admin.create_link(link, made, "cap0", description=f"tap of {probe['name']}")

    def one_time_link(self):
        """For people who want to become administrator of this hive too."""
        done = command("ip", "netns", "exec", self.hive_ns, BIN / "skep-hive", "-c", self.folder / "hive.conf", "admin-link")
        return f"{self.url}/#claim={done.stdout.partition('#claim=')[2].strip()}"

    def person(self, name, rights=("jobs", "download"), links=LINKS):
        """A client that is logged in as somebody with these rights on these links, and their password."""
        password = os.urandom(8).hex()
        group = self.admin.create_group(f"{name}s", rights=list(rights))
        self.admin.join_group(group, self.admin.create_user(name, password=password))
        for link in links:
            self.admin.allow_link(group, self.admin.link_named(link))
        client = skep.Hive(self.url)
        client.login(name, password)
        return client, password

    # --- what happens in it ---

    def send(self, link, frames):
        """Sends frames on the wire behind a link, paced; each arrives, or it is an error."""
        stats = pathlib.Path("/sys/class/net") / f"wire{link}" / "statistics"
        read = ["ip", "netns", "exec", self.gen_ns, "cat", stats / "tx_packets", stats / "tx_dropped"]
        before = command(*read).stdout.split()
        data = b"".join(struct.pack("!I", len(frame)) + frame for frame in frames)
        subprocess.run(["ip", "netns", "exec", self.gen_ns, sys.executable, "-B", str(ROOT / "tests" / "net" / "send.py"), f"wire{link}",
                        "10000"], input=data, capture_output=True, timeout=60 * PATIENCE, check=True)
        sent, lost = (int(now) - int(then) for now, then in zip(command(*read).stdout.split(), before))
        if sent != len(frames) or lost:
            raise RuntimeError(f"link {link}: {sent} of {len(frames)} frames were sent, {lost} were lost on the way")

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait(10)

    # --- its end ---

    def leave(self):
        """Lets it live on without us, with a relay of its own; returns what remove() needs to know."""
        atexit.unregister(self.close)
        port = self.relay.listen
        self.relay.close()
        relay = subprocess.Popen([sys.executable, "-B", ROOT / "tests" / "net" / "netns.py", self.hive_ns, str(HIVE_PORT), str(port)],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        return self.left() | {"pids": {relay.pid: started(relay.pid)}}

    def left(self):
        """What remove() would need to know if we were killed."""
        return {"namespaces": self.namespaces(), "run": str(self.run), "pids": {}}

    def close(self):
        """Ends and removes everything but the folder. May be called twice."""
        atexit.unregister(self.close)
        if self.relay:
            self.relay.close()
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        remove(**self.left())


def started(pid):
    """When a process began, in ticks: a pid alone may be somebody else's by now."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return None


def remove(namespaces, run, pids):
    """Ends what runs in the namespaces (they are ours by name) and removes them; pids: other processes of ours, and when each began."""
    for pid in pids:
        if started(pid) == pids[pid]:
            os.kill(int(pid), signal.SIGTERM)
    for name in namespaces:
        if not os.path.exists(f"/run/netns/{name}"):
            continue
        for pid in command("ip", "netns", "pids", name, check=False).stdout.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        command("ip", "netns", "del", name, check=False)
    shutil.rmtree(run, ignore_errors=True)
