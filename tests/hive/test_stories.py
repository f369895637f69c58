# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the two people for whom the hive is there get what they came for, through the Python client, the command line and
Wireshark, with a real hive, two real probes behind TLS, and real packets on their links: exactly the packets that were asked for."""
import json
import os
import random
import re
import subprocess
import threading
import time

import pytest

import frames
import pcapfile
import stories
import world as world_module
from client import Command, skep
from hive import BIN, wait_for
from skep.cli import output
from stories import capturing, other, packets, quic


def stored(client, job, pkts):
    return wait_for(lambda: client.get_job(job).stored_pkts == pkts, 30)


def test_the_researchers_story(world, tmp_path):
    stories.researcher(world, tmp_path, print)


def test_the_administrators_story(world, tmp_path):
    stories.administrator(world, tmp_path, print, stories.flight_recorder(world, print))


def test_a_download_that_breaks_goes_on(world, tmp_path):
    """The relay breaks the connection in the middle of a file, twice; what arrives is whole, and was not fetched twice."""
    client = world.admin
    job = client.create_job("big", ["A"], filter="udp", duration="1h")
    capturing(client, job)
    rng = random.Random(7)
    sent = [frames.ethernet(frames.ETH_IPV4, frames.udp(4, n, rng.randbytes(1400))) for n in range(900)]
    world.send("A", sent)
    stored(client, job, 900)
    client.stop_job(job)
    client.wait(job, timeout=60)
    file = next(client.get_files(client.dataset_of(job), sort="-bytes"))
    assert file.bytes > 1_000_000
    relay = world_module.Relay(world.hive_ns, world_module.HIVE_PORT, cuts=[300_000, 400_000])
    try:
        seen = []
        through = skep.Hive(f"http://127.0.0.1:{relay.listen}", world.token)
        path = through.download_file(file, tmp_path, progress=lambda name, have, total: seen.append(have))
        assert relay.accepted == 3 and seen == sorted(seen) and seen[-1] == file.bytes
        assert len(pcapfile.read(path)[1]) == file.pkts
        assert os.listdir(tmp_path) == [file.name]
        (tmp_path / f"{file.name}.part").write_bytes(path.read_bytes()[:-1] + b"?")
        path.unlink()
        with pytest.raises(skep.DamagedError):
            through.download_file(file, tmp_path)
        assert os.listdir(tmp_path) == []
    finally:
        relay.close()


def test_events_go_on_where_a_connection_broke(world):
    """Two watch a job to its end, one through a relay that breaks the connection, again and again: both see the same."""
    client = world.admin
    job = client.create_job("watched", ["B"], filter="udp port 53", max_pkts=30, duration="1h")
    relay = world_module.Relay(world.hive_ns, world_module.HIVE_PORT, cuts=[900, None, 700, None, 800])
    seen = {"whole": [], "broken": []}
    watchers = [threading.Thread(target=lambda name=name, url=url: seen[name].extend(skep.Hive(url, world.token).iter_events(job)))
                for name, url in (("whole", world.url), ("broken", f"http://127.0.0.1:{relay.listen}"))]
    try:
        for watcher in watchers:
            watcher.start()
        capturing(client, job)
        world.send("B", other(10))
        stored(client, job, 10)
        world.send("B", other(20))
        for watcher in watchers:
            watcher.join(60)
            assert not watcher.is_alive(), seen
    finally:
        relay.close()
    assert relay.accepted >= 3
    assert seen["whole"][-1].kind == "job" and seen["whole"][-1].data.state == "done"
    assert {event.kind for event in seen["whole"]} == {"job", "link", "progress"}
    whole, broken = ([event.id for event in seen[name]] for name in ("whole", "broken"))
    both = min(len(whole), len(broken))  # one may have begun to watch a little later than the other
    assert both >= 5 and whole[-both:] == broken[-both:]


def test_who_waits_and_watches_waits_through_a_restart(world):
    """kill -9 of the hive while one waits for a job and another watches it: both see how it ends."""
    job = world.admin.create_job("restarted", ["A"], filter="udp port 53", max_pkts=30, duration="1h")
    capturing(world.admin, job)
    client, watcher = skep.Hive(world.url, world.token, retries=0), skep.Hive(world.url, world.token, retries=0)
    seen, waited = [], []
    threads = [threading.Thread(target=lambda: waited.append(client.wait(job, timeout=90))),
               threading.Thread(target=lambda: seen.extend(watcher.iter_events(job)))]
    for thread in threads:
        thread.start()
    world.send("A", other(10))
    stored(world.admin, job, 10)
    world.kill("hive")
    world.send("A", other(10))
    time.sleep(1)
    assert all(thread.is_alive() for thread in threads)
    world.start_hive()
    wait_for(lambda: world.admin.get_job(job).stored_pkts == 20, 60)
    world.send("A", other(20))
    for thread in threads:
        thread.join(90)
        assert not thread.is_alive(), (seen, waited)
    assert waited[0].state == "done" and waited[0].kept_pkts == 30
    assert seen[-1].kind == "gap" or seen[-1].data.state == "done"


def test_a_merged_download_that_breaks_is_whole_in_the_end(world, tmp_path):
    """pcap has a length and goes on; pcapng has none here, and begins anew. A part is never taken for the whole."""
    client = world.admin
    job = client.create_job("merged", ["A", "B"], filter="udp", duration="1h")
    capturing(client, job)
    rng = random.Random(8)
    sent = [frames.ethernet(frames.ETH_IPV4, frames.udp(4, n, rng.randbytes(1200))) for n in range(600)]
    world.send("A", sent[:300])
    world.send("B", sent[300:])
    stored(client, job, 600)
    client.wait(client.stop_job(job), timeout=60)
    relay = world_module.Relay(world.hive_ns, world_module.HIVE_PORT, cuts=[5000, 200_000, 300_000])
    try:
        through = skep.Hive(f"http://127.0.0.1:{relay.listen}", world.token)
        assert packets(through.download(job, tmp_path / "a.pcap")) == sent
        relay.cuts = [5000, 200_000]
        through.close()
        assert packets(through.download(job, tmp_path / "a.pcapng", filter="udp")) == sent
        relay.cuts = [100_000] * 20
        through.close()
        with pytest.raises(skep.UnreachableError):
            through.download(job, tmp_path / "never.pcapng", filter="udp")
        assert not (tmp_path / "never.pcapng").exists()
        relay.cuts = []
        first, second = (through.download(job, tmp_path / name).read_bytes() for name in ("one.zip", "two.zip"))
        assert first == second and first[:2] == b"PK"
        span = packets(through.download(job, tmp_path / "b.pcap", link="B", filter="udp", from_="-1h", to="+1h"))
        assert span == sent[300:]
    finally:
        relay.close()


def test_progress_says_how_fast(world):
    job = world.admin.create_job("speed", ["A"], filter="udp port 53", max_pkts=100_000, duration="1h")
    capturing(world.admin, job)

    def fast():
        world.send("A", other(100))
        speed = output.job_speed(world.admin.get_job(job))
        return re.fullmatch(r", [1-9]\d* packets/s(, until about \d\d:\d\d:\d\d)?", speed)

    assert wait_for(fast, 30)
    assert 0 < output.job_share(world.admin.get_job(job)) < 1
    done = world.admin.wait(world.admin.cancel_job(job), check=False)
    assert output.job_speed(done) == "" and output.job_share(done) == 1


def test_filters_are_asked_of_a_probe(world):
    client = world.admin
    right = client.check_filter("quic", links=["A"])
    assert right.ok and right.probe == "probe-a" and right.error is None
    wrong = client.check_filter("udp prot 53", links="*")
    assert not wrong.ok and wrong.column and wrong.error
    assert client.estimate_filter(["A"], filter="udp", seconds=1).links[0].problem is None


def test_one_command_captures_and_downloads(world, tmp_path):
    run = Command(tmp_path, SKEP_URL=world.url, SKEP_TOKEN=world.token)
    words = ["job", "create", "command", "--link", "A", "--link", "B", "--filter", "udp port 53", "--max-size", "10GB", "--max-pkts", "20",
             "--duration", "1d", "--wait", "--download", tmp_path / "out.pcapng", "-o", "json"]
    process = subprocess.Popen([BIN / "skep", *map(str, words)], env=run.environment, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        job = wait_for(lambda: next(world.admin.get_jobs(name="command", state="running", limit=1), None), 30)
        capturing(world.admin, job)
        world.send("A", quic(5, 3) + other(20))
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert json.loads(out)["kept_pkts"] == 20 and f"job {job.id}" in err
    assert packets(tmp_path / "out.pcapng") == other(20)
