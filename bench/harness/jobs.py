# SPDX-License-Identifier: BSD-2-Clause
"""The scenario `jobs`: several jobs on one link, coming and going by requests on the engine's socket (docs/reference/job-socket.md).

Eight jobs that all match against eight tcpdumps; the time from a request to the first packet; and what a job that stays loses while
others come and go at full load, which is told from what the link was too fast for by sequence numbers and the job's own account.
"""
import collections
import hashlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import time
from dataclasses import replace

from .measure import RUN_NAME, Spec
from .rig import CPU_TX, RX_LINK, TX_LINK, BenchError, run
from .tools import PCAP_HEADER_BYTES, PCAP_RECORD_BYTES, Skep, Tcpdump, disk_bytes, number

MATCHING = ("", "ip", "udp", "dst port 9", "net 198.18.0.0/15", "greater 60", "ip proto 17", "not tcp")
OURS, THEIRS = f"skep-capture, {len(MATCHING)} jobs", f"tcpdump, {len(MATCHING)} processes, all match"
OTHERS = (0, 16, 60)
ADD_PPS = 1_000_000
SAME_PPS = 40_000
ANSWER_S = 60.0


class Client:
    """One connection to the job socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(ANSWER_S)
        self.socket.connect(str(path))
        self.stream = self.socket.makefile("rb")

    def read(self):
        line = self.stream.readline()
        return json.loads(line) if line else None

    def ask(self, do, **fields):
        self.socket.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
        answer = self.read()
        if not answer or not answer["ok"]:
            raise BenchError(f"the engine refused {do} {fields}: {answer and answer['error']}")
        return answer

    def add(self, name, text, **job):
        return self.ask("add", job={"name": name, "filter": text, **job})

    def close(self):
        self.stream.close()
        self.socket.close()


def engine_words(path, work):
    return [path, "-i", RX_LINK, "--source", "xdp", "--link-role", "tap", "--serve", str(work / "socket"), "-w", str(work), "--cpus", "1",
            "--digest", "off"]


class SkepJobs(Skep):
    """One engine, a job for each filter; how each job ended is told on a connection that listens."""

    name = OURS

    def start(self, rig, work, sink, level):
        process = rig.start(engine_words(self.path(), work), work / "engine.log")
        rig.wait_ready(process, self.ready)
        client, self.listener = Client(work / "socket"), Client(work / "socket")
        for n, text in enumerate(MATCHING):
            client.add(f"job{n}", text, level=level if level == "auto" else int(level))
        client.close()
        self.listener.ask("events")
        return [process]

    def account(self, processes, work, sink, frame_bytes):
        ended = []
        while (event := self.listener.read()):
            if event["event"] == "ended":
                ended.append(event["job"])
        self.listener.close()
        if len(ended) != len(MATCHING):
            raise BenchError(f"{len(ended)} of {len(MATCHING)} jobs told how they ended: {processes[0].log().strip()[-600:]}")
        accounts = [job["account"] for job in ended]
        return {"stored": sum(a["stored"] for a in accounts), "dropped": sum(sum(a["dropped"].values()) for a in accounts),
                "disk_bytes": disk_bytes(work), "unbalanced": sum(abs(unbalanced(a)) for a in accounts)}


class TcpdumpJobs(Tcpdump):
    """A process with a file for each filter. 64 MiB of buffer each: together five times what the engine has."""

    name = THEIRS
    end_together = True

    def start(self, rig, work, sink, level):
        found = []
        for n, text in enumerate(MATCHING):
            words = [self.path(), "-n", "-i", RX_LINK, "-B", "65536", "-Z", "root", "-w", str(work / f"job{n}.pcap")] + text.split()
            found.append(rig.start(words, work / f"tcpdump-{n}.log"))
        for process in found:
            rig.wait_ready(process, self.ready)
        return found

    def account(self, processes, work, sink, frame_bytes):
        record = PCAP_RECORD_BYTES + frame_bytes
        stored = sum((max(path.stat().st_size - PCAP_HEADER_BYTES, 0)) // record for path in work.glob("job*.pcap"))
        return {"stored": stored, "dropped": sum(number(r"(\d+) packets dropped by kernel", p.log()) or 0 for p in processes),
                "disk_bytes": disk_bytes(work)}


def unbalanced(account):
    return account["seen"] - account["stored"] - account["rejected"] - sum(account["dropped"].values())


# --- eight jobs, eight tcpdumps -----------------------------------------------------------------------------------------


def frames_digest(path):
    """SHA-256 over the frames of a capture file, their lengths and their order; time stamps are each program's own."""
    words = ["zstd", "-dcq", str(path)] if path.suffix == ".zst" else ["cat", str(path)]
    digest, n = hashlib.sha256(), 0
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        head = process.stdout.read(PCAP_HEADER_BYTES)
        order = "little" if head[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else "big"
        while (record := process.stdout.read(PCAP_RECORD_BYTES)):
            digest.update(record[8:])
            digest.update(process.stdout.read(int.from_bytes(record[8:12], order)))
            n += 1
    return digest.hexdigest(), n


def same_frames(bench, plan):
    """The same frames to both, slowly enough for both: every file must hold exactly these. Returns the number of files that do."""
    digests = {}
    for name in (OURS, THEIRS):
        tool = bench.tools[name]
        work = fresh(bench)
        processes = tool.start(bench.rig, work, "disk", "auto")
        try:
            bench.rig.wait_ready(processes[0], tool.ready)
            sent = bench.generate("512", "compressible", SAME_PPS, 0, plan.jobs_same)
            time.sleep(tool.settle_s)
            for process in processes:
                process.stop()
        finally:
            forget(bench, processes)
        tool.account(processes, work, "disk", 512)
        pattern = "job{}/*.pcap.zst" if name == OURS else "job{}.pcap"
        digests[name] = [[frames_digest(path) for path in sorted(work.glob(pattern.format(n)))] for n in range(len(MATCHING))]
    equal = sum(ours == theirs and [d[1] for d in ours] == [sent["sent"]] for ours, theirs in zip(digests[OURS], digests[THEIRS]))
    return {"limit": "the same frames in the file of each job and of its tcpdump", "size": "512", "payload": "compressible",
            "pps": SAME_PPS, "bytes_per_s": None, "same_files": equal, "frames": sent["sent"]}


def eight(bench, plan):
    rows = []
    specs = [Spec("jobs", tool, size="512", payload=payload, duration_s=plan.duration_s, sink="disk")
             for payload in ("random", "compressible") for tool in (OURS, THEIRS)]
    for turn in range(plan.rounds):
        for spec in specs:
            row = bench.measure(spec)
            row["round"] = turn
            row["lost"] = len(MATCHING) * row["sent"] - row["stored"]
            if row.get("unbalanced"):
                raise BenchError(f"{OURS}: the accounts do not add up, by {row['unbalanced']} packets")
            rows.append(row)
            bench.say(row)
    return rows


# --- engines of our own --------------------------------------------------------------------------------------------------


def fresh(bench):
    work = bench.work_dir / RUN_NAME
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o777)
    os.chmod(work, 0o777)
    return work


