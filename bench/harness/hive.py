# SPDX-License-Identifier: BSD-2-Clause
"""The scenarios hive-*: what the central server costs and how long people wait for it. hive-api asks a hive with many probes and jobs as
many clients do; hive-path follows a job from the request to the merged download, with a real probe on the rig, beside curl and mergecap."""
import contextlib
import http.client
import os
import shutil
import statistics
import subprocess
import threading
import time

from .control_probe import Probe, Traffic
from .hive_server import Hive, multiply_jobs, silent_probes
from .jobs import first_stamp_ns, fresh, percentile
from .measure import RUN_NAME
from .pictures import MEMORY
from .rig import RX_LINK, BenchError, Rig, Unavailable, run

MIB = 1 << 20


# --- many probes, many jobs, many clients -------------------------------------------------------------------------------------


def ask_many(hive, paths, clients):
    """Seconds of each request of curl with so many at a time, each again as soon as it has its answer; and how long all took."""
    config = hive.folder / "curl.conf"
    lines = []
    for path in paths:
        lines.append(f'url = "{hive.url(path)}"\noutput = "/dev/null"')
    config.write_text("\n".join(lines) + "\n")
    words = ["curl", "-sS", "--fail", "--parallel", "--parallel-immediate", "--parallel-max", str(clients), "-H",
             f"Authorization: Bearer {hive.token}", "-w", "%{time_total}\n", "-K", str(config)]
    start = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True)
    seconds = time.monotonic() - start
    found = [float(line) for line in done.stdout.split()]
    if done.returncode or len(found) != len(paths):
        raise BenchError(f"curl: {len(found)} of {len(paths)} answers: {done.stderr.strip()[-300:]}")
    return found, seconds


