# SPDX-License-Identifier: BSD-2-Clause
"""Proves what a fetch costs when the way to the probe breaks: a proxy that cuts long answers off stands between a real hive and a real
probe; what was received is not fetched again, what comes out is exactly what was captured, and the job ends once. Also when the hive is
killed in the middle."""
import contextlib
import random
import select
import socket
import threading

import pytest

from hive import inside, wait_for
from test_capture import create, frames, net, nothing_left, pcapfile, reach  # noqa: F401


class Proxy:
    """TCP to the probe, in its namespace. While `cuts` last, a connection ends when so many bytes have come back over it."""

    def __init__(self, namespace, port):
        self.namespace, self.target, self.after, self.cuts, self.sent, self.stopping = namespace, port, 0, 0, 0, False
        with inside(namespace):
            self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.relay, args=(near,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def shall_cut(self, back):
        with self.lock:
            if self.cuts and back >= self.after:
                self.cuts -= 1
                return True
        return False

    def relay(self, near):
        with inside(self.namespace):
            far = socket.create_connection(("127.0.0.1", self.target))
        back = 0
        with contextlib.suppress(OSError), near, far:
            while not self.stopping:
                ready, _, _ = select.select([near, far], [], [], 0.2)
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    (far if one is near else near).sendall(data)
                    back += len(data) if one is far else 0
                    if one is far and back > 200_000:
                        with self.lock:
                            self.sent += len(data)
                if self.shall_cut(back):
                    return

    def close(self):
        self.stopping = True
        self.listener.close()
        for thread in self.threads:
            thread.join(5)


@pytest.fixture
def proxied(net):  # noqa: F811
    proxy = Proxy(net.rig.cap, net.probe.port)
    try:
        assert net.admin.patch(f"/probes/{net.probe_id}", {"address": f"http://127.0.0.1:{proxy.port}"}).status == 200
        yield net, proxy
    finally:
        proxy.close()


def noise(count):
    """Packets that do not shrink: the segment is about as large as they are."""
    source = random.Random(7)
    return [frames.ethernet(0x0800, frames.udp(4, n, source.randbytes(1300))) for n in range(count)]


def deliver(net, job, packets):  # noqa: F811
    """In portions that wait for each other: a busy machine loses none."""
    for first in range(0, len(packets), 250):
        net.rig.send(packets[first:first + 250])
        wait_for(lambda: net.admin.get(f"/jobs/{job}").json["stored_pkts"] >= min(first + 250, len(packets)), 30)  # noqa: B023


def dataset_of(net, job, tmp_path):  # noqa: F811
    found = net.admin.get(f"/datasets?job_id={job}").json["items"][0]
    whole = net.admin.get(f"/datasets/{found['id']}/download?format=pcap")
    (tmp_path / "got.pcap").write_bytes(whole.body)
    files = net.admin.get(f"/datasets/{found['id']}/files").json["items"]
    return [record.data for record in pcapfile.read(tmp_path / "got.pcap")[1]], files


def test_a_cut_costs_nothing_twice(proxied, tmp_path):
    net, proxy = proxied  # noqa: F811
    sent = noise(2000)
    proxy.after, proxy.cuts = 1_000_000, 2
    job = create(net, limit_pkts=len(sent))
    reach(net, job, "running")
    deliver(net, job, sent)
    done = reach(net, job, "done", seconds=60)
    assert done["outcome"] == "complete" and done["kept_pkts"] == len(sent), done
    got, files = dataset_of(net, job, tmp_path)
    assert got == sent and proxy.cuts == 0
    size = sum(file["bytes"] for file in files)
    assert size > 2_000_000 and proxy.sent < size + 200_000, (proxy.sent, size)
    nothing_left(net)


def test_a_hive_that_is_killed_goes_on_where_it_was(proxied, tmp_path):
    net, proxy = proxied  # noqa: F811
    sent = noise(2000)
    proxy.after, proxy.cuts = 1_000_000, 10**6  # nothing of it gets through whole
    job = create(net, limit_pkts=len(sent))
    reach(net, job, "running")
    deliver(net, job, sent)
    wait_for(lambda: [part for part in (net.state / "datasets").rglob("*.part") if part.stat().st_size > 900_000], 30)
    net.kill()
    part, = (net.state / "datasets").rglob("*.part")
    before = part.stat().st_size
    with proxy.lock:
        proxy.cuts, proxy.sent = 0, 0
    net.start()
    done = reach(net, job, "done", seconds=60)
    assert done["outcome"] == "complete", done
    got, files = dataset_of(net, job, tmp_path)
    size = sum(file["bytes"] for file in files)
    assert got == sent and proxy.sent < size - before + 300_000, (proxy.sent, size, before)
    nothing_left(net)
