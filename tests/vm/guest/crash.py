# SPDX-License-Identifier: BSD-2-Clause
"""What a crash leaves: kill -9, and the power that goes in the middle of a job. Frames are numbered, so what is missing is known."""
import json
import pathlib
import time

import capture
import pcapfile
from receive import XDP

FOLDER = "/data/job"
# What was received so long before the crash is on disk (docs/reference/segment-format.md, the keeper's flush).
PROMISE_S = 2.0


def recovered(folder):
    """(skep-capture recover's lines, frames of all files by number, with the times the capture gave them)."""
    done = capture.command("skep-capture", "recover", folder)
    left = list(pathlib.Path(folder).rglob("*.part"))
    assert not left, f"recover left {left}: {done.stdout}{done.stderr}"
    frames = {}
    for path in sorted(pathlib.Path(folder).rglob("*.pcap.zst")):
        capture.command("zstd", "-q", "-t", path)
        for record in pcapfile.read(path)[1]:
            number = int.from_bytes(record.data[46:54], "big")
            assert record.data[42:46] == b"SKPG" and number not in frames, f"{path}: frame {number} is damaged or twice"
            frames[number] = record.ts_ns
        json.loads(path.with_name(path.name + ".json").read_text())
    return " / ".join((done.stdout + done.stderr).split("\n"))[:200], frames


def prefix(frames):
    """How many frames are there from the first without a gap."""
    count = 0
    while count in frames:
        count += 1
    return count


class Crash:
    def __init__(self, outside, nic, receive):
        self.outside, self.nic, self.receive = outside, nic, receive
        self.running, self.sent = None, 0

    def kill(self):
        """kill -9 some seconds after the last frame: recover gives every one."""
        self.nic.up()
        with capture.Capture(self.nic.name, *XDP, folder=FOLDER) as running:
            sent = self.receive.send("small")
            time.sleep(PROMISE_S)
            running.popen.kill()
            running.popen.wait()
        said, frames = recovered(FOLDER)
        assert len(frames) == sent, f"{len(frames)} of {sent} frames; {said}"
        return f"{len(frames)} of {sent} frames intact after kill -9; {said}"

    def kill_under_load(self):
        """kill -9 while frames come: what is there is the beginning, without a gap in what had the time to be flushed."""
        self.nic.up()
        with capture.Capture(self.nic.name, *XDP, folder=FOLDER) as running:
            self.outside.ask("send_behind", tap=self.nic.tap, name="imix", rate=300)
            time.sleep(PROMISE_S + 3)
            running.popen.kill()
            running.popen.wait()
        self.outside.ask("send_done")
        said, frames = recovered(FOLDER)
        assert prefix(frames) >= 3 * 300 / 2, f"only the first {prefix(frames)} of {len(frames)} have no gap: {said}"
        return f"{len(frames)} frames recovered of about {(PROMISE_S + 3) * 300:.0f}, the first {prefix(frames)} without a gap; {said}"

    def before_power(self):
        """A capture whose frames are all more than PROMISE_S old; it still runs when the power goes."""
        self.nic.up()
        self.running = capture.Capture(self.nic.name, *XDP, folder=FOLDER)
        self.sent = self.receive.send("small")
        time.sleep(PROMISE_S + 1)
        return f"{self.sent} frames sent, the capture runs"

    def after_power(self, sent):
        before = [path.name for path in pathlib.Path(FOLDER).rglob("*") if path.is_file()]
        said, frames = recovered(FOLDER)
        assert len(frames) == sent, f"{len(frames)} of {sent} frames; files before: {before}; {said}"
        return f"{len(frames)} of {sent} frames intact after the power was cut; {said}"