def forget(bench, processes):
    for process in processes:
        process.kill()
    bench.rig.forget(processes)


class Running:
    """An engine that serves, and a generator that sends; both end with the block."""

    def __init__(self, bench, size, rate):
        self.bench, self.size, self.rate = bench, size, rate
        self.work = fresh(bench)
        self.sent = None

    def __enter__(self):
        self.engine = self.bench.rig.start(engine_words(self.bench.tools["skep-capture"].path(), self.work), self.work / "engine.log")
        try:
            self.bench.rig.wait_ready(self.engine, Skep.ready)
            self.client = Client(self.work / "socket")
        except BaseException:
            forget(self.bench, [self.engine])
            raise
        self.generator = None
        return self

    def generate(self):
        words = ["ip", "netns", "exec", self.bench.rig.tx, str(self.bench.bin_dir / "skep-gen"), "-i", TX_LINK, "--json", "--cpu",
                 str(CPU_TX), "--size", self.size, "--flows", "1024", "--duration", "3600"]
        words += ["--rate", f"{self.rate}pps"] if self.rate else []
        self.generator = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(1.0)

    def stop_generator(self):
        """What it says; its end is the end of the frames."""
        if self.generator and self.sent is None:
            self.generator.send_signal(2)
            out, _ = self.generator.communicate(timeout=30)
            if not out:
                raise BenchError("the generator said nothing at its end")
            self.sent = json.loads(out)
        return self.sent

    def __exit__(self, *exc):
        if self.generator and self.generator.poll() is None:
            self.generator.kill()
            self.generator.wait()
        self.client.close()
        self.engine.stop()
        forget(self.bench, [self.engine])

    def wait_ended(self, name):
        end = time.monotonic() + ANSWER_S
        while True:
            job = self.client.ask("status", name=name)["jobs"][0]
            if job["state"] == "ended":
                return job
            if time.monotonic() > end:
                raise BenchError(f"the job {name} does not end: {job}")
            time.sleep(0.002)

    def files(self, name):
        return sorted((self.work / name).glob("*.pcap.zst"))


