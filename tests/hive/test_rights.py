# SPDX-License-Identifier: BSD-2-Clause
"""Proves, from the API's own description, who gets in where: every operation is called as nobody, as somebody with no right, with each
right alone and with all of them, on things of their own, of a group they share and of strangers; the answer must be the one that the
operation's x-rule and the rules of the thing allow. An operation that is not described, or described without a rule, fails."""
import re

import pytest

import hive as hive_module
from hive import API, RIGHTS, SPEC, Client
from test_transfers import bring_in, capture, soon

OPERATIONS = [(method.upper(), path, operation) for path, operations in SPEC["paths"].items() for method, operation in operations.items()]
REFUSED = (401, 403, 404)


def rule_of(operation):
    """None: anybody; set(): whoever is logged in; else one of the rights."""
    words = operation["x-rule"]
    if words == "anybody":
        return None
    return set() if words == "login" else {word.strip() for word in words.split("|")}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    hive = hive_module.Hive(tmp_path_factory.mktemp("rights"))
    try:
        populate(hive)
        yield hive
    finally:
        hive.stop()


def populate(hive):
    """A stranger with one of each kind of thing; somebody with no right, and one person for each right."""
    hive.claim()
    hive.things = {"links": hive.link("tap-a"), "probes": hive.admin.get("/probes").json["items"][0]["id"]}
    stranger = hive.person("stranger", RIGHTS, all_links=True)
    hive.things["users"] = stranger.id
    hive.things["groups"] = stranger.group
    hive.things.update(give_plans(stranger, "tap-a"))
    token = stranger.post("/tokens", {"name": "theirs", "rights": ["jobs"], "expires": "2027-06-01T00:00:00Z"})
    hive.things["tokens"] = token.json["id"]
    hive.things["sessions"] = stranger.get("/sessions").json["items"][0]["id"]
    hive.things["audit"] = 1
    dataset = give_dataset(stranger, hive.folder / "theirs.pcap")
    hive.things["datasets"] = dataset
    hive.things["imports"] = stranger.get("/imports").json["items"][0]["id"]
    hive.things["notes"] = stranger.post("/notes", {"dataset_id": dataset, "text": "theirs"}).json["id"]
    share = stranger.post("/shares", {"dataset_id": dataset, "name": "theirs", "expires": soon()})
    hive.things["shares"], hive.things["secret"] = share.json["id"], share.json["secret"]
    (hive.folder / "copies").mkdir()
    place = stranger.post("/destinations", {"name": "theirs", "kind": "directory", "url": str(hive.folder / "copies")})
    hive.things["destinations"] = place.json["id"]
    hive.things["copies"] = stranger.post("/copies", {"dataset_id": dataset, "destination_id": place.json["id"]}).json["id"]
    hive.people = {"none": hive.person("none")}
    for right in RIGHTS:
        hive.people[right] = hive.person(f"only-{right}", [right])


def give_plans(client, link):
    """One of each of what somebody makes for themselves: {kind: id}."""
    job = {"name": "theirs", "links": [link]}
    made = {"jobs": client.post("/jobs", {**job, "limit_pkts": 1}),
            "rings": client.post("/rings", {**job, "ring_duration_s": 5}),
            "filters": client.post("/filters", {"name": "theirs", "expression": "udp"}),
            "templates": client.post("/templates", {"name": "theirs", "job": {**job, "limit_pkts": 1}}),
            "schedules": client.post("/schedules", {"name": "theirs", "cron": "0 0 1 1 *", "job": {**job, "limit_pkts": 1}}),
            "webhooks": client.post("/webhooks", {"name": "theirs", "url": "https://example.org/", "events": ["job.ended"]})}
    assert {answer.status for answer in made.values()} == {201}, [answer.body for answer in made.values()]
    return {kind: answer.json["id"] for kind, answer in made.items()}


def give_dataset(client, path):
    capture(path, 10)
    return bring_in(client, path.read_bytes())


def path_of(hive, pattern, operation_id):
    kind = pattern.removeprefix(API + "/").split("/")[0]
    path = pattern.replace("{id}", str(hive.things.get(kind, 1)))
    path = path.replace("{user}", str(hive.things["users"])).replace("{link}", str(hive.things["links"])).replace("{file}", "1")
    path = path.replace("{secret}", str(hive.things["secret"]))
    assert "{" not in path, operation_id
    return path


