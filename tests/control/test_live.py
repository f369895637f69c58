# SPDX-License-Identifier: BSD-2-Clause
"""Proves that /v1/live gives what passes on a link as a pcap that can be read while it comes, that what it does not give is counted
and said, that captures beside it lose nothing, and that nothing stays: no job, no file, also after kill -9."""
import contextlib
import http.client
import subprocess
import threading

import frames
import pcapfile
from test_jobs import balanced, read_events, start
from test_packets import held, wait_for


class Live:
    """A client of a live stream; reads in a thread of its own."""

    def __init__(self, daemon, path):
        self.connection = daemon.connection()
        self.connection.request("GET", path, headers={"Authorization": f"Bearer {daemon.token}"})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        self.job = self.answer.headers["Skep-Live"]
        self.data, self.whole = b"", None
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        with contextlib.suppress(OSError, ValueError, http.client.IncompleteRead):
            while chunk := self.answer.read1(65536):
                self.data += chunk
            self.whole = True

    def frames(self):
        return [record[2] for record in pcapfile.parse(self.data, torn=True)[1]] if len(self.data) >= 24 else []

    def close(self):
        self.connection.sock.shutdown(2)
        self.thread.join(20)
        self.connection.close()


class Events:
    """Listens from now on."""

    def __init__(self, daemon):
        self.peer, self.text = daemon.socket(), b""
        self.peer.sendall(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {daemon.token}\r\n\r\n".encode())
        self.peer.settimeout(20)
        self.text += self.peer.recv(4096)

    def last(self, job):
        """The last live event of the job."""
        while not (found := [data for name, data, _ in read_events(self.text) if name == "live" and data["id"] == job and data["over"]]):
            more = self.peer.recv(65536)
            assert more, "the daemon has gone"
            self.text += more
        return found[-1]


def traces(daemon):
    return daemon.get("/v1/jobs").json()["jobs"], list(daemon.spool.rglob("*"))


def no_traces(daemon):
    wait_for(lambda: traces(daemon) == ([], []), lambda: f"no traces but {traces(daemon)}\n{daemon.said()}")


def test_live_beside_a_capture_and_nothing_is_left(probe):
    capture = start(probe, limits={"packets": 300})
    events = Events(probe)
    live = Live(probe, "/v1/live/cap0?filter=udp")
    assert probe.job(live.job)["kind"] == "temporary"
    sent = frames.numbered(300, 150)
    probe.rig.send(sent)
    wait_for(lambda: len(live.frames()) == 300, "the frames")
    assert live.frames() == sent
    metrics = probe.get("/metrics").body.decode()
    assert "skep_live_streams 1\n" in metrics
    live.close()
    said = events.last(live.job)
    assert said["sent"] == 300 and said["link"] == "cap0" and sum(said["dropped"].values()) == 0, said
    wait_for(lambda: [job["id"] for job in probe.get("/v1/jobs").json()["jobs"]] == [capture["id"]], "only the capture is left")
    assert "skep_live_packets_total{fate=\"sent\"} 300\n" in probe.get("/metrics").body.decode()
    capture = probe.wait_job(capture["id"], "done")
    assert capture["account"]["stored"] == 300 and balanced(capture["account"]) and capture["outcome"] == "complete"
    probe.ask("DELETE", f"/v1/jobs/{capture['id']}")
    no_traces(probe)


def test_live_of_a_job_ends_after_its_time_as_a_whole_pcap(probe, tmp_path):
    job = start(probe, filter="ip", snaplen=100)
    live = Live(probe, f"/v1/live/cap0?job={job['id']}&filter=udp&duration=2s")
    assert probe.job(live.job)["capture"]["filter"] == "(ip) and (udp)"
    probe.rig.send(frames.numbered(50, 150) + [frames.ethernet(0x0800, frames.tcp(4, 1, 1, b"x" * 50))])
    live.thread.join(30)
    assert live.whole and live.frames() == [frame[:100] for frame in frames.numbered(50, 150)]
    path = tmp_path / "live.pcap"
    path.write_bytes(live.data)
    assert subprocess.run(["tcpdump", "-nr", path], capture_output=True, check=True).stdout.count(b"\n") == 50
    wait_for(lambda: len(probe.get("/v1/jobs").json()["jobs"]) == 1, "its job is gone")


def test_what_is_over_the_rate_is_dropped_and_said(new_daemon, rig):
    daemon = new_daemon(namespace=rig.cap, extra="[link cap0]\nrole = tap\n")
    daemon.config.write_text(daemon.config.read_text().replace("[spool]", "live_rate = 8000000\n[spool]"))
    daemon.start()
    events = Events(daemon)
    live = Live(daemon, "/v1/live/cap0?duration=3s")
    rig.send(frames.numbered(3000, 1400))  # 4 MB; one and a half are a burst
    live.thread.join(30)
    said = events.last(live.job)
    assert live.whole and said["sent"] == len(live.frames()) and said["dropped"]["rate"] > 0, said
    assert said["sent"] + sum(said["dropped"].values()) == 3000, said


def test_client_that_does_not_read_costs_its_own_packets_only(probe):
    capture = start(probe, limits={"packets": 12000})
    events = Events(probe)
    with held(probe, "/v1/live/cap0") as peer:
        head = peer.recv(1000)
        assert b" 200 OK" in head
        live_job, = [job["id"] for job in probe.get("/v1/jobs").json()["jobs"] if job["kind"] == "temporary"]
        probe.rig.send(frames.numbered(12000, 1400), rate=6000)  # 17 MB: more than all buffers on the way
        capture = probe.wait_job(capture["id"], "done")
    assert capture["account"]["stored"] == 12000 and capture["outcome"] == "complete", capture
    said = events.last(live_job)
    assert said["sent"] < 12000 and sum(said["dropped"].values()) > 0, said


def test_streams_that_are_refused(probe):
    for path, status, code in (("/v1/live/nosuch0", 404, "no-such-link"), ("/v1/live/cap0?filter=tcp%20and", 422, "bad-filter"),
                               ("/v1/live/cap0?snaplen=0", 422, "bad-value"), ("/v1/live/cap0?duration=1ms", 422, "bad-value"),
                               ("/v1/live/cap0?job=j000000000000000000", 404, "no-such-job"),
                               ("/v1/live/cap0?x=1", 400, "unknown-parameter")):
        answer = probe.get(path)
        assert (answer.status, answer.json()["code"]) == (status, code), answer.body
    streams = [Live(probe, "/v1/live/cap0") for _ in range(4)]
    busy = probe.get("/v1/live/cap0")
    assert busy.status == 503 and int(busy.headers["Retry-After"]) > 0
    streams.pop().close()
    wait_for(lambda: "skep_live_streams 3\n" in probe.get("/metrics").body.decode(), "a place")
    streams.append(Live(probe, "/v1/live/cap0"))
    for stream in streams:
        stream.close()
    no_traces(probe)


def test_killed_daemon_leaves_no_stream_behind(probe):
    Live(probe, "/v1/live/cap0")
    probe.kill()
    probe.start()
    no_traces(probe)