def ask_paced(hive, paths, clients, period_s):
    """Seconds of each request of so many people, each of whom asks once in a period, on a connection of their own that is kept."""
    times, failed = [], []

    def person(number):
        mine = hive.another_client()
        begin = time.monotonic() + period_s * number / clients
        try:
            for n, path in enumerate(paths[number::clients]):
                time.sleep(max(0.0, begin + n * period_s - time.monotonic()))
                asked = time.monotonic()
                mine.want("GET", path)
                times.append(time.monotonic() - asked)
        except (BenchError, OSError, http.client.HTTPException) as error:
            failed.append(error)
        finally:
            mine.hang_up()

    threads = [threading.Thread(target=person, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise BenchError(f"a client of the hive: {failed[0]}")
    return times


def settled_rss(hive):
    """Resident memory when it has nothing to do, in MB."""
    time.sleep(2.0)
    return hive.rss_bytes() / 1e6


def a_job_that_is_over(hive, links):
    """One on all links that was cancelled before it began, as the hive itself writes it."""
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
    job = hive.want("POST", "/jobs", {"name": "first", "links": links, "filter": "udp port 443", "limit_duration_s": 60, "start": later},
                    status=201)["id"]
    hive.want("POST", f"/jobs/{job}/cancel")
    hive.wait_job(job, "cancelled", "done", "failed")
    return job


def fill(hive, address, probes, jobs):
    for n in range(probes):
        made = hive.want("POST", "/probes", {"name": f"probe{n}", "address": address, "token": "x" * 40}, status=201)
        hive.want("POST", "/links", {"name": f"link{n}", "interface": "eth1", "probe_id": made["id"]}, status=201)
    job = a_job_that_is_over(hive, [f"link{n}" for n in range(min(probes, 4))])
    hive.stop()
    ids = multiply_jobs(hive, job, jobs)
    hive.start()
    return ids


def ask_everything(bench, plan, hive, ids):
    """List and detail by people who ask now and then, and by clients who ask again at once: {(what, how): (times, seconds)}."""
    step = max(len(ids) // plan.requests, 1)
    found = {}
    for what, paths in (("list of 50 jobs", ["/jobs?limit=50"] * plan.requests),
                        ("one job", [f"/jobs/{ids[n * step % len(ids)]}" for n in range(plan.requests)])):
        bench.check_time()
        begin = time.monotonic()
        times = ask_paced(hive, paths[:plan.paced], plan.clients, plan.period_s)
        found[what, f"every {plan.period_s} s"] = times, time.monotonic() - begin
        found[what, "again at once"] = ask_many(hive, paths, plan.clients)
    return found


def api_of(bench, plan, probes, jobs, largest):
    """A hive with so many probes and jobs; `largest`: the one that the goals are about."""
    work = fresh(bench)
    goal = lambda target: {"of": "hive", "target": target, "at_least": False} if largest else {}  # noqa: E731
    with silent_probes() as server, Hive(bench.bin_dir, work) as hive:
        idle = settled_rss(hive)
        ids = fill(hive, f"http://127.0.0.1:{server.server_port}", probes, jobs)
        full, asked, since = settled_rss(hive), server.asked, time.monotonic()
        found = ask_everything(bench, plan, hive, ids)
        if largest:
            bench.figure(plan.name, "memory of a hive that has nothing yet", idle, "MB", **goal(50))
            bench.figure(plan.name, f"memory of a hive with {probes} probes and {jobs} jobs", full, "MB", **goal(50))
            bench.figure(plan.name, "questions to probes meanwhile", (server.asked - asked) / (time.monotonic() - since), "1/s")
        bench.figure(plan.name, f"{MEMORY}, over jobs", full, "MB", series="before it is asked", x=jobs)
        bench.figure(plan.name, f"{MEMORY}, over jobs", settled_rss(hive), "MB", series="afterwards", x=jobs)
    for (what, how), (times, seconds) in found.items():
        p99, middle = 1000 * percentile(times, 0.99), 1000 * statistics.median(times)
        if largest:
            bench.figure(plan.name, f"{what} of {jobs}, {probes} probes, {plan.clients} clients who ask {how}, p99", p99, "ms", **goal(50),
                         why=f"median {middle:.1f} ms, {len(times) / seconds:.0f} answers a second from {os.cpu_count()} cores that are "
                             "also the clients'")
        bench.figure(plan.name, "median answer, over jobs", middle, "ms", series=f"{what}, asked {how}", x=jobs)


def api(bench, plan):
    """List and detail of hives with more and more probes and jobs, asked by many clients at once; their memory."""
    if not shutil.which("curl"):
        raise Unavailable("curl is not installed")
    try:
        for probes, jobs in plan.of:
            bench.check_time()
            api_of(bench, plan, probes, jobs, largest=[probes, jobs] == plan.of[-1])
    finally:
        shutil.rmtree(bench.work_dir / RUN_NAME, ignore_errors=True)
    return [], []


# --- from the request to the download ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def traffic(bench, size, rate, payload="random"):
    """Generators on the rig until the block ends: one for each queue, because a veth's queue is the CPU of who sends."""
    with contextlib.ExitStack() as all_of_them:
        for cpu in range(bench.rig.queues):
            all_of_them.enter_context(Traffic(bench, size, rate, payload, cpu=cpu))
        yield


def dataset_of(hive, job):
    return hive.want("GET", f"/datasets?job_id={job}")["items"][0]


def fetched_files(hive, job, folder):
    """[(path, packets)] of the job's files, downloaded one by one into a folder, over what was there from another job."""
    dataset, found = dataset_of(hive, job), []
    for n, file in enumerate(hive.want("GET", f"/datasets/{dataset['id']}/files?limit=200")["items"]):
        path = folder / f"file{n}.pcap.zst"
        path.write_bytes(hive.want("GET", f"/datasets/{dataset['id']}/files/{file['id']}"))
        found.append((path, file["pkts"]))
    return found


def stored_files(hive):
    return [path for path in (hive.state / "datasets").rglob("*.pcap.zst*") if path.is_file() and not path.name.endswith(".json")]


def first_packet_ms(hive, name):
    """From the request to the hive until the kernel's stamp of the first packet of a job of one packet, in ms."""
    asked_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
    job = hive.want("POST", "/jobs", {"name": name, "links": ["tap"], "filter": "udp dst port 9", "limit_pkts": 1}, status=201)["id"]
    done = hive.wait_job(job, "done", "failed")
    if done["state"] != "done" or done["kept_pkts"] != 1:
        raise BenchError(f"hive: a job of one packet: {done}")
    path = next(path for path, pkts in fetched_files(hive, job, hive.folder) if pkts == 1)
    return (first_stamp_ns(path) - asked_ns) / 1e6


def first_packets(bench, plan, hive):
    """The same again and again, beside a job that stays, because an engine without jobs ends; and once when it has to start."""
    with traffic(bench, "64", plan.rate):
        cold = first_packet_ms(hive, "cold")
        stays = hive.want("POST", "/jobs", {"name": "stays", "links": ["tap"], "filter": "tcp port 1", "limit_duration_s": 3600},
                          status=201)["id"]
        hive.wait_job(stays, "running")
        found = []
        for n in range(plan.starts):
            bench.check_time()
            found.append(first_packet_ms(hive, f"one{n}"))
        hive.want("POST", f"/jobs/{stays}/cancel")
        hive.wait_job(stays, "cancelled")
    bench.figure(plan.name, "from the request to the hive to the job's first packet, p99", percentile(found, 0.99), "ms")
    bench.figure(plan.name, "the same, median", statistics.median(found), "ms")
    bench.figure(plan.name, "the same, the first job of a link: the engine starts", cold, "ms")


def stop_to_dataset(bench, plan, hive):
    """From the stop of a running job until the job is over and its dataset can be downloaded, in ms."""
    found, torn = [], []
    with traffic(bench, "512", plan.rate):
        for n in range(plan.stops):
            bench.check_time()
            job = hive.want("POST", "/jobs", {"name": f"stop{n}", "links": ["tap"], "limit_duration_s": 600}, status=201)["id"]
            hive.wait_job(job, "running")
            time.sleep(0.5)
            asked = time.monotonic()
            hive.want("POST", f"/jobs/{job}/stop")
            hive.wait_job(job, "done", "failed")
            found.append(1000 * (time.monotonic() - asked))
            dataset = dataset_of(hive, job)
            if dataset["state"] == "open" or not dataset["pkts"]:
                raise BenchError(f"hive: the job is over and its dataset is {dataset}")
            torn += [dataset["reasons"]] if dataset["state"] != "whole" else []
    bench.figure(plan.name, "from stop to a dataset that can be downloaded, p99", percentile(found, 0.99), "ms",
                 why=f"{len(found)} jobs, median {statistics.median(found):.0f} ms" + (f"; not whole: {torn[0]}" if torn else ""))


def curl_rate(bench, urls, token, out):
    """Bytes a second of curl, one file after the other, written to disk as the hive writes them."""
    words = ["ip", "netns", "exec", bench.rig.rx, "curl", "-fsS", "-H", f"Authorization: Bearer {token}", "-w", "%{size_download}\n"]
    for n, url in enumerate(urls):
        words += ["-o", str(out / f"curl{n}"), url]
    start = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True)
    seconds = time.monotonic() - start
    if done.returncode:
        raise BenchError(f"curl: {done.stderr.strip()[-300:]}")
    return sum(int(size) for size in done.stdout.split()) / seconds


def collected_rate(hive, job, total, before):
    """Bytes a second of the hive's own fetching: from the first byte in its store to the end of the job."""
    have = lambda: sum(path.stat().st_size for path in stored_files(hive))  # noqa: E731
    begin, first = None, 0
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            now = have()
        except FileNotFoundError:
            continue  # renamed between the look and the question
        if begin is None and now > before:
            begin, first = time.monotonic(), now
        if now - before >= total:
            return (now - first) / max(time.monotonic() - begin, 1e-6)
        time.sleep(0.002)
    raise BenchError(f"hive: the job {job} was not collected in two minutes")


def collection(bench, plan, hive, probe):
    """A job that is captured while the hive is away, its segments fetched by curl and then by the hive. Returns the job."""
    job = hive.want("POST", "/jobs", {"name": "large", "links": ["tap"], "limit_bytes": plan.mib * MIB}, status=201)["id"]
    hive.wait_job(job, "running")
    hive.stop()
    with traffic(bench, "1500", plan.bulk_rate, "compressible"):
        until = time.monotonic() + 120
        while any(j["state"] not in ("done", "failed") for j in probe.want("GET", "/v1/jobs")["jobs"]) and time.monotonic() < until:
            time.sleep(0.05)
    jobs = [j for j in probe.want("GET", "/v1/jobs")["jobs"] if j["account"]["stored"]]
    if len(jobs) != 1:
        raise BenchError(f"the probe has {len(jobs)} jobs with packets, not one")
    segments = probe.segments(jobs[0])
    urls = [f"http://127.0.0.1:8443/v1/jobs/{jobs[0]['id']}/segments/{s['name']}" for s in segments]
    out = hive.folder / "curl"
    out.mkdir(exist_ok=True)
    curl_rate(bench, urls, probe.token, out)  # once, so that both find the files in memory
    theirs = [curl_rate(bench, urls, probe.token, out) for _ in range(plan.fetches)]
    shutil.rmtree(out)
    os.sync()
    before = sum(path.stat().st_size for path in stored_files(hive))  # a hive that starts begins at once
    hive.start()
    ours = collected_rate(hive, job, sum(s["bytes"] for s in segments), before)
    bench.figure(plan.name, f"collection of {plan.mib} MiB in {len(urls)} segments, MB/s: of curl", ours / statistics.median(theirs), "x",
                 of="hive", target=0.8, ours=ours / 1e6, peers={"curl": statistics.median(theirs) / 1e6},
                 why="the hive also verifies every digest")
    hive.wait_job(job, "done", "failed")
    return job


def download_s(bench, hive, dataset, query):
    words = ["ip", "netns", "exec", bench.rig.rx, "curl", "-fsS", "-H", f"Authorization: Bearer {hive.token}", "-o", "/dev/null", "-w",
             "%{size_download}", hive.url(f"/datasets/{dataset['id']}/download?{query}")]
    start = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"download: {done.stderr.strip()[-300:]}")
    return time.monotonic() - start, int(done.stdout)


def merge(bench, plan, hive, job):
    """The merged download beside mergecap on the same files."""
    dataset = dataset_of(hive, job)
    paths = [str(path) for path, pkts in fetched_files(hive, job, hive.folder) if pkts]
    if not shutil.which("mergecap"):
        raise Unavailable("mergecap is not installed (Debian: wireshark-common)")
    pairs = []
    for _ in range(plan.fetches):
        bench.check_time()
        ours, size = download_s(bench, hive, dataset, "format=pcap")
        start = time.monotonic()
        run("mergecap", "-F", "nsecpcap", "-w", "/dev/null", *paths)
        pairs.append((ours, time.monotonic() - start))
    mine, others = (size / 1e6 / statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    bench.figure(plan.name, f"merged download of {size / MIB:.0f} MiB out of {len(paths)} files, MB/s: of mergecap",
                 statistics.median(theirs / own for own,
                                   theirs in pairs), "x", of="hive", target=1.0, ours=mine, peers={"mergecap": others},
                 why="through HTTP; mergecap writes to /dev/null")


def path(bench, plan):
    """A job from the request to the hive until its merged download, with a real probe on a link of two queues."""
    if shutil.which("curl") is None:
        raise Unavailable("curl is not installed")
    with Rig(queues=2, label="hive") as rig:
        here = bench.on(rig)
        with Probe(here) as probe:
            (probe.folder / "state").mkdir(exist_ok=True)
            folder = probe.folder / "hive-of-bench"
            folder.mkdir()
            with Hive(bench.bin_dir, folder, namespace=rig.rx) as hive:
                made = hive.want("POST", "/probes", {"name": "p", "address": "http://127.0.0.1:8443", "token": probe.token}, status=201)
                hive.want("POST", "/links", {"name": "tap", "interface": RX_LINK, "probe_id": made["id"]}, status=201)
                first_packets(here, plan, hive)
                stop_to_dataset(here, plan, hive)
                merge(here, plan, hive, collection(here, plan, hive, probe))
            bench.figures = here.figures
    shutil.rmtree(bench.work_dir / RUN_NAME, ignore_errors=True)
    return [], []