# --- from the request to the first packet ---------------------------------------------------------------------------------


def first_stamp_ns(path):
    data = subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=True).stdout
    sec, ns = (int.from_bytes(data[at:at + 4], "little") for at in (PCAP_HEADER_BYTES, PCAP_HEADER_BYTES + 4))
    return sec * 10**9 + ns


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def first_packets(bench, plan, others):
    """A job of one packet, again and again: the kernel's time stamp of that packet less the moment of the request."""
    first, answered = [], []
    with Running(bench, "64", ADD_PPS) as engine:
        for n in range(others):
            engine.client.add(f"other{n}", ("tcp port {}", "ip[8] < {}")[n % 2].format(1 + n))
        engine.generate()
        for n in range(plan.jobs_adds):
            asked_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
            engine.client.add(f"one{n}", "udp dst port 9", limits={"packets": 1})
            answered.append((time.clock_gettime_ns(time.CLOCK_REALTIME) - asked_ns) / 1e6)
            job = engine.wait_ended(f"one{n}")
            if job["account"]["stored"] != 1:
                raise BenchError(f"a job of one packet stored {job['account']['stored']}: {job}")
            first += [(first_stamp_ns(path) - asked_ns) / 1e6 for path in engine.files(f"one{n}")]
            engine.client.ask("forget", name=f"one{n}")
            shutil.rmtree(engine.work / f"one{n}")
        sent = engine.stop_generator()
    return {"limit": f"first packet of a job, beside {others} others", "size": "64", "payload": "random", "pps": sent["pps"],
            "bytes_per_s": None, "others": others, "adds": len(first), "first_p50_ms": statistics.median(first),
            "first_p99_ms": percentile(first, 0.99), "answer_p50_ms": statistics.median(answered),
            "answer_p99_ms": percentile(answered, 0.99)}


# --- changes at full load --------------------------------------------------------------------------------------------------


def check_sequence(bench, paths, last):
    words = [str(bench.bin_dir / "skep-seqcheck"), "--first", "0", "--last", str(last)] + [str(path) for path in paths]
    done = subprocess.run(words, capture_output=True, text=True)
    if not done.stdout:
        raise BenchError(f"skep-seqcheck: {done.stderr.strip()}")
    return json.loads(done.stdout)


def judge_stayer(bench, engine, name, sent):
    """What a job that stayed lost: what its account names (the link was too fast), and what nothing explains."""
    job = engine.client.ask("stop", name=name, wait=True)["job"]
    account, paths = job["account"], engine.files(name)
    named = {reason: n for reason, n in account["dropped"].items() if reason != "unaccounted"}
    found = check_sequence(bench, paths, sent["last_seq"])
    return {"stored": account["stored"], "named": sum(named.values()), "reasons": named,
            # on the link, and nowhere: neither in the file nor in the account
            "unexplained": found["lost"] - sent["refused"] - sum(named.values()), "unbalanced": unbalanced(account),
            "uncounted": sent["sent"] - account["seen"],
            "doubled": found["duplicated"], "disturbed": found["reordered"] + found["corrupted"] + found["stray"] + found["foreign"]}


