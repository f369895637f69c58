# SPDX-License-Identifier: BSD-2-Clause
"""Proves that what the daemon answers is what its OpenAPI description says, route by route and refusal by refusal, and that nobody without
a token gets anything but the program's health."""
import pathlib
import time

import pytest
import yaml

from conftest import DESCRIPTION

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILTERS = "/v1/filters/check"


@pytest.fixture(scope="module")
def ask(shared):
    return shared.ask


def test_description_served_is_the_one_in_the_source(shared):
    answer = shared.get("/v1/openapi.yaml", token=False)
    assert answer.status == 200 and answer.type == "application/yaml"
    assert answer.body == (ROOT / "control" / "api" / "openapi.yaml").read_bytes()
    assert yaml.safe_load(answer.body)["openapi"].startswith("3.1")


def test_health_needs_no_token_and_tells_nothing(ask):
    assert ask("GET", "/healthz", token=False).json() == {"status": "ok"}
    assert ask("GET", "/readyz", token=False).json() == {"status": "ready"}


def test_everything_else_needs_a_token(shared):
    open_routes = {"/healthz", "/readyz", "/v1/openapi.yaml"}
    tried = 0
    for route, operations in DESCRIPTION.document["paths"].items():
        if route in open_routes:
            continue
        path = route.replace("{", "").replace("}", "")
        for method in set(operations) - {"parameters"}:
            for headers in ({}, {"Authorization": "Bearer skt_00000000_wrong"}, {"Authorization": f"Basic {shared.token}"},
                            {"Authorization": shared.token}, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {shared.token}x"}):
                answer = shared.ask(method.upper(), path, headers=headers, token=False)
                assert answer.status == 401 and answer.json()["code"] == "no-token", (method, path, headers, answer.body)
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
                tried += 1
    assert tried >= 6 * 5


def test_probe(ask, shared):
    probe = ask("GET", "/v1/probe").json()
    assert probe["name"] == "test-probe" and probe["disk"]["spool"] == str(shared.spool)
    assert probe["memory"]["total_bytes"] > probe["memory"]["available_bytes"] > 0
    assert probe["cpus"] and probe["kernel"]


def test_links(ask):
    links = {link["name"]: link for link in ask("GET", "/v1/links").json()["links"]}
    assert links["lo"]["loopback"] and links["lo"]["alias"] == "lo" and not links["lo"]["configured"]
    one = ask("GET", "/v1/links/lo").json()
    assert one["mtu"] == links["lo"]["mtu"]


def test_rates_are_those_of_the_kernel(ask, shared):
    """The test's own requests are traffic on loopback: packets per second appear, and the counters are those of /sys."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        rates = ask("GET", "/v1/links/lo").json()["rates"]
        if rates and rates["rx_pps"] > 0:
            break
        time.sleep(0.1)
    assert rates["rx_pps"] > 0 and rates["rx_bps"] > 0 and rates["source"] == "/sys/class/net"
    now = int(pathlib.Path("/sys/class/net/lo/statistics/rx_packets").read_text())
    assert 0 < rates["counters"]["rx_packets"] <= now


def test_link_that_is_not_there(ask):
    answer = ask("GET", "/v1/links/nosuch0")
    assert answer.status == 404 and answer.json()["code"] == "no-such-link"


def test_filter_that_is_right(ask):
    answer = ask("POST", FILTERS, body={"filter": "tcp port 443"}).json()
    assert answer["ok"] and answer["cbpf_insns"] > 0


def test_filter_that_is_wrong_says_where(ask):
    answer = ask("POST", FILTERS, body={"filter": "tcp port 80 and host foo"})
    assert answer.status == 200  # the question was right
    assert not answer.json()["ok"] and answer.json()["column"] == 22 and "DNS" in answer.json()["error"]


@pytest.mark.parametrize("text", ["--help", "-r/etc/passwd", "-F /etc/shadow"])
def test_filter_is_never_an_option(ask, text):
    answer = ask("POST", FILTERS, body={"filter": text}).json()
    assert not answer["ok"], answer


@pytest.mark.parametrize("body,status,code,pointer", [
    ({}, 422, "bad-value", "/filter"),
    ({"filter": 5}, 422, "bad-value", "/filter"),
    ({"filter": "a\0b"}, 400, "bad-json", None),
    ({"filter": "tcp", "more": 1}, 422, "unknown-field", None),
    ({"filter": "x" * 70000}, 422, "bad-value", "/filter"),
    (b"{", 400, "bad-json", None),
    (b"", 400, "bad-json", None),
    (b"[1]", 400, "bad-json", None),
    (b'{"filter":"tcp","filter":"udp"}', 400, "bad-json", None),
    (b'{"filter":' + b"[" * 100000, 400, "bad-json", None),
    (b'{"filter":"\xff"}', 400, "bad-json", None),
    (b'{"filter":"tcp"} x', 400, "bad-json", None),
    (b" " * 300000, 413, "body-too-large", None),
])
def test_bodies_that_are_refused(ask, body, status, code, pointer):
    answer = ask("POST", FILTERS, body=body, headers={"Content-Type": "application/json"})
    problem = answer.json()
    assert (answer.status, problem["code"], problem.get("pointer")) == (status, code, pointer)
    assert problem["detail"]


def test_body_of_another_type(ask):
    assert ask("POST", FILTERS, body=b"filter=tcp", headers={"Content-Type": "application/x-www-form-urlencoded"}).status == 415


def test_metrics_are_prometheus_text(ask):
    text = ask("GET", "/metrics").body.decode()
    names = set()
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, value = line.rsplit(" ", 1)
        names.add(name.partition("{")[0])
        float(value)
    assert {"skep_link_receive_packets_total", "skep_http_requests_total", "skep_link_drops_total", "skep_build_info"} <= names
    for name in names:  # every family says what it is
        assert f"# HELP {name} " in text and f"# TYPE {name} " in text
        assert name.startswith(("skep_", "process_"))


def test_no_such_route_and_no_such_method(shared):
    answer = shared.get("/v2/probe")
    assert answer.status == 404 and answer.json()["code"] == "no-such-route"
    answer = shared.ask("DELETE", "/v1/probe")
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD"
    answer = shared.ask("HEAD", "/v1/probe")
    assert answer.status == 200 and not answer.body and int(answer.headers["Content-Length"]) > 100


def test_token_that_is_revoked_is_refused_at_once(daemon):
    token = daemon.command("token", "new", "second").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    assert daemon.get("/v1/probe", headers=headers, token=False).status == 200
    daemon.command("token", "revoke", "second")
    assert daemon.get("/v1/probe", headers=headers, token=False).status == 401
    assert daemon.get("/v1/probe").status == 200


def test_tokens_are_not_kept(daemon):
    listed = daemon.command("token", "list").stdout
    assert "test" in listed and daemon.token not in listed
    for path in daemon.folder.rglob("*"):
        if path.is_file():
            assert daemon.token.rpartition("_")[2].encode() not in path.read_bytes(), path
    assert (daemon.state / "tokens.json").stat().st_mode & 0o777 == 0o600
    assert daemon.command("token", "revoke", "nobody", check=False).returncode == 1
