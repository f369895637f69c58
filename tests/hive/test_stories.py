# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the two people for whom the hive is there get what they came for, through the Python client, the command line and
Wireshark, with a real hive, two real probes behind TLS, and real packets on their links: exactly the packets that were asked for."""
import json
import os
import random
import subprocess

import pytest

import frames
import pcapfile
import rig as rig_module
import world as world_module
from client import BIN, Command, skep
from hive import wait_for


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    reason = rig_module.why_not()
    if reason:
        pytest.skip(reason)
    made = world_module.World(tmp_path_factory.mktemp("world"), hive_settings="[jobs]\nmissing_after = 3s\n")
    try:
        yield made.start()
    finally:
        made.close()


def quic(count, seed):
    rng = random.Random(seed)
    return [frames.ethernet(frames.ETH_IPV4, frames.quic(4, seed * 1000 + n, rng, 1200)) for n in range(count)]


def other(count):
    return [frames.ethernet(frames.ETH_IPV4, frames.udp(4, n, bytes([n % 256]) * 64)) for n in range(count)]


def running(client, job):
    """A job runs when the first of its links does."""
    return wait_for(lambda: all(link.state == "running" for link in client.get_job(job).links), 30)


def stored(client, job, pkts):
    return wait_for(lambda: client.get_job(job).stored_pkts == pkts, 30)


def test_the_researchers_story(world, tmp_path):
    """QUIC on links A and B, at most 10 GB, at most a day; logs out; comes back, sees the dataset, downloads it."""
    me, password = world.person("researcher")
    assert sorted(link.name for link in me.get_links()) == ["A", "B"]
    job = me.create_job("QUIC", ["A", "B"], filter="quic", max_size="10GB", duration="1d")
    running(me, job)
    me.logout()
    with pytest.raises(skep.LoginError):
        me.get_job(job)

    sent = {"A": quic(40, 1), "B": quic(60, 2)}
    for link, wanted in sent.items():
        world.send(link, wanted[:10] + other(50) + wanted[10:])
    stored(world.admin, job, 100)
    world.admin.stop_job(job)
    world.admin.wait(job, timeout=60)

    me.login("researcher", password)
    dataset = me.dataset_of(job)
    assert (dataset.state, dataset.pkts) == ("whole", 100)
    got = {link: [] for link in sent}
    for file in me.get_files(dataset, sort="name"):
        got[file.link_name] += [record.data for record in pcapfile.read(me.download_file(file, tmp_path))[1]]
    assert got == sent


def test_a_download_that_breaks_goes_on(world, tmp_path):
    """The relay breaks the connection in the middle of a file, twice; what arrives is whole, and was not fetched twice."""
    client = world.admin
    job = client.create_job("big", ["A"], filter="udp", duration="1h")
    running(client, job)
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


def test_one_command_captures_and_downloads(world, tmp_path):
    run = Command(tmp_path, SKEP_URL=world.url, SKEP_TOKEN=world.token)
    words = ["job", "create", "command", "--link", "A", "--link", "B", "--filter", "udp port 53", "--max-size", "10GB", "--max-pkts", "20",
             "--duration", "1d", "--wait", "--download", tmp_path / "out", "-o", "json"]
    process = subprocess.Popen([BIN / "skep", *map(str, words)], env=run.environment, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        job = wait_for(lambda: next(world.admin.get_jobs(name="command", state="running", limit=1), None), 30)
        running(world.admin, job)
        world.send("A", quic(5, 3) + other(20))
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert json.loads(out)["kept_pkts"] == 20 and f"job {job.id}" in err
    got = [record.data for name in sorted(os.listdir(tmp_path / "out")) for record in pcapfile.read(tmp_path / "out" / name)[1]]
    assert got == other(20)
