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
import stories
import world as world_module
from client import BIN, OPERATIONS, Command, skep
from hive import wait_for
from stories import capturing, other, packets, quic


def stored(client, job, pkts):
    return wait_for(lambda: client.get_job(job).stored_pkts == pkts, 30)


def test_the_researchers_story(world, tmp_path):
    stories.researcher(world, tmp_path, print)


@pytest.mark.skipif("create_ring" not in OPERATIONS, reason="this hive has no rings")
def test_the_administrators_story(world, tmp_path):
    stories.administrator(world, tmp_path, print)


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
