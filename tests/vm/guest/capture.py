# SPDX-License-Identifier: BSD-2-Clause
"""skep-capture running in the emulated machine, and what it left behind. Time limits are for hangs: everything is slow here."""
import json
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

import pcapfile


def word(name):
    """What the host says to us in the kernel's command line: skep.NAME=…"""
    with open("/proc/cmdline", encoding="ascii") as line:
        found = re.search(rf"\bskep\.{name}=(\S*)", line.read())
    return found[1] if found else ""


PATIENCE_S = 60 * int(word("patience") or 1)
# How the captures of a check were done, in skep-capture's words.
WAYS = []


def command(*argv, check=True, timeout_s=PATIENCE_S):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False, timeout=timeout_s)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done


def until(condition, what, timeout_s=PATIENCE_S):
    """The first true value of condition()."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.1)


def empty(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    return folder


class Capture:
    """with Capture("eth0", "--source", "xdp") as capture: …; segments are in capture.folder."""

    def __init__(self, link, *words, folder="/tmp/capture", memory="16MiB", ready=True):
        """memory: at least two blocks of a MiB for each queue of each job, or packets are dropped (buffers_full)."""
        self.folder = empty(folder)
        self.argv = ["skep-capture", "-i", link, "-w", f"{self.folder}/", "--memory", memory, "--reserve", "16MiB", "--stats", "json",
                     "-v", *map(str, words)]
        self.said = []
        self.popen = subprocess.Popen(self.argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if ready:
            self.wait_for(r"\bcapturing\b")

    def _read(self):
        for line in self.popen.stderr:
            self.said.append(line.rstrip())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()

    def text(self):
        return "\n".join(self.said)

    def wait_for(self, pattern, timeout_s=PATIENCE_S):
        def seen():
            match = re.search(pattern, self.text())
            if not match and self.popen.poll() is not None:
                self.reader.join(2)
                match = re.search(pattern, self.text())
                assert match, f"ended with exit code {self.popen.returncode} before it said \"{pattern}\": {self.text()[-500:]}"
            return match
        return until(seen, f"\"{pattern}\" of {' '.join(self.argv)}, which said: {self.text()[-500:]}", timeout_s)

    def end(self, timeout_s=PATIENCE_S):
        """Waits for its own end: (exit code, stats or None)."""
        out, _ = self.popen.communicate(timeout=timeout_s) if not self.reader.is_alive() else (self.popen.stdout.read(), None)
        self.popen.wait(timeout_s)
        self.reader.join(5)
        lines = out.strip().splitlines()
        WAYS.extend(way for way in re.findall(r"capturing on (.*)", self.text()) if way not in WAYS)
        return self.popen.returncode, json.loads(lines[-1]) if lines else None

    def stop(self):
        self.popen.send_signal(signal.SIGINT)
        code, stats = self.end()
        assert code == 0, f"exit code {code}: {self.text()[-500:]}"
        return stats

    def files(self):
        return sorted(self.folder.rglob("*.pcap.zst"))

    def frames(self):
        """{queue: frames' bytes} of the files."""
        queues = {}
        for path in self.files():
            queue = int(re.search(r"-q(\d+)-", path.name)[1])
            queues.setdefault(queue, []).extend(record.data for record in pcapfile.read(path)[1])
        return queues


def how(stats):
    """"xdp native, zero copy, 4 queues" and the like, of each link."""
    return "; ".join(str(link.get("how", link)) if isinstance(link, dict) else str(link) for link in stats["links"])


def seqcheck(paths, last=None):
    """The result of skep-seqcheck; fails unless every frame is there once and intact."""
    words = ["--last", last] if last is not None else []
    done = command("skep-seqcheck", *words, *paths, check=False)
    assert done.returncode == 0, f"skep-seqcheck: {(done.stdout + done.stderr).strip()[-300:]}"
    return json.loads(done.stdout)


def lossless(stats, sent):
    assert stats["dropped"] == {} and (stats["seen"], stats["stored"]) == (sent, sent), f"{sent} sent: {json.dumps(stats)[:500]}"