def ask(client, method, path, operation):
    """With a body or a version that is refused for what it is (422, 412), so that nothing is carried out: such an answer means: let
    in."""
    body = {"no such field": 1} if "requestBody" in operation else None
    return client.call(method, path, body, headers={"If-Match": '"9999"'} if method in ("PATCH", "DELETE") else None)


@pytest.mark.parametrize("method,path,operation", OPERATIONS, ids=lambda x: x["operationId"] if isinstance(x, dict) else None)
def test_operation_lets_in_whom_it_says(world, method, path, operation):
    rule = rule_of(operation)
    target = path_of(world, path, operation["operationId"])
    answer = ask(Client(world), method, target, operation)
    if rule is None:
        assert answer.status not in REFUSED, answer.body
        return
    assert answer.status == 401, answer.body
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    if operation["operationId"] in ("logout", "logout_everywhere"):
        return  # it would end the sessions of all that follows; test_session.py has it
    for right, person in world.people.items():
        answer = ask(person, method, target, operation)
        if rule and right not in rule:
            assert answer.status in (403, 404), f"{right} got {answer.status}: {answer.body}"
        elif "{id}" not in path:
            assert answer.status not in REFUSED, f"{right} got {answer.status}: {answer.body}"


# Who may see a stranger's thing, by right; everybody else gets 404, as if it were not there.
SEES = {"users": {"users"}, "groups": {"groups"}, "tokens": {"users"}, "sessions": set(), "probes": {"probes"}, "links": {"probes"},
        "jobs": {"jobs-all"}, "datasets": {"jobs-all"}, "shares": {"jobs-all"}, "notes": {"jobs-all"}, "imports": {"jobs-all"},
        "copies": {"jobs-all"}, "destinations": {"probes", "download"}, "filters": set(), "audit": {"audit"},
        "rings": {"jobs-all"}, "templates": set(), "schedules": {"jobs-all"}, "webhooks": set()}


@pytest.mark.parametrize("kind", SEES)
def test_what_is_a_strangers_does_not_exist(world, kind):
    patterns = [(m, p, o) for m, p, o in OPERATIONS if p.startswith(f"{API}/{kind}/{{id}}")]
    assert patterns
    for method, path, operation in patterns:
        for right, person in world.people.items():
            if right in SEES[kind] or (rule_of(operation) and right not in rule_of(operation)):
                continue
            answer = ask(person, method, path_of(world, path, ""), operation)
            assert answer.status == 404, f"{operation['operationId']} as {right}: {answer.status} {answer.body}"


@pytest.mark.parametrize("kind", SEES)
def test_lists_show_only_what_one_may_see(world, kind):
    for right, person in world.people.items():
        answer = person.get(f"/{kind}")
        if answer.status == 403:
            continue
        shown = {item["id"] for item in answer.json["items"]}
        assert (world.things[kind] in shown) == (right in SEES[kind]), f"{kind} as {right}: {answer.body}"


def test_every_kind_of_thing_is_looked_at():
    """A path with {id} whose kind is in none of the tables above would be looked at by nobody."""
    kinds = {path.removeprefix(API + "/").split("/")[0] for _, path, _ in OPERATIONS if "{id}" in path}
    assert kinds == set(SEES)


PLANS = ("jobs", "rings", "filters", "templates", "schedules", "webhooks")


def operations_of(kind):
    return [(method, path, operation) for method, path, operation in OPERATIONS if path.startswith(f"{API}/{kind}/{{id}}")]


@pytest.mark.parametrize("kind", PLANS)
def test_what_is_ones_own_is_let_in(world, kind):
    """With the plain right to make jobs, and no other, one may do everything with what one has made; with the right to see others' jobs
    alone, everything that needs no job to be made."""
    own = getattr(world, "own", None)
    if own is None:
        world.owner = world.person("owner", ["jobs"], all_links=True)
        own = world.own = give_plans(world.owner, "tap-a")
    # what ends it last, and a stream would not end
    for method, path, operation in sorted(operations_of(kind), key=lambda entry: entry[0] == "DELETE"):
        answer = ask(world.owner, method, path.replace("{id}", str(own[kind])), operation)
        assert answer.status not in REFUSED, f"{operation['operationId']}: {answer.status} {answer.body}"
        assert operation["operationId"].startswith(("list", "get")) <= (answer.status == 200)


