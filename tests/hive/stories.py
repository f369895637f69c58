# SPDX-License-Identifier: BSD-2-Clause
"""The two people for whom the hive is there, each as a program that proves what they get, in a small world (world.py). A test runs them,
and so does scripts/demo:

    stories.py FOLDER [PORT]   both stories; then the hive stays, at http://127.0.0.1:PORT, and FOLDER/world.json says how to end it
    stories.py FOLDER --once   both stories; then nothing is left but FOLDER
    stories.py FOLDER --clean  ends what the first has left
"""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True

import world as world_module
from world import ROOT, World, skep

import frames
import pcapfile

# What an anomaly detector runs. Everything else in this file is there to prove it.
DETECTOR = """\
from skep import Hive
hive = Hive({url!r}, open("token").read())
alarm = hive.trigger("flight recorder", before="10s", after="1s", name="alarm on A")
hive.wait(alarm)
hive.download(alarm, "alarm.pcapng")
"""


def quic(count, seed):
    rng = random.Random(seed)
    return [frames.ethernet(frames.ETH_IPV4, frames.quic(4, seed * 1000 + n, rng, 1200)) for n in range(count)]


def other(count, seed=0):
    return [frames.ethernet(frames.ETH_IPV4, frames.udp(4, seed * 1000 + n, bytes([n % 256]) * 64)) for n in range(count)]


def wait_for(condition, what, seconds=30):
    until = time.monotonic() + seconds * world_module.PATIENCE
    while not (found := condition()):
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.1)
    return found


def capturing(client, job):
    """A job runs when the first of its links does."""
    return wait_for(lambda: all(link.state == "running" for link in client.get_job(job).links), "all links to capture")


def packets(path):
    return [record.data for record in pcapfile.read(path)[1]]


def researcher(world, folder, say):
    """QUIC on links A and B, at most 10 GB, at most one day; logs out; comes back, sees the dataset, downloads it."""
    me, password = world.person("researcher")
    say(f"a researcher logs in, and sees the links {', '.join(link.name for link in me.get_links(sort='name'))}")
    job = me.create_job("QUIC", ["A", "B"], filter="quic", max_size="10GB", duration="1d")
    capturing(me, job)
    me.logout()
    say(f"asks for QUIC on A and B, at most 10 GB, at most one day (job {job.id}), and logs out")

    sent = {"A": quic(40, 1), "B": quic(60, 2)}
    for link, wanted in sent.items():
        world.send(link, wanted[:10] + other(500) + wanted[10:])
    say("100 packets of QUIC and 1,000 others pass, on two probes")
    wait_for(lambda: world.admin.get_job(job).stored_pkts == 100, "100 packets to be stored")

    me.login("researcher", password)
    done = me.wait(me.stop_job(job), timeout=60)
    dataset = me.dataset_of(job)
    if (done.outcome, dataset.state, dataset.pkts) != ("complete", "whole", 100):
        raise AssertionError(f"the dataset is not what was asked for: {done} {dataset}")
    file = me.download(dataset, folder / "quic.pcapng")
    got = packets(file)
    if sorted(got) != sorted(sent["A"] + sent["B"]):
        raise AssertionError(f"{len(got)} packets are in the download; not those that were sent")
    for link in sent:
        if packets(me.download(dataset, folder / f"quic-{link}.pcap", link=link)) != sent[link]:
            raise AssertionError(f"the packets of link {link} are not those that were sent on it")
    me.logout()
    say(f"comes back the next day (so to speak), ends it, and downloads the dataset: {len(got)} packets, every one of QUIC, none missing")
    return file


def flight_recorder(world, say):
    """The ring, and when it began."""
    ring = world.admin.create_ring("flight recorder", ["A"], ring_duration="10m")
    capturing(world.admin, ring)
    say(f"an administrator starts a ring on link A that keeps the last ten minutes (job {ring.id})")
    return ring, time.monotonic()


