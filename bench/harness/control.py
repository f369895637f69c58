# SPDX-License-Identifier: BSD-2-Clause
"""The scenarios control-*: what the daemon adds to an engine. Serving a segment beside nginx, from a request to the first packet, the
flight recorder under load, one flow out of a large capture."""
import json
import resource
import shutil
import socket
import statistics
import subprocess
import threading
import time
from pathlib import Path

from .control_probe import Probe, Traffic, inside
from .jobs import first_stamp_ns, fresh, percentile
from .rig import CPU_TX, RX_LINK, TX_LINK, BenchError, Unavailable, run

MIB = 1 << 20
GIB = 1 << 30
NGINX_PORT = 8081


# --- serving a segment ----------------------------------------------------------------------------------------------------


def nginx_config(folder, spool, tls):
    """One worker, the file straight from the page cache: what its documentation recommends for downloads."""
    secure = f"ssl_certificate {folder}/state/certificate.pem; ssl_certificate_key {folder}/state/key.pem; ssl_protocols TLSv1.3;"
    return f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log; user root;
events {{ worker_connections 64; }}
http {{ access_log off; sendfile on; tcp_nopush on; aio off; client_body_temp_path {folder}/n1; proxy_temp_path {folder}/n2;
fastcgi_temp_path {folder}/n3; uwsgi_temp_path {folder}/n4; scgi_temp_path {folder}/n5;
server {{ listen 127.0.0.1:{NGINX_PORT}{" ssl" if tls else ""}; root {spool}; {secure if tls else ""} }} }}
"""


def fetch_s(bench, url, token):
    """Seconds that curl needs for the whole file, on the other core; its bytes are thrown away."""
    words = ["ip", "netns", "exec", bench.rig.rx, "taskset", "-c", str(CPU_TX), "curl", "-fsS", "-k", "-o", "/dev/null", "-H",
             f"Authorization: Bearer {token}", "-w", "%{time_total} %{size_download}", url]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"{url}: {done.stderr.strip()}")
    seconds, size = done.stdout.split()
    return float(seconds), int(size)


def compare_servers(bench, plan, probe, job, name):
    """[(seconds of ours, seconds of nginx's)], taking turns."""
    scheme = "https" if probe.tls else "http"
    ours = f"{scheme}://127.0.0.1:8443/v1/jobs/{job['id']}/segments/{name}"
    theirs = f"{scheme}://127.0.0.1:{NGINX_PORT}/{job['id']}/{name}"
    config = probe.folder / "nginx.conf"
    config.write_text(nginx_config(probe.folder, probe.spool, probe.tls))
    server = bench.rig.start([bench.nginx, "-e", str(probe.folder / "nginx.log"), "-c", str(config)], probe.folder / "nginx-start.log")
    try:
        until = time.monotonic() + 10
        while True:
            try:
                with inside(bench.rig.rx):
                    socket.create_connection(("127.0.0.1", NGINX_PORT), timeout=5).close()
                break
            except OSError:
                if time.monotonic() > until or not server.alive():
                    raise BenchError(f"nginx does not start: {server.log()[-400:]}") from None
                time.sleep(0.05)
        fetch_s(bench, ours, probe.token), fetch_s(bench, theirs, probe.token)  # into the page cache
        return [(fetch_s(bench, ours, probe.token)[0], fetch_s(bench, theirs, probe.token)[0]) for _ in range(plan.fetches)]
    finally:
        server.stop(5)
        bench.rig.forget([server])


def serve(bench, plan):
    """The same segment, by skep-control and by Debian's nginx, plain and with TLS, each with one core; the client has the other."""
    bench.nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not bench.nginx:
        raise Unavailable("nginx is not installed (Debian: nginx-light, with which a web server starts)")
    with Probe(bench) as probe:
        job = probe.add(limits={"bytes": plan.mib * MIB})
        with Traffic(bench, "1500"):
            job = probe.wait(job)
        largest = max(probe.segments(job), key=lambda segment: segment["bytes"])
        for tls in (False, True):
            if tls:
                probe.restart(True)
            pairs = compare_servers(bench, plan, probe, job, largest["name"])
            ratio = statistics.median(theirs / ours for ours, theirs in pairs)
            mine, others = (largest["bytes"] / 1e6 / statistics.median(p[i] for p in pairs) for i in (0, 1))
            bench.figure(plan.name, f"a segment of {largest['bytes'] / MIB:.0f} MiB {'with TLS' if tls else 'without TLS'}, MB/s: of nginx",
                         ratio, "x", of="control", target=0.8, ours=mine, peers={"nginx": others})
    return [], []


# --- from the request to the first packet ------------------------------------------------------------------------------------


def one_start(probe, text):
    """(ms from before the request until the kernel's stamp of the job's first packet, ms until the answer)"""
    asked_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
    job = probe.add(filter=text, limits={"packets": 1})
    answered_ms = (time.clock_gettime_ns(time.CLOCK_REALTIME) - asked_ns) / 1e6
    job = probe.wait(job)
    if job["account"]["stored"] != 1:
        raise BenchError(f"a job of one packet stored {job['account']['stored']}: {job}")
    paths = sorted((probe.spool / job["id"]).glob("*.pcap.zst"))
    first_ms = (first_stamp_ns(paths[0]) - asked_ns) / 1e6
    probe.drop(job)
    return first_ms, answered_ms


def start(bench, plan):
    """A job of one packet, again and again, by HTTP: the kernel's stamp of that packet less the moment before the request."""
    for others in plan.others:
        bench.check_time()
        with Probe(bench, tls=plan.tls) as probe, Traffic(bench, "64", rate=plan.rate):
            first_of_all = one_start(probe, "udp dst port 9")[0]
            for n in range(others):
                probe.add(name=f"other{n}", filter=("tcp port {}", "ip[8] < {}")[n % 2].format(1 + n))
            probe.add(name="stays", filter="tcp port 1")  # or the engine would end when idle
            found = [one_start(probe, "udp dst port 9") for _ in range(plan.adds)]
        first, answered = zip(*found)
        bench.figure(plan.name, "from HTTP request to the job's first packet, p99", percentile(first, 0.99), "ms",
                     series=f"beside {others} jobs", of="G9", target=10, at_least=False,
                     why=f"{len(first)} jobs, median {statistics.median(first):.1f} ms; answered after "
                         f"{statistics.median(answered):.1f} ms, p99 {percentile(answered, 0.99):.1f}")
        bench.figure(plan.name, "the same, the first job of a link: the engine starts", first_of_all, "ms", series=f"beside {others} jobs")
    return [], []


# --- flight recorder ------------------------------------------------------------------------------------------------------------


def stored_pps(probe, job, seconds):
    """Packets a second that the job stores from now on, for so long."""
    before, start_s = probe.want("GET", f"/v1/jobs/{job['id']}")["account"], time.monotonic()
    time.sleep(seconds)
    after, end_s = probe.want("GET", f"/v1/jobs/{job['id']}")["account"], time.monotonic()
    return (after["stored"] - before["stored"]) / (end_s - start_s), after["matched"] if "matched" in after else after["seen"]


def ring(bench, plan):
    """A ring and a plain job take turns flat out; then the ring is triggered while the traffic goes on."""
    rates, kept_gb, triggers = {"job": [], "ring": []}, [], []
    with Probe(bench) as probe, Traffic(bench, "1500"):
        for _ in range(plan.turns):
            for kind in ("job", "ring"):
                bench.check_time()
                job = probe.add(ring={"bytes": plan.ring_mib * MIB}) if kind == "ring" else probe.add()
                time.sleep(1.0)
                rates[kind].append(stored_pps(probe, job, plan.duration_s)[0])
                if kind == "ring":
                    asked = time.monotonic()
                    saved = probe.want("POST", f"/v1/rings/{job['id']}/trigger", {"before_ns": 3600 * 10**9, "after_ns": 0}, 201)
                    saved = probe.wait(saved)
                    took_ms = 1000 * (time.monotonic() - asked)
                    kept_gb.append(sum(segment["bytes"] for segment in probe.segments(saved)) / 1e9)
                    triggers.append(took_ms / max(kept_gb[-1], 1e-9))
                    probe.drop(saved)
                probe.end(job)
                probe.drop(job)
    bench.figure(plan.name, "capture rate with a ring, Mpps: of that without", statistics.median(
        with_ring / without for without, with_ring in zip(rates["job"], rates["ring"])), "x", of="G14", target=0.9,
                 ours=statistics.median(rates["ring"]) / 1e6, peers={"a plain job": statistics.median(rates["job"]) / 1e6})
    bench.figure(plan.name, "trigger, for each GB that is kept", statistics.median(triggers), "ms", of="G14", target=250, at_least=False,
                 why=f"{statistics.median(kept_gb):.2f} GB kept each time; hard links, nothing is copied")
    return [], []


# --- one flow out of a large capture ----------------------------------------------------------------------------------------------

# (name, source port, seconds over which its packets are spread; None: half of what the capture takes)
FLOWS = (("in a row", 61000, 0), ("within a tenth of a second", 61001, 0.1), ("within a second", 61002, 1.0),
         ("over half of the capture", 61003, None))
PER_FLOW = 100


def flow_frame(port, n):
    """A UDP packet of a flow that the generator does not make: its addresses are of 192.0.2/24. No checksum (RFC 768)."""
    size = 100 + 37 * n % 1200
    udp = port.to_bytes(2, "big") + (443).to_bytes(2, "big") + (8 + size).to_bytes(2, "big") + bytes(2) + bytes(size)
    head = bytes.fromhex("4500") + (20 + len(udp)).to_bytes(2, "big") + n.to_bytes(2, "big") + bytes.fromhex("00004011")
    addresses = bytes((192, 0, 2, port % 250, 198, 51, 100, 7))
    total = sum(int.from_bytes((head + bytes(2) + addresses)[i:i + 2], "big") for i in range(0, 20, 2))
    checksum = 0xFFFF - (total % 0xFFFF)
    return bytes.fromhex("02005e100002 02005e100001 0800") + head + checksum.to_bytes(2, "big") + addresses + udp


def flow_filter(port):
    return f"udp and host 192.0.2.{port % 250} and host 198.51.100.7 and port {port}"


def send_flow(bench, port, seconds):
    with inside(bench.rig.tx):
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    link.bind((TX_LINK, 0))
    begin = time.monotonic()
    for n in range(PER_FLOW):
        time.sleep(max(0.0, begin + seconds * n / PER_FLOW - time.monotonic()))
        link.send(flow_frame(port, n))
    link.close()


def make_capture(bench, plan, work):
    """A plain pcap of plan.mib of generated traffic with the flows in it, and the same as a segment of ours in a folder of its own."""
    raw, capture = work / "raw.pcap", bench.tools["skep-capture"].path()
    words = ["-i", RX_LINK, "--link-role", "tap", "-w", str(raw), "-a", f"filesize:{plan.mib * 1024}", "--digest", "off"]
    process = bench.rig.start([capture, *words], work / "capture.log")
    try:
        bench.rig.wait_ready(process, r"(?i)\bcapturing\b")
        expected_s = plan.mib * MIB / (plan.rate * 350)  # imix: 350 bytes a frame and its record
        with Traffic(bench, "imix", rate=plan.rate, payload="compressible", flows=plan.flows):
            begin = time.monotonic()
            longest = threading.Thread(target=send_flow, args=(bench, FLOWS[-1][1], 0.5 * expected_s))
            longest.start()
            time.sleep(0.1 * expected_s)
            for _, port, seconds in FLOWS[:-1]:
                send_flow(bench, port, seconds)
            longest.join()
            while process.alive() and time.monotonic() < begin + 10 * expected_s:
                time.sleep(0.05)
    finally:
        process.stop()
        bench.rig.forget([process])
    run(capture, "-r", str(raw), "-w", str(work / "segments" / "s.pcap.zst"), "-q")
    return raw


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(words):
    """(seconds, CPU seconds) of a program"""
    start_s, start_cpu_s = time.monotonic(), cpu_s()
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"{words[0]}: {done.stderr.strip()[-400:]}")
    return time.monotonic() - start_s, cpu_s() - start_cpu_s


def count_in(path):
    done = subprocess.run(["tcpdump", "-n", "-r", str(path), "--count"], capture_output=True, text=True)
    return int((done.stdout + done.stderr).split(" packet")[0].split()[-1])


def extract(bench, plan):
    """A flow of 100 packets out of a large capture: ours by its sketch, tcpdump and tshark on the raw file. All of it is in the page cache,
    which is the best case of those who read everything."""
    work = fresh(bench)
    (work / "segments").mkdir(mode=0o777)
    (work / "segments").chmod(0o777)
    try:
        raw = make_capture(bench, plan, work)
        segment = work / "segments" / "s.pcap.zst"
        if not Path(f"{segment}.sketch").exists():
            raise BenchError("the segment has no sketch")
        sizes = {path.suffix: path.stat().st_size for path in (work / "segments").iterdir()}
        bench.figure(plan.name, "sketch, of the raw bytes", 100 * sizes[".sketch"] / raw.stat().st_size, "%")
        for name, port, _ in FLOWS:
            one_flow(bench, plan, name, port, raw)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return [], []


def one_flow(bench, plan, name, port, raw):
    work, text = raw.parent, flow_filter(port)
    ours = [bench.tools["skep-capture"].path(), "extract", "--stats", "json", "-f", text, "-w", work / "ours.pcap",
            work / "segments"]
    tcpdump = ["tcpdump", "-n", "-Z", "root", "-r", raw, "-w", work / "theirs.pcap", text]
    pairs = []
    for _ in range(plan.repeats):
        bench.check_time()
        pairs.append((timed(ours), timed(tcpdump)))
    found = [count_in(work / path) for path in ("ours.pcap", "theirs.pcap")]
    if found[0] != found[1] or found[0] < PER_FLOW / 2:  # a busy machine may have dropped a few when it made the capture
        raise BenchError(f"the flow {name}: {found[0]} packets by us, {found[1]} by tcpdump, {PER_FLOW} sent")
    said = json.loads(subprocess.run([str(word) for word in ours], capture_output=True, text=True).stderr)
    mine, others = (statistics.median(pair[i][0] for pair in pairs) for i in (0, 1))
    mine_cpu, others_cpu = (1000 * statistics.median(pair[i][1] for pair in pairs) for i in (0, 1))
    peers = {"tcpdump -r": 1000 * others}
    if plan.tshark and name == FLOWS[0][0] and shutil.which("tshark"):  # minutes, wherever the flow is
        peers["tshark -Y"] = 1000 * timed(["tshark", "-n", "-r", raw, "-Y", f"udp.port == {port}", "-w", work / "t.pcap"])[0]
    # the goal is about a flow that is somewhere; one that is everywhere is in every block
    more = {"of": "G12", "target": 20} if name in (FLOWS[0][0], FLOWS[1][0]) else {"of": "control"}
    bench.figure(plan.name, f"100 packets {name} out of {raw.stat().st_size / GIB:.2f} GiB, ms: faster than tcpdump -r", statistics.median(
        theirs[0] / own[0] for own, theirs in pairs), "x", ours=1000 * mine, peers=peers,
                 why=f"{said['blocks_read']} of {said['blocks']} blocks read; CPU {mine_cpu:.0f} ms, tcpdump {others_cpu:.0f} ms", **more)
