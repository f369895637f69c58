# SPDX-License-Identifier: BSD-2-Clause
"""Jobs on a running engine: they come and go by requests on a socket, while others run and lose nothing.

The generator numbers its frames, so a lost or doubled one is seen in the files themselves (skep-seqcheck), whatever the accounts say.
"""
import collections
import os
import pathlib
import re
import signal
import struct
import tempfile
import time

import frames
import jobs
import pcapfile
import pytest
import rig as rig_module
import traffic


@pytest.fixture
def engine(make_rig, capture_built, tmp_path):
    """start(rig, …) -> Engine; all are stopped at the end."""
    made = []

    def start(rig, *args, **kwargs):
        made.append(jobs.Engine(rig, tmp_path / f"spool{len(made)}", *args, **kwargs))
        return made[-1]

    yield start
    for one in made:
        if one.process.popen.poll() is None:
            one.close()


PRESETS = {"dns": "port 53"}  # what they stand for, for tcpdump


@pytest.fixture
def open_folder():
    """A folder that every user may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        yield path


def check_balanced(job):
    assert jobs.residual(job) == 0, job


def stored(engine, name):
    return [record.data for path in engine.files(name) for record in pcapfile.read(path)[1]]


def comes(engine, name, text):
    """False: jobs that were stopped a moment ago still hold the slots."""
    try:
        return engine.client.add(name, text)
    except jobs.Refused as refused:
        if refused.error["code"] != "busy":
            raise
        return False


@pytest.mark.timeout(170)
@pytest.mark.slow
def test_a_thousand_changes_cost_other_jobs_nothing(make_rig, engine):
    """1,000 jobs come and 1,000 go while two others take every frame of a running generator: none is lost, doubled or out of order in
    their files but what the account names, and every one of the jobs that came and went has an account that adds up."""
    rig = make_rig()
    e = engine(rig)
    e.client.add("all")
    e.client.add("general", "udp[8:4] >= 0 and len > 20")  # not one of the filters that are merged
    gen = traffic.start_gen(rig, "--rate", "150kpps", "--flows", "50", "--duration", "120")
    active, ended = collections.deque(), 0
    try:
        for n in range(1000):
            wanted = [f"udp src port {1000 + n % 50}", f"host 198.51.100.{n % 200}", f"tcp port {n + 1}", "ip[8] < 3", "quic"][n % 5]
            rig.wait_for(lambda n=n, wanted=wanted: comes(e, f"j{n}", wanted), "a free slot", timeout_s=60)
            active.append(f"j{n}")
            while len(active) > 20:
                ended += e.client.stop(active.popleft(), wait=False)["state"] != "running"
    finally:
        gen.stop(check=False)
    names = list(active)
    for name in names:
        check_balanced(e.client.stop(name))
    deadline = time.monotonic() + 30 * rig_module.PATIENCE
    while any(job["state"] != "ended" for job in e.client.ask("status")["jobs"] if job["name"].startswith("j")):
        assert time.monotonic() < deadline, "the jobs that were stopped do not end"
        time.sleep(0.1)
    for job in e.client.ask("status")["jobs"]:
        if job["state"] == "ended":
            check_balanced(job)
            assert "unaccounted" not in job["account"]["dropped"], job
    sent = gen.stats()["sent"]
    for name in ("all", "general"):
        job = e.client.stop(name)
        check_balanced(job)
        account = job["account"]
        # A machine that is busy with something else may overrun the kernel's ring: that has a name, and nothing else is missing.
        dropped = sum(account["dropped"].values())
        assert account["stored"] + dropped == account["seen"] == sent and "unaccounted" not in account["dropped"], job
        assert dropped < sent / 20, job
        _, found = traffic.seqcheck(*e.files(name), last=sent - 1)
        assert found["lost"] == dropped and traffic.intact(found), found


def test_each_job_gets_what_its_own_filter_wants(make_rig, engine):
    """Eight jobs at once, merged filters and general ones, and a preset: each file has what tcpdump finds in the file of all."""
    rig = make_rig(mtu=9000)
    e = engine(rig)
    wanted = {"udp": "udp", "port": "port 53", "host": "net 192.0.2.0/25", "six": "ip6", "len": "len >= 200", "bytes": "ip[8] = 64",
              "neither": "not ip and not ip6", "dns": "dns"}
    e.client.add("all")
    for name, text in wanted.items():
        e.client.add(name, text)
    sent = frames.mixed(400) + frames.shortest() + frames.malformed()
    rig.send(sent)
    ended = {name: e.client.stop(name) for name in ("all", *wanted)}
    assert stored(e, "all") == sent
    for name, text in wanted.items():
        check_balanced(ended[name])
        expected = rig_module.tcpdump_count(e.files("all")[0], PRESETS.get(text, text))
        assert ended[name]["account"]["stored"] == expected == len(stored(e, name)), name
        assert ended[name]["account"]["rejected"] == len(sent) - expected


def test_sixty_four_jobs_and_no_more(rig, engine):
    """Every slot works; the 65th job is refused in words, and a slot that became free is used again."""
    e = engine(rig)
    for n in range(64):
        e.client.add(f"j{n}", f"udp src port {10000 + n}")
    with pytest.raises(jobs.Refused, match="64 jobs run"):
        e.client.add("one-more")
    sent = [frames.ethernet(frames.ETH_IPV4, frames.udp(4, n, b"x" * n)) for n in range(64)]
    rig.send(sent)
    for n in range(64):
        job = e.client.stop(f"j{n}")
        check_balanced(job)
        assert stored(e, f"j{n}") == [sent[n]], n
    e.client.add("one-more")
    rig.send(sent)
    assert e.client.stop("one-more")["account"]["stored"] == 64


def test_limits_hold_exactly_across_a_pause(make_rig, engine):
    """A job of 5,000 packets, paused and resumed under load, ends at the exact packet; nothing of the pause is in it."""
    rig = make_rig()
    e = engine(rig)
    e.client.add("lim", "udp", limits={"packets": 5000})
    first = traffic.gen(rig, "--count", "2000", "--rate", "50kpps")["sent"]
    e.client.ask("pause", name="lim")
    traffic.gen(rig, "--count", "3000", "--first-seq", "1000000", "--rate", "50kpps")
    assert e.client.status("lim")["state"] == "paused"
    e.client.ask("resume", name="lim")
    traffic.gen(rig, "--count", "9000", "--first-seq", str(first), "--rate", "50kpps")
    rig.wait_for(lambda: e.client.status("lim")["state"] == "ended", "the limit")
    job = e.client.status("lim")
    check_balanced(job)
    assert job["why"] == "packets" and job["account"]["stored"] == 5000
    code, found = traffic.seqcheck(*e.files("lim"), last=4999)
    assert code == 0 and traffic.intact(found), found


def test_a_pause_is_no_part_of_the_duration(rig, engine):
    """A job of 2 s that is paused for longer than that: it is not over when it is resumed, and has what was left of its time."""
    e = engine(rig)
    e.client.add("timed", limits={"duration_ns": 2_000_000_000})
    e.client.ask("pause", name="timed")
    time.sleep(2.5)
    assert e.client.status("timed")["state"] == "paused"
    resumed = time.monotonic()
    e.client.ask("resume", name="timed")
    assert e.client.status("timed")["state"] == "running"
    rig.wait_for(lambda: e.client.status("timed")["state"] == "ended", "the end of the job")
    assert e.client.status("timed")["why"] == "duration" and time.monotonic() - resumed > 1


def test_a_budget_shared_by_two_engines(make_rig, engine, tmp_path):
    """Two engines on two links take from one budget: together they store exactly so many packets."""
    rig = make_rig(links=2)
    one, two = engine(rig), engine(rig, link="cap1")
    for e in (one, two):
        (e.root / "budget").write_bytes(b"")
    shared = one.root / "budget"
    shared.write_bytes(struct.pack("<qq", 3000, 0))
    shared.chmod(0o666)
    (two.root / "budget").unlink()
    (two.root / "budget").hardlink_to(shared)
    for e in (one, two):
        e.client.add("both", limits={"packets": 1}, budget="budget")
    gens = [traffic.start_gen(rig, "--count", "4000", "--rate", "20kpps", link=f"gen{n}") for n in range(2)]
    for gen in gens:
        gen.finish()
    for e in (one, two):
        rig.wait_for(lambda e=e: e.client.status("both")["state"] == "ended", "the shared limit")
    both = [e.client.status("both") for e in (one, two)]
    assert sum(job["account"]["stored"] for job in both) == 3000
    assert all(job["account"]["stored"] > 0 for job in both)


@pytest.mark.parametrize("source", ["xdp", "mirror", "afpacket"])
def test_sampling_and_cut_off(make_rig, engine, source):
    """One packet of ten, all packets of some flows, the first three of each flow: exact numbers, on every source."""
    rig = make_rig(gro=True)
    e = engine(rig, source=source)
    e.client.add("all")
    e.client.add("tenth", "udp", sample={"every": 10})
    e.client.add("flows", sample={"every": 4, "by": "flow"})
    e.client.add("begin", cutoff={"packets": 3})
    traffic.gen(rig, "--count", "4000", "--flows", "40", "--rate", "50kpps", "--cpu", "0")  # XDP samples on each CPU by itself
    done = {name: e.client.stop(name) for name in ("all", "tenth", "flows", "begin")}
    for job in done.values():
        check_balanced(job)
        assert job["account"]["seen"] == 4000, job
    assert done["tenth"]["account"]["stored"] == 400 and done["tenth"]["account"]["sampled_out"] == 3600
    assert done["begin"]["account"]["stored"] == 120 and done["begin"]["account"]["cut_off"] == 3880
    per_flow = collections.Counter(data[26:38] for data in stored(e, "flows"))
    assert set(per_flow.values()) == {100} and 1 <= len(per_flow) <= 25, per_flow  # whole flows or nothing of them


def test_lists_of_addresses(rig, engine, open_folder):
    """A job with a list of 100,000 networks, read from a file, in any combination. The file is read by the rights of the user that the
    engine became: one that only root may read is refused."""
    e = engine(rig)
    networks = open_folder / "networks"
    networks.write_text("".join(f"10.{n >> 8 & 255}.{n & 255}.{(n >> 16) * 64}/26\n" for n in range(100000)) +
                        "192.0.2.0/25\n2001:db8:0:0::1:0/112\n")
    networks.chmod(0o644)
    started = time.monotonic()
    e.client.add("in", f"src net in @{networks} and udp", dir="d1")
    assert time.monotonic() - started < 5 * rig_module.PATIENCE
    e.client.add("out", f"not net in @{networks}", dir="d2")
    # Sources of udp() are 192.0.2.N and 2001:db8::N, destinations 198.51.100.1 and 2001:db8::1:N.
    inside = frames.ethernet(frames.ETH_IPV4, frames.udp(4, 4, b"in"))
    beyond = frames.ethernet(frames.ETH_IPV4, frames.udp(4, 200, b"out"))
    back = frames.ethernet(frames.ETH_IPV6, frames.udp(6, 4, b"six"))
    rig.send([inside, beyond, back] * 10)
    e.client.stop("in")
    e.client.stop("out")
    networks.chmod(0o600)
    with pytest.raises(jobs.Refused, match="Permission denied"):
        e.client.add("secret", f"net in @{networks}")
    assert stored(e, "d1") == [inside] * 10
    assert stored(e, "d2") == [beyond] * 10  # the destination of the third is in the list


def test_rotate_answers_when_the_files_are_complete(make_rig, engine):
    """After `rotate` everything before it is in files without .part, and the job goes on."""
    rig = make_rig()
    e = engine(rig)
    e.client.add("ring", rotate={"ns": 60_000_000_000})
    for n in range(3):
        traffic.gen(rig, "--count", "1000", "--first-seq", str(1000 * n), "--rate", "100kpps")
        time.sleep(0.1)  # the worker takes them from the ring
        e.client.ask("rotate", name="ring")
        code, found = traffic.seqcheck(*e.files("ring"), last=1000 * (n + 1) - 1)
        assert code == 0 and traffic.intact(found), found
    e.client.stop("ring")


@pytest.mark.parametrize("line, words", [
    (b"not json", "request"),
    (b"[]", "do"),
    (b'{"do":"dance"}', "there is no dance"),
    (b'{"do":"add"}', "job"),
    (b'{"do":"add","job":{}}', "name: missing"),
    (b'{"do":"add","job":{"name":"../x"}}', "name: cannot be a name"),
    (b'{"do":"add","job":{"name":"a\\u0000b"}}', "name|zero|NUL|\\\\u0000"),
    (b'{"do":"add","job":{"name":"x","dir":"/etc"}}', "dir: cannot be a name"),
    (b'{"do":"add","job":{"name":"x","filter":"udp prt 5"}}', "column 5"),
    (b'{"do":"add","job":{"name":"x","filter":7}}', "filter"),
    (b'{"do":"add","job":{"name":"x","limits":{"packets":0}}}', "limits.packets"),
    (b'{"do":"add","job":{"name":"x","limits":{"packets":1,"packets":2}}}', "packets|duplicate|twice"),
    (b'{"do":"add","job":{"name":"x","colour":"red"}}', 'no field "colour"'),
    (b'{"do":"add","job":{"name":"x","snaplen":-1}}', "snaplen"),
    (b'{"do":"add","job":{"name":"x","inside":"tokenring"}}', "tokenring"),
    (b'{"do":"add","job":{"name":"x","sample":{"every":5,"by":"moon"}}}', "sample.by"),
    (b'{"do":"add","job":{"name":"x","budget":"nothere"}}', "budget"),
    (b'{"do":"stop","name":"nobody"}', "no job nobody"),
    (b'{"do":"stop"}', "name: missing"),
    (b'{"do":"forget","name":"stays"}', "not ended"),
    (b'{"do":"add","job":{"name":"stays"}}', "runs already"),
])
def test_bad_requests_cost_nothing(rig, engine, line, words):
    """Each is refused in words; the job that runs, and the connection, go on."""
    e = engine(rig, *traffic.SMALL)
    e.client.add("stays")
    answer = e.client.raw(line)
    assert not answer["ok"]
    assert re.search(words, answer["error"]["text"] + answer["error"]["hint"]), answer
    sent = [frames.ethernet(0x88B5, bytes(46))] * 5
    rig.send(sent)
    assert e.client.stop("stays")["account"]["stored"] == 5


def test_clients_that_misbehave(rig, engine):
    """An endless line, a client that never reads its answers, one that goes away in the middle: all cut off, others are served."""
    e = engine(rig, *traffic.SMALL)
    e.client.add("stays")
    endless = jobs.Client(e.path)
    try:
        for _ in range(100):
            endless.socket.sendall(b"x" * 65536)
        assert endless.stream.readline() and not endless.stream.readline()
    except (BrokenPipeError, ConnectionResetError):
        pass
    deaf = jobs.Client(e.path)
    deaf.socket.settimeout(0.2)
    try:
        for _ in range(200000):
            deaf.socket.sendall(b'{"do":"status"}\n')
    except OSError:
        pass
    rude = jobs.Client(e.path)
    rude.socket.sendall(b'{"do":"add","job":{"na')
    rude.close()
    assert e.client.status("stays")["state"] == "running"
    for client in (endless, deaf):
        client.close()


def test_events(make_rig, engine):
    """Who listens hears of segments and of ends, with the account."""
    rig = make_rig()
    e = engine(rig)
    listener = jobs.Client(e.path)
    listener.ask("events")
    e.client.add("job", limits={"packets": 100})
    traffic.gen(rig, "--count", "200", "--rate", "20kpps")
    seen = {}
    while "ended" not in seen:
        event = listener.read()
        seen[event["event"]] = event
    assert seen["segment"]["packets"] == 100 and seen["segment"]["complete"]
    assert seen["ended"]["job"]["account"]["stored"] == 100 and seen["ended"]["job"]["why"] == "packets"
    listener.close()


def test_the_engine_ends_with_its_jobs_complete(make_rig, engine):
    """SIGTERM: what was captured is in complete files; the loader process is gone too."""
    rig = make_rig()
    e = engine(rig)
    e.client.add("a")
    e.client.add("b", "udp")
    sent = traffic.gen(rig, "--count", "3000", "--rate", "100kpps")["sent"]
    assert e.process.stop() == 0
    for name in ("a", "b"):
        code, found = traffic.seqcheck(*e.files(name), last=sent - 1)
        assert code == 0 and traffic.intact(found), found
    assert not list(e.root.rglob("*.part"))
    pids = rig_module.command(["ip", "netns", "pids", rig.cap], text=True).stdout.split()
    assert not pids


def test_killed_engine_leaves_nothing_running(make_rig, engine):
    """kill -9: the loader goes with it, the next engine starts on the same socket, and recover ends the files."""
    rig = make_rig()
    e = engine(rig)
    e.client.add("a")
    traffic.gen(rig, "--count", "3000", "--rate", "100kpps")
    time.sleep(1.2)  # flushed
    e.process.kill()
    rig.wait_for(lambda: not rig_module.command(["ip", "netns", "pids", rig.cap], text=True).stdout.split(), "the processes to end")
    rig.run([rig_module.BIN / "skep-capture", "recover", e.root / "a"])
    code, found = traffic.seqcheck(*e.files("a"), last=2999)
    assert code == 0 and traffic.intact(found), found
    again = jobs.Engine(rig, e.root)
    again.client.add("b")
    again.close()


def test_an_engine_without_its_loader_ends(make_rig, engine):
    """The process that loads filters is killed: the engine could take or end no job any more, so it ends its files, says why and goes;
    who supervises it starts another."""
    rig = make_rig()
    e = engine(rig)
    e.client.add("a")
    sent = traffic.gen(rig, "--count", "3000", "--rate", "100kpps")["sent"]
    pids = rig_module.command(["ip", "netns", "pids", rig.cap], text=True).stdout.split()
    loader, = [int(pid) for pid in pids if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "skep-loader"]
    os.kill(loader, signal.SIGKILL)
    assert e.process.finish(check=False) == 3
    assert "the process that loads filters is gone" in e.process.err
    code, found = traffic.seqcheck(*e.files("a"), last=sent - 1)
    assert code == 0 and traffic.intact(found), found
    assert not list(e.root.rglob("*.part"))