def test_what_the_group_shares_and_what_not(world):
    """Somebody who may see the jobs of their group sees its jobs, rings and schedules, and no filters, templates and webhooks."""
    member = world.person("member2", ["jobs"], all_links=True)
    mate = world.person("mate2", ["jobs", "jobs-group"])
    assert world.admin.put(f"/groups/{member.group}/members/{mate.id}").status == 204
    theirs = give_plans(member, "tap-a")
    for kind in PLANS:
        shared = kind in ("jobs", "rings", "schedules")
        assert (theirs[kind] in {item["id"] for item in mate.get(f"/{kind}").json["items"]}) == shared, kind
        for method, path, operation in sorted(operations_of(kind), key=lambda entry: entry[0] == "DELETE"):
            answer = ask(mate, method, path.replace("{id}", str(theirs[kind])), operation)
            assert (answer.status != 404) == shared, f"{operation['operationId']}: {answer.status} {answer.body}"


def test_a_token_has_no_more_than_it_was_given(world):
    """Each operation with a token of each single right, made by somebody who has all: as if they had that right alone."""
    boss = world.person("boss", RIGHTS, all_links=True)
    tokens = {right: boss.post("/tokens", {"name": right, "rights": [right], "expires": "2027-06-01T00:00:00Z"}).json["token"]
              for right in RIGHTS}
    for method, path, operation in OPERATIONS:
        rule = rule_of(operation)
        if not rule or operation["operationId"] in ("logout", "logout_everywhere"):
            continue
        for right in set(RIGHTS) - rule:
            answer = ask(Client(world, token=tokens[right]), method, path_of(world, path, ""), operation)
            assert answer.status == 403, f"{operation['operationId']} with {right}: {answer.status} {answer.body}"


def test_a_group_shares_its_jobs(world):
    """With the right for the group's jobs one sees and steers those of its members, and with the plain right only one's own."""
    member = world.person("member", ["jobs"], all_links=True)
    mate = world.person("mate", ["jobs-group"])
    loner = world.person("loner", ["jobs"])
    for person in (mate, loner):
        assert world.admin.put(f"/groups/{member.group}/members/{person.id}").status == 204
    job = member.post("/jobs", {"name": "ours", "links": ["tap-a"], "limit_pkts": 1}).json["id"]
    assert mate.get(f"/jobs/{job}").status == 200
    assert job in {item["id"] for item in mate.get("/jobs").json["items"]}
    assert loner.get(f"/jobs/{job}").status == 404
    assert loner.post(f"/jobs/{job}/cancel").status == 404
    assert mate.get(f"/jobs/{world.things['jobs']}").status == 404
    assert mate.post(f"/jobs/{job}/cancel").status == 200


def test_every_route_of_the_program_is_described():
    """What is in the table of routes and what is in the description are the same set."""
    source = (hive_module.ROOT / "hive" / "http" / "routes.c").read_text(encoding="utf-8")
    body = source[source.index("hive_routes[] = {"):source.index("const size_t hive_routes_n")]
    routes = set()
    for line in body.splitlines():
        line = line.strip()
        if match := re.match(r'(LIST|GET|POST|PATCH|DELETE)\("([^"]+)"', line):
            name, path = match.groups()
            method = "GET" if name == "LIST" else name
            routes.add((method, API + path + ("" if name in ("LIST", "POST") else "/{id}")))
        elif match := re.match(r'ACT\("([^"]+)"', line):
            routes.add(("POST", f"{API}/jobs/{{id}}/{match[1]}"))
        elif match := re.match(r'\{ "([A-Z]+)", (API )?"([^"]+)"', line):
            routes.add((match[1], (API if match[2] else "") + match[3]))
    assert routes == {(method, path) for method, path, _ in OPERATIONS}