def administrator(world, folder, say, recorder):
    """A ring runs on link A; an anomaly detector calls five lines of Python; the packets from before the alarm are in the dataset."""
    ring, began = recorder
    time.sleep(max(0.0, began + 11 - time.monotonic()))  # so that it goes back as far as the detector asks
    stored = world.admin.get_job(ring).stored_pkts
    before = quic(20, 3) + other(80, 4)
    world.send("A", before)
    wait_for(lambda: world.admin.get_job(ring).stored_pkts >= stored + len(before), "the ring to have the packets")
    say(f"on link A, {len(before)} packets pass; then an anomaly detector sounds the alarm, and runs:\n")
    script = DETECTOR.format(url=world.url)
    say("".join(f"    {line}\n" for line in script.splitlines()))
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(world.token, encoding="ascii")
    over = threading.Event()

    def traffic():
        """Links do not fall silent after an alarm; and a ring is asked for files that were written to in the time."""
        while not over.wait(0.3):
            world.send("A", other(1, 5))

    sender = threading.Thread(target=traffic)
    sender.start()
    try:
        done = subprocess.run(["/usr/bin/python3", "-B", "-c", script], cwd=folder, capture_output=True, text=True, timeout=120,
                              check=False, env={**os.environ, "PYTHONPATH": str(ROOT / "hive" / "client" / "python")})
    finally:
        token.unlink()
        over.set()
        sender.join()
    if done.returncode:
        raise AssertionError(f"the detector's program failed: {done.stderr}")
    file = folder / "alarm.pcapng"
    got = packets(file)
    at = got.index(before[0]) if before[0] in got else 0  # whole files of the ring are kept: older ones may be in front
    if got[at:at + len(before)] != before:
        raise AssertionError(f"of {len(before)} packets before the alarm, {len(set(before) & set(got))} are in {file}")
    alarm = next(world.admin.get_jobs(name="alarm on A", sort="-id", limit=1))
    if alarm.outcome != "complete" or alarm.ring_id != ring.id:
        raise AssertionError(f"the saved job is not complete: {alarm}")
    if world.admin.get_job(ring).state != "running":
        raise AssertionError("the ring does not go on")
    world.admin.stop_job(ring)
    say(f"the dataset has all {len(before)} packets from before the alarm; the ring goes on until it is stopped")
    return file


def free(port):
    """The port if nobody listens there, else 0: any."""
    with socket.socket() as probe:
        return 0 if probe.connect_ex(("127.0.0.1", port)) == 0 else port


def main(words):
    folder = pathlib.Path(words[0])
    state = folder / "world.json"
    inner = folder / "world"
    if state.exists():
        world_module.remove(**json.loads(state.read_text(encoding="utf-8")))
        state.unlink()
    shutil.rmtree(inner, ignore_errors=True)
    if "--clean" in words:
        return 0
    inner.mkdir(mode=0o700, parents=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was begun is removed
    world = World(inner, listen=free(int(words[1])) if len(words) > 1 and words[1].isdigit() else 0)
    state.write_text(json.dumps(world.left()), encoding="utf-8")

    def say(text):
        print(f"{text.rstrip()}\n" if text.startswith(" ") else f"demo: {text}", flush=True)

    try:
        world.start()
        say(f"a hive ({world.url}) and two probes, each in a network namespace of its own, TLS with pinned keys between them")
        recorder = flight_recorder(world, say)
        files = [researcher(world, folder, say), administrator(world, folder, say, recorder)]
    except BaseException:
        world.close()
        state.unlink()
        raise
    for file in files:
        print(f"  tshark -r '{file}' | head")
    if "--once" in words:
        world.close()
        state.unlink()
        shutil.rmtree(inner)
        return 0
    link, bin_dir = world.one_time_link(), world_module.BIN
    state.write_text(json.dumps(world.leave()), encoding="utf-8")
    print(f"\nThe hive and its probes go on. Address: {world.url}\nOne-time login as an administrator (within a day): {link}\n"
          "With the command, which asks for a new password:\n"
          f"  {bin_dir}/skep login {world.url} --user YOU --claim-file <(echo '{link}')\n  {bin_dir}/skep job list\n"
          f"Traffic on link A:\n  sudo ip netns exec {world.gen_ns} {bin_dir}/skep-gen -i wireA --proto quic --rate 1kpps --duration 60\n"
          f"What to try next: {ROOT}/docs/tutorial/first-dataset.md")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (skep.SkepError, RuntimeError, AssertionError, OSError, TimeoutError) as error:
        sys.exit(f"demo: {error}")