def changes(bench, plan, size):
    """Jobs come and go as fast as the engine takes them while two stay; the generator does not wait for anybody."""
    texts = ("udp src port {}", "host 198.51.100.{}", "tcp port {}", "ip[8] < {}", "len > {}")
    active, done = collections.deque(), 0
    with Running(bench, size, 0) as engine:
        # their first bytes have the sequence number; whole frames would fill the disk
        engine.client.add("all", "", snaplen=96)
        engine.client.add("general", "udp[8:4] >= 0 and len > 20", snaplen=64)
        engine.generate()
        start = time.monotonic()
        while done < plan.jobs_changes:
            answer = None
            try:
                answer = engine.client.add(f"c{done}", texts[done % len(texts)].format(1 + done % 200), snaplen=64)
            except BenchError as error:
                if "'busy'" not in str(error):
                    raise
            if answer:
                active.append(f"c{done}")
                done += 1
            if len(active) > 20 or not answer:
                engine.client.ask("stop", name=active.popleft(), wait=False)
        while active:
            engine.client.ask("stop", name=active.popleft(), wait=False)
        seconds = time.monotonic() - start
        sent = engine.stop_generator()
        if sent["refused"] is None:
            raise BenchError("the link does not say what it refused: nothing can be proven")
        stayed = [judge_stayer(bench, engine, name, sent) for name in ("all", "general")]
    out = {"limit": f"{done} jobs came and went, flat out", "size": size, "payload": "random", "pps": sent["pps"], "bytes_per_s": None,
           "changes": 2 * done, "seconds": seconds, "sent": sent["sent"]}
    for key in ("stored", "named", "unexplained", "unbalanced", "uncounted", "doubled", "disturbed"):
        out[key] = sum(abs(s[key]) for s in stayed)
    out["reasons"] = dict(sum((collections.Counter(s["reasons"]) for s in stayed), collections.Counter()))
    return out


def say(text):
    print(f"  jobs      {text}", flush=True)


def jobs(bench, plan):
    """Several jobs on one link: eight that match, the first packet of a new one, a thousand that come and go."""
    if "skep-capture" not in bench.tools or "tcpdump" not in bench.tools:
        raise BenchError("jobs: needs skep-capture and tcpdump")
    bench.tools.update({tool.name: tool for tool in (SkepJobs(bench.bin_dir), TcpdumpJobs(bench.bin_dir))})
    found = [same_frames(bench, plan)]
    rows = eight(bench, plan)
    found += [first_packets(bench, plan, others) for others in OTHERS]
    found += [changes(bench, plan, size) for size in ("64", "1500")]
    shutil.rmtree(bench.work_dir / RUN_NAME, ignore_errors=True)
    return rows, found


def tables(limits, table):
    """Titles and tables for people; `table` is that of report.py."""
    first = [l for l in limits if "first_p99_ms" in l]
    changed = [l for l in limits if "unexplained" in l]
    out = []
    if first:
        out += ["## From the request for a job to its first packet",
                table(["other jobs", "jobs added", "first packet, median", "99th percentile", "answer, median", "99th percentile", "Mpps"],
                      [[l["others"], l["adds"]] + [f"{l[k]:.1f} ms" for k in ("first_p50_ms", "first_p99_ms", "answer_p50_ms",
                                                                             "answer_p99_ms")] + [f"{l['pps'] / 1e6:.2f}"] for l in first])]
    if changed:
        out += ["## Jobs that stay while others come and go, flat out",
                table(["size", "changes", "in", "sent", "stored by two jobs", "link too fast, by reason", "unexplained", "doubled"],
                      [[l["size"], l["changes"], f"{l['seconds']:.1f} s", f"{l['sent']:,}", f"{l['stored']:,}",
                        ", ".join(f"{k} {v:,}" for k, v in l["reasons"].items()) or "none",
                        l["unexplained"] + l["unbalanced"] + l["uncounted"], l["doubled"] + l["disturbed"]] for l in changed])]
    return out


def is_ours(entry):
    return any(key in entry for key in ("same_files", "first_p99_ms", "unexplained"))
