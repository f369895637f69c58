# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the HTTP server believes no head that two readers could read differently, that nobody slow or silent keeps it from anybody
else, and that a thousand listeners cost nothing."""
import base64
import hashlib
import re
import resource
import socket
import ssl
import subprocess
import threading
import time

import pytest

from conftest import PATIENCE

HOST = b"Host: probe\r\n"
PATH = b"/v1/filters/check"


def post(*fields, body=b""):
    return b"POST " + PATH + b" HTTP/1.1\r\n" + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def get(target, *fields):
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


SECOND = get(b"/healthz")  # smuggled: if it is answered too, the server took it for a request

AMBIGUOUS = {
    "two different Content-Length": post(b"Content-Length: 2", b"Content-Length: 50", body=b"{}" + SECOND),
    "two equal Content-Length": post(b"Content-Length: 2", b"Content-Length: 2", body=b"{}" + SECOND),
    "Content-Length and Transfer-Encoding": post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SECOND),
    "Transfer-Encoding and Content-Length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + SECOND),
    "two Transfer-Encoding": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n" + SECOND),
    "unknown Transfer-Encoding": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + SECOND),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + SECOND),
    "Content-Length with a sign": post(b"Content-Length: +2", body=b"{}" + SECOND),
    "Content-Length in hex": post(b"Content-Length: 0x2", body=b"{}" + SECOND),
    "Content-Length with a list": post(b"Content-Length: 2, 2", body=b"{}" + SECOND),
    "negative Content-Length": post(b"Content-Length: -2", body=b"{}" + SECOND),
    "huge Content-Length": post(b"Content-Length: 99999999999999999999999", body=b"{}" + SECOND),
    "blank before the colon": post(b"Content-Length : 2", body=b"{}" + SECOND),
    "NUL in a name": post(b"Content-Le\0ngth: 2", body=b"{}" + SECOND),
    "bad chunk size": post(b"Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n" + SECOND),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_end_of_body_is_refused_and_nothing_after_it_is_read(shared, name):
    got = shared.raw(AMBIGUOUS[name])
    assert got.startswith(b"HTTP/1.1 4"), got
    assert b'{"status":"ok"}' not in got


BAD_TARGETS = [b"/healthz%00", b"/healthz%00/x", b"/healthz\0x", b"/v1/../healthz", b"/v1/%2e%2e/healthz", b"/./healthz", b"/v1%2flinks",
               b"/%zz", b"/%4", b"/a%0d%0ax", b"healthz", b"http://probe/healthz", b"*", b"/" + b"a" * 9000, b"/a\\b", b"/\xc3\xa4",
               b"/" + b"a/" * 40, b"/healthz?" + b"&".join(b"a%d=1" % i for i in range(40))]


@pytest.mark.parametrize("target", BAD_TARGETS, ids=lambda target: repr(target[:24]))
def test_targets_that_are_refused(shared, target):
    got = shared.raw(get(target, b"Connection: close"))
    assert got.startswith(b"HTTP/1.1 400"), got
    assert b'"code":"bad-target"' in got


def test_target_is_decoded_once(shared):
    assert shared.get("/%68ealthz", token=False).status == 200
    assert shared.get("/%2568ealthz", token=False).status == 404


@pytest.mark.parametrize("data,status", [
    (get(b"/healthz", b"X: " + b"a" * 20000), b"431"),
    (get(b"/healthz", b"X: " + b"a" * 500000), b"431"),
    (get(b"/healthz", *[b"X: 1"] * 150), b"431"),
    (get(b"/" + b"a" * 300000), b"414"),
    (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", b"400"),
    (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
    (get(b"/healthz", b"X: a\x01b", b"Connection: close"), b"400"),
    (b"GET /healthz HTTP/3.0\r\n" + HOST + b"\r\n", b"505"),
    (get(b"/healthz", b"Content-Length: 3", b"Connection: close") + b"abc", b"400"),
], ids=["long field", "very long field", "many fields", "long target", "two hosts", "no host", "control byte", "version",
        "GET with a body"])
def test_heads_that_are_refused(shared, data, status):
    got = shared.raw(data)
    assert got.startswith(b"HTTP/1.1 " + status), got[:200]


def test_garbage_is_answered_or_cut_but_never_served(shared):
    for data in (b"\0" * 5000, b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET /healthz\r\n\r\n", b"\r\n" * 2000, b"HELO x\r\n",
                 b"GET /heal thz HTTP/1.1\r\n" + HOST + b"\r\n", bytes(range(256)) * 20):
        got = shared.raw(data, 0.3)
        assert b"200 OK" not in got, (data[:20], got)
    assert shared.get("/healthz").status == 200


def test_pipelined_requests_are_answered_in_order(shared):
    auth = b"Authorization: Bearer " + shared.token.encode()
    got = shared.raw(get(b"/healthz") + get(b"/v1/links/lo", auth) + get(b"/healthz", b"Connection: close"))
    assert [got.find(b"ok\"}"), got.find(b"loopback"), got.rfind(b"ok\"}")] == sorted([got.find(b"ok\"}"), got.find(b"loopback"),
                                                                                       got.rfind(b"ok\"}")])
    assert got.count(b"HTTP/1.1 200 OK") == 3


def test_refused_body_is_drained_so_that_the_refusal_arrives(shared):
    auth = b"Authorization: Bearer " + shared.token.encode()
    size = 900_000
    got = shared.raw(post(auth, b"Content-Type: application/json", b"Content-Length: %d" % size, body=b"x" * size))
    assert got.startswith(b"HTTP/1.1 413") and b"body-too-large" in got
    chunks = b"10000\r\n" + b" " * 65536 + b"\r\n"
    got = shared.raw(post(auth, b"Content-Type: application/json", b"Transfer-Encoding: chunked", body=chunks * 8 + b"0\r\n\r\n"))
    assert got.startswith(b"HTTP/1.1 413")


def cut_after(daemon, head, drip, limit_s):
    """Sends head, then a byte of drip every 2 s; how long until the server has cut the connection."""
    start = time.monotonic()
    with daemon.socket() as peer:
        peer.sendall(head)
        peer.settimeout(2)
        for i in range(int(limit_s / 2)):
            try:
                peer.sendall(drip[i % len(drip):i % len(drip) + 1])
                if not peer.recv(4096):
                    return time.monotonic() - start
            except TimeoutError:
                continue
            except OSError:
                return time.monotonic() - start
    return None


@pytest.mark.timeout(120)
def test_slow_clients_are_cut_while_others_are_served(shared):
    """One byte every 2 s: a timeout that starts again with each byte would never end it. Head, body, and the reading of an answer."""
    took = {}
    jobs = {
        "head": (b"GET /healthz HTTP/1.1\r\n", b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        "nothing": (b"", b"G"),
        "body": (post(b"Authorization: Bearer " + shared.token.encode(), b"Content-Type: application/json", b"Content-Length: 1000"), b" "),
    }
    threads = [threading.Thread(target=lambda k=key: took.__setitem__(k, cut_after(shared, *jobs[k], 60))) for key in jobs]
    for thread in threads:
        thread.start()
    slowest = 0
    while any(thread.is_alive() for thread in threads):
        start = time.monotonic()
        assert shared.get("/healthz").status == 200
        slowest = max(slowest, time.monotonic() - start)
        time.sleep(0.2)
    assert slowest < 1 * PATIENCE
    assert took["head"] and took["head"] < 20, took
    assert took["nothing"] and took["nothing"] < 20, took
    assert took["body"] and took["body"] < 40, took


@pytest.mark.timeout(120)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_thousand_idle_event_streams(new_daemon, tls):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2500:
        pytest.skip(f"only {hard} descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    daemon = new_daemon(tls=tls).start()
    peers = []
    try:
        for _ in range(1000):
            peer = daemon.socket()
            peer.sendall(get(b"/v1/events", b"Authorization: Bearer " + daemon.token.encode()))
            peers.append(peer)
        for peer in peers:
            assert b"text/event-stream" in peer.recv(4096)
        used = cpu_s(daemon)
        start = time.monotonic()
        for _ in range(20):
            assert daemon.get("/healthz").status == 200
        each = (time.monotonic() - start) / 20
        time.sleep(2)
        assert each < 0.1 * PATIENCE and cpu_s(daemon) - used < 1 * PATIENCE
        metrics = daemon.get("/metrics").body.decode()
        assert "skep_http_streams 1000\n" in metrics
        for peer in peers[:600]:
            peer.close()
        until = time.monotonic() + 10 * PATIENCE
        while "skep_http_streams 400\n" not in daemon.get("/metrics").body.decode():
            assert time.monotonic() < until, "peers that have gone are still there"
            time.sleep(0.2)
        assert daemon.stop() == 0  # with streams open
        for peer in peers[600:]:
            peer.settimeout(5)
            try:
                while peer.recv(4096):
                    pass
            except ConnectionError:
                pass
    finally:
        for peer in peers:
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def cpu_s(daemon):
    fields = open(f"/proc/{daemon.process.pid}/stat", encoding="ascii").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_event_id_that_is_none_is_refused(shared):
    answer = shared.get("/v1/events", headers={"Last-Event-ID": "x"})
    assert answer.status == 400 and answer.json()["code"] == "bad-event-id"
    assert shared.get("/v1/events?color=1").json()["code"] == "unknown-parameter"


def test_connections_of_one_address_are_limited(new_daemon, tmp_path):
    daemon = new_daemon()
    daemon.config.write_text(daemon.config.read_text().replace("max_per_address = 2048", "max_per_address = 5"))
    daemon.start()
    held = [daemon.socket() for _ in range(5)]
    time.sleep(0.2)
    with daemon.socket() as sixth:
        try:
            sixth.sendall(get(b"/healthz"))
            assert sixth.recv(100) == b""
        except ConnectionError:
            pass
    held.pop().close()
    time.sleep(0.3)
    assert daemon.get("/healthz").status == 200
    for peer in held:
        peer.close()


def test_certificate_is_made_once_and_pinned_by_the_enrolment_line(new_daemon):
    daemon = new_daemon(tls=True).start()
    line = dict(word.split("=", 1) for word in daemon.command("enrol", "hive").stdout.split()[1:])
    with daemon.socket() as peer:
        der = peer.getpeercert(binary_form=True)
        assert peer.version() == "TLSv1.3"
    pem = daemon.folder / "cert.pem"
    pem.write_text(ssl.DER_cert_to_PEM_cert(der))
    spki = subprocess.run(f"openssl x509 -in {pem} -noout -pubkey | openssl pkey -pubin -outform DER", shell=True, capture_output=True,
                          check=True).stdout
    assert line["pin"] == "sha256//" + base64.b64encode(hashlib.sha256(spki).digest()).decode()
    assert daemon.get("/v1/probe", headers={"Authorization": f"Bearer {line['token']}"}, token=False).status == 200
    assert (daemon.state / "key.pem").stat().st_mode & 0o777 == 0o600
    before = (daemon.state / "key.pem").read_bytes()
    assert daemon.stop() == 0
    daemon.start()
    assert (daemon.state / "key.pem").read_bytes() == before
    with pytest.raises((ssl.SSLError, OSError)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.wrap_socket(socket.create_connection(("127.0.0.1", daemon.port), timeout=5))


def test_plain_http_only_on_loopback(new_daemon):
    daemon = new_daemon()
    daemon.config.write_text(daemon.config.read_text().replace("listen = 127.0.0.1:0", "listen = 0.0.0.0:0"))
    done = daemon.command(check=False)
    assert done.returncode == 1 and "without TLS only a loopback address" in done.stderr


def test_help_is_complete(new_daemon):
    text = new_daemon().command("--help").stdout
    assert re.search(r"--check-config", text) and "enrol" in text
