# SPDX-License-Identifier: BSD-2-Clause
"""Proves that a webhook tells of its owner's jobs and of nobody else's, signed so that the receiver can tell; that what does not arrive is
sent again, also by a hive that was killed meanwhile, and its log says what came of it; and that it leads to no address that only the hive
can reach, unless the administrator says so."""
import hashlib
import hmac
import http.server
import json
import threading

import pytest

from hive import wait_for

ANYWHERE = "[webhooks]\nanywhere = yes\nretry = 200ms\n"
JOB = {"name": "quic", "links": ["tap-a"], "limit_pkts": 1}


class Receiver:
    """Keeps (headers, body) of each call; answers with the statuses given, then 204."""

    def __init__(self, *statuses):
        self.calls, statuses = [], list(statuses)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.calls.append((dict(self.headers), body))
                status = statuses.pop(0) if statuses else 204
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receive():
    made = []

    def make(*statuses):
        made.append(Receiver(*statuses))
        return made[-1]

    yield make
    for one in made:
        one.close()


def hook(who, receiver, *events, **fields):
    made = who.post("/webhooks", {"name": "alarm", "url": receiver.url, "events": list(events) or ["job.ended"], **fields})
    assert made.status == 201, made.body
    return made.json


def right(secret, headers, body):
    stamp, mac = (part.split("=", 1)[1] for part in headers["X-Skep-Signature"].split(","))
    return hmac.compare_digest(mac, hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest())


def test_calls_are_signed_and_only_of_ones_own_jobs(make_hive, receive):
    hive, receiver = make_hive(ANYWHERE), receive()
    hive.link("tap-a")
    bob, eve = hive.person("bob", ["jobs"], all_links=True), hive.person("eve", ["jobs"], all_links=True)
    made = hook(bob, receiver, "job.created", "job.ended")
    assert "secret" not in bob.get(f"/webhooks/{made['id']}").json and made["secret"].startswith("skep_w_")
    theirs = eve.post("/jobs", JOB).json["id"]
    assert eve.post(f"/jobs/{theirs}/cancel").status == 200
    mine = bob.post("/jobs", JOB).json["id"]
    assert bob.post(f"/jobs/{mine}/cancel").status == 200
    wait_for(lambda: len(receiver.calls) == 2)
    calls = {headers["X-Skep-Event"]: (headers, json.loads(body)) for headers, body in receiver.calls}
    assert set(calls) == {"job.created", "job.ended"}
    assert all(right(made["secret"], headers, body) for headers, body in receiver.calls)
    assert not right(made["secret"] + "x", *receiver.calls[0])
    headers, body = calls["job.ended"]
    assert (body["event"], body["job"]["id"], body["job"]["state"], body["job"]["name"]) == ("job.ended", mine, "cancelled", "quic")
    log = bob.get(f"/webhooks/{made['id']}/deliveries").json["items"]
    assert {(one["event"], one["state"], one["status"], one["attempts"]) for one in log} == \
        {("job.created", "done", 204, 1), ("job.ended", "done", 204, 1)}
    assert headers["X-Skep-Delivery"] in {str(one["id"]) for one in log}
    assert eve.get(f"/webhooks/{made['id']}").status == 404 and hive.admin.get(f"/webhooks/{made['id']}/deliveries").status == 404


def test_what_does_not_arrive_is_sent_again(make_hive, receive):
    hive, receiver = make_hive(ANYWHERE), receive(500, 302)
    made = hook(hive.admin, receiver)
    delivery = hive.admin.post(f"/webhooks/{made['id']}/test")
    assert delivery.status == 202 and delivery.json["event"] == "test"
    path = f"/webhooks/{made['id']}/deliveries"
    done = wait_for(lambda: (one := hive.admin.get(path).json["items"][0])["state"] == "done" and one, 20)
    assert done["attempts"] == 3 and {headers["X-Skep-Delivery"] for headers, _ in receiver.calls} == {str(done["id"])}
    receiver.close()
    assert hive.admin.post(f"/webhooks/{made['id']}/test").status == 202
    waiting = wait_for(lambda: (one := hive.admin.get(f"{path}?sort=-id").json["items"][0])["attempts"] >= 2 and one, 20)
    assert waiting["state"] == "waiting" and waiting["status"] == 0 and waiting["answer"] and waiting["next"]
    hive.kill()
    hive.start()
    assert wait_for(lambda: hive.admin.get(f"{path}?sort=-id").json["items"][0]["attempts"] >= 4, 20)
    assert hive.admin.patch(f"/webhooks/{made['id']}", {"disabled": True}).status == 200
    assert wait_for(lambda: hive.admin.get(f"{path}?sort=-id").json["items"][0]["state"] == "failed", 20)


def test_a_receiver_that_is_gone_for_good(make_hive, receive):
    hive, receiver = make_hive(ANYWHERE), receive(410)
    made = hook(hive.admin, receiver)
    hive.admin.post(f"/webhooks/{made['id']}/test")
    one = wait_for(lambda: (one := hive.admin.get(f"/webhooks/{made['id']}/deliveries").json["items"][0])["state"] == "failed" and one)
    assert (one["attempts"], one["status"]) == (1, 410)


def test_it_leads_to_no_address_that_only_the_hive_can_reach(hive, receive):
    for url in ("http://127.0.0.1/x", "ftp://example.org/", "https://", "https://user@example.org/", "https://exa mple.org/", "//x", "file:///etc/passwd",
                "https://\r\nHost: x/"):
        answer = hive.admin.post("/webhooks", {"name": "x", "url": url, "events": ["job.ended"]})
        assert answer.status == 422 and answer.pointers == {"/url"}, (url, answer.body)
    inside = ["127.0.0.1", "0.0.0.0", "10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "[::1]", "[fe80::1]",
              "[fd00::1]",
              "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "localhost", "2130706433", "0x7f.1", "224.0.0.1", "255.255.255.255"]
    ids = {}
    for n, host in enumerate(inside):
        made = hive.admin.post("/webhooks", {"name": f"h{n}", "url": f"https://{host}:9/x", "events": ["job.ended"]})
        assert made.status == 201, made.body
        ids[host] = made.json["id"]
        assert hive.admin.post(f"/webhooks/{made.json['id']}/test").status == 202
    for host, one in ids.items():
        done = wait_for(lambda one=one: (seen := hive.admin.get(f"/webhooks/{one}/deliveries").json["items"][0])["done"] and seen, 20)
        assert done["state"] == "failed" and "not public" in done["answer"], (host, done)


def test_webhooks_that_are_refused(hive):
    base = {"name": "x", "url": "https://example.org/hook", "events": ["job.ended"]}
    for change, pointer in (({"events": []}, "/events"), ({"events": ["job.lost"]}, "/events"), ({"name": ""}, "/name"),
                            ({"secret": "mine"}, "/secret")):
        assert hive.admin.post("/webhooks", {**base, **change}).pointers == {pointer}
    one = hive.admin.post("/webhooks", base).json["id"]
    assert hive.admin.post("/webhooks", base).status == 409
    assert hive.admin.patch(f"/webhooks/{one}", {"events": ["job.created", "job.started"]}).json["events"] == ["job.created", "job.started"]
    assert hive.admin.delete(f"/webhooks/{one}").status == 204
    assert "skep_w_" not in (hive.folder / "log").read_text()
