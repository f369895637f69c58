# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the Python client knows all of the API: every operation of openapi.yaml is a method, and each method makes the call it is
said to make, on a real hive, whose every answer is checked; its models have the fields of the description; a refusal arrives with all its
problems; a connection that breaks, before or after the hive has acted, makes no second job and loses none; who is not proven to be the
hive gets nothing."""
import dataclasses
import hashlib
import socket
import subprocess
import threading
import time
import typing
from datetime import datetime, timedelta, timezone

import pytest

from client import OPERATIONS, PACKAGE, connect, skep, soon, watch
from hive import PASSWORD, SPEC, wait_for
from netns import Relay

import frames
import pcapfile

import skep.jobs  # noqa: E402
import skep.keeping  # noqa: E402
import skep.models  # noqa: E402
import skep.transport  # noqa: E402
from skep import values  # noqa: E402
from skep.compat import PyTCI  # noqa: E402


def methods():
    return {name: method for name in dir(skep.Hive) if hasattr(method := getattr(skep.Hive, name), "operations")}


def test_every_operation_is_a_method():
    claimed = {operation for method in methods().values() for operation in method.operations}
    assert claimed == set(OPERATIONS), f"not in the client: {set(OPERATIONS) - claimed}; not in the API: {claimed - set(OPERATIONS)}"


def test_every_field_of_a_job_can_be_said():
    names = {field: skep.jobs.HIVE_FIELDS.get(field, (field,))[0] for field in typing.get_type_hints(skep.jobs.JobFields)}
    known = set(SPEC["components"]["schemas"]["JobCreate"]["properties"])
    assert set(names.values()) | {"name", "links", "kind"} == known, set(names.values()) ^ known


def test_every_method_is_documented_and_typed():
    for name in [name for name in dir(skep.Hive) if not name.startswith("_")]:
        method = getattr(skep.Hive, name)
        assert method.__doc__, f"{name} has no docstring"
        if callable(method):
            assert "return" in method.__annotations__, f"{name} has no return type"


def test_types_hold(tmp_path):
    """mypy agrees with every annotation, and there is one on every function."""
    done = subprocess.run(["mypy", "--cache-dir", tmp_path], cwd=PACKAGE, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_models_have_the_fields_of_the_description():
    """Both ways: nothing forgotten, nothing invented."""
    schemas = SPEC["components"]["schemas"]
    checked = 0
    for name, schema in schemas.items():
        kind = getattr(skep.models, name, None)
        if kind is None or not dataclasses.is_dataclass(kind):
            continue
        have = {field.name.rstrip("_") for field in dataclasses.fields(kind)} - {"raw"}
        assert have == set(schema["properties"]), f"{name}: {have ^ set(schema['properties'])}"
        for field, about in schema["properties"].items():
            if about.get("format") == "date-time":
                assert "datetime" in str(kind.__annotations__.get(field, "datetime")), f"{name}.{field} is a time"
        checked += 1
    answers = {content["schema"].get("$ref", "").rpartition("/")[2] for operations in SPEC["paths"].values()
               for operation in operations.values() for response in operation["responses"].values()
               for content in response.get("content", {}).values()}
    missing = {name for name in answers if name and not name.endswith("List") and not hasattr(skep.models, name)}
    assert not missing, f"no model for {missing}"
    assert checked > 15


class Calls:
    """Calls methods by name, and notes which operations each has made."""

    def __init__(self, hive):
        self.hive, self.client, self.made = hive, connect(hive), set()
        self.person = watch(skep.Hive(self.client.url))  # a token cannot set passwords
        self.person.login("root", PASSWORD)

    def __call__(self, name, /, *args, refused=None, client=None, **kwargs):
        who = client or self.client
        who.seen.clear()
        result = None
        try:
            result = getattr(who, name)(*args, **kwargs)
            if hasattr(result, "__next__"):
                result = list(result)
            assert not refused, f"{name} was not refused: {result}"
        except skep.RefusedError as error:
            assert refused and isinstance(error, refused), f"{name}: {error.status} {error.code}: {error}"
        operations = set(getattr(skep.Hive, name).operations)
        assert operations & set(who.seen), f"{name} is said to be {operations}, but made {who.seen}"
        self.made |= operations & set(who.seen)
        return result


def accounts(call):
    user = call("create_user", "ann", password=PASSWORD, full_name="Ann", client=call.person)
    assert call("get_user", user).full_name == "Ann" and isinstance(user.created, datetime)
    assert call("change_user", user, full_name=None).full_name is None
    with pytest.raises(skep.ChangedError):
        call.client.change_user(user, email="ann@example.net")  # not made from what is there now
    group = call("create_group", "staff", rights=["jobs", "download"], all_links=True, quota_bytes="10GB", quota_duration="1d",
                 retention="1w")
    assert (group.quota_bytes, group.quota_duration_s, group.retention_s, group.rights) == (10**10, 86400, 604800, ["jobs", "download"])
    assert call("change_group", group.id, quota_priority="high").quota_priority == "high"
    assert call("get_group", str(group.id)).name == "staff"
    call("join_group", group, user)
    assert [member.user_id for member in call("get_members", group)] == [user.id]
    assert {one.name for one in call("get_users")} == {"root", "ann"}
    assert [one.name for one in call("get_groups", name="staff")] == ["staff"]
    ann = watch(skep.Hive(call.client.url))
    assert call("login", "ann", PASSWORD, client=ann).name == "ann"
    assert call("whoami", client=ann).rights == ["jobs", "download"]
    assert len(call("get_sessions", client=ann)) == 1
    assert call("delete_session", 10**9, client=ann, refused=skep.NotFoundError) is None
    call("logout", client=ann)
    call("whoami", client=ann, refused=skep.LoginError)
    ann.login("ann", PASSWORD)
    call("logout_everywhere", client=ann)
    call("leave_group", group, user)
    call("claim", "skep_first_wrong", "eve", PASSWORD, client=watch(skep.Hive(call.client.url)), refused=skep.RefusedError)
    token = call("create_token", "script", rights=["jobs"], expires="+1d", client=call.person)
    assert token.token and "token=" not in repr(token)
    assert timedelta(hours=23) < token.expires - datetime.now(timezone.utc) < timedelta(days=1)
    assert call("get_token", token).rights == ["jobs"] and token.id in {one.id for one in call("get_tokens")}
    call("delete_token", token)
    return group, user


def things(call, group):
    probe = call("create_probe", "p1", "http://127.0.0.1:9", "x" * 32)
    assert call("get_probe", probe).name == "p1" and len(call("get_probes")) == 1
    assert call("change_probe", probe, description="far away").description == "far away"
    link = call("create_link", "A", probe, "eth1", max_jobs=4)
    other = call("create_link", "B", probe, "eth2")
    assert call("get_link", link).max_jobs == 4 and [one.name for one in call("get_links", sort="-name")] == ["B", "A"]
    assert call("change_link", link, description="uplink").description == "uplink"
    assert call.client.link_named("A").id == link.id
    call("allow_link", group, link)
    call("disallow_link", group, link)
    saved = call("create_filter", "web", "tcp port 443", shared=True)
    assert call("get_filter", saved).expression == "tcp port 443" and [one.id for one in call("get_filters", name__has="we")] == [saved.id]
    assert call("change_filter", saved, expression="tcp port 80").expression == "tcp port 80"
    call("delete_filter", saved)
    return probe, link, other


def jobs(call, link):
    job = call("create_job", "web", [link, "B"], filter="tcp port 443", duration="1h", max_size="1.5GB", start="2038-01-01T00:00:00Z")
    assert (job.limit_duration_s, job.limit_bytes, {one.link_name for one in job.links}) == (3600, 1_500_000_000, {"A", "B"})
    assert job.start == datetime(2038, 1, 1, tzinfo=timezone.utc) and job.state == "scheduled"
    assert call("get_job", job) == job
    assert [one.id for one in call("get_jobs", state="scheduled", sort="-created")] == [job.id]
    assert call("pause_job", job).id == job.id and call("resume_job", job).id == job.id
    assert call("cancel_job", job).state == "cancelled"
    assert call("get_job_events", job)[0].job_id == job.id
    assert call("archive_job", job).archived and call("restore_job", job).archived is None
    with pytest.raises(skep.JobFailedError) as failed:
        call.client.wait(job)
    assert failed.value.job.state == "cancelled" and call.client.wait(job, check=False).has_ended
    call("stop_job", job, refused=skep.ConflictError)
    return job


def rings(call):
    ring = call("create_ring", "recorder", ["A"], ring_duration="10m", filter="udp")
    assert (ring.kind, ring.ring_duration_s, call("get_ring", ring).name) == ("ring", 600, "recorder")
    assert [one.id for one in call("get_rings", name="recorder")] == [ring.id]
    call("trigger", "recorder", before="30s", after="5s", refused=skep.RefusedError)  # its probe is not there
    with pytest.raises(skep.UsageError):
        call.client.trigger("no such ring")
    call.client.cancel_job(ring)


def plans(call, job):
    fields = skep.job_fields(links=["A"], filter="udp", duration="1h", max_size="1GB")
    assert fields == {"links": ["A"], "filter": "udp", "limit_duration_s": 3600, "limit_bytes": 10**9}
    template = call("create_template", "dns", {"name": "dns", **fields}, shared=True)
    assert call("get_template", template).job["filter"] == "udp" and len(call("get_templates")) == 1
    assert call("change_template", template, description="all names").description == "all names"
    made = call("use_template", template, filter="udp port 53", start="2038-01-01T00:00:00Z")
    assert (made.filter, made.limit_duration_s) == ("udp port 53", 3600)
    cloned = call("clone_job", made, name="again", duration="2h", start="2038-01-01T00:00:00Z")
    assert (cloned.name, cloned.filter, cloned.limit_duration_s, cloned.cloned_from) == ("again", "udp port 53", 7200, made.id)
    schedule = call("create_schedule", "nightly", "30 2 * * *", {"name": "night", **fields}, window="1h", repeat=3,
                    until="2038-01-01T00:00:00Z")
    assert (schedule.window_s, schedule.repeat, schedule.until.year, schedule.next.hour) == (3600, 3, 2038, 2)
    assert call("get_schedule", schedule).cron == "30 2 * * *" and len(call("get_schedules")) == 1
    assert call("change_schedule", schedule, disabled=True, until=None).until is None
    call("delete_schedule", schedule)
    call("delete_template", template)
    for one in (made, cloned):
        call.client.cancel_job(one)


def webhooks(call):
    hook = call("create_webhook", "pager", "https://127.0.0.1:9/hook", events=["job.ended"])
    assert hook.secret and "secret=" not in repr(hook)
    assert call("get_webhook", hook).events == ["job.ended"] and len(call("get_webhooks")) == 1
    assert call("change_webhook", hook, events=["job.ended", "job.started"]).events == ["job.started", "job.ended"]
    tested = call("test_webhook", hook)
    assert tested.event == "test" and tested.id in {one.id for one in call("get_deliveries", hook)}
    call("delete_webhook", hook)


def filters(call):
    """Probes answer these, and there is none: test_stories.py asks one."""
    call("check_filter", "udp port 53", links=["A"], refused=skep.RefusedError)
    assert call("estimate_filter", ["A"], filter="udp", seconds=1).links[0].problem
    call("enrol_probe", "nonsense", refused=skep.RefusedError)


def events(call, job):
    watched = call.client.iter_events()
    starter = threading.Timer(0.5, lambda: connect(call.hive).create_job("seen", ["A"], duration="1h", start=soon()))
    starter.start()
    event = next(event for event in watched if event.kind == "job" and event.data.name == "seen")
    assert event.data.state == "scheduled" and event.data.time.tzinfo and event.id
    starter.join()
    watched.close()
    call.client.cancel_job(event.data.job_id)
    assert list(call("iter_events", job)) == []  # it has ended


def datasets(call):
    """With what comes from a file; test_stories.py has those of captures."""
    sent = frames.mixed(300)
    path = call.folder / "web.pcap"
    pcapfile.write(path, sent)
    dataset = call("import_pcap", path, name="web")
    assert (dataset.name, dataset.state, dataset.pkts, dataset.job_id) == ("web", "whole", 300, None)
    assert call("get_dataset", dataset) == dataset and [one.id for one in call("get_datasets")] == [dataset.id]
    changed = call("change_dataset", dataset, description="old traffic", pinned=True, expires="2038-01-01T00:00:00Z")
    assert (changed.description, changed.pinned, changed.expires.year) == ("old traffic", True, 2038)
    with pytest.raises(skep.ChangedError):
        call.client.change_dataset(dataset, pinned=False)
    file, = call("get_files", dataset)
    assert call("download_file", file, call.folder).read_bytes() == path.read_bytes()
    assert [record.data for record in pcapfile.read(call("download", dataset, call.folder / "again.pcap"))[1]] == sent
    assert call("download", dataset, call.folder, format="zip").name == "web.zip"
    assert call("get_manifest", dataset).pkts == 300
    imported, = call("get_imports")
    assert call("get_import", imported).state == "done"
    call("delete_import", imported)
    return dataset


def keeping(call, dataset):
    share = call("create_share", dataset, "for Ann", expires="+1h", password=PASSWORD, max_downloads=2, client=call.person)
    assert share.secret and "secret=" not in repr(share) and call("get_share", share).downloads == 0 and len(call("get_shares")) == 1
    ann = watch(skep.Hive(call.client.url))
    link = ann.share_link(share)
    call("get_shared", link, client=ann, refused=skep.RefusedError)
    shared = call("get_shared", link, password=PASSWORD, client=ann)
    assert (shared.name, shared.pkts, shared.downloads_left) == ("web", 300, 2)
    assert len(pcapfile.read(call("download_shared", link, call.folder / "ann.pcap", password=PASSWORD, client=ann))[1]) == 300
    call("delete_share", share)
    with pytest.raises(skep.NotFoundError):
        ann.get_shared(link, password=PASSWORD)
    note = call("create_note", dataset, "looks like a scan")
    assert call("get_note", note).author == "root" and [one.id for one in call("get_notes", dataset_id=dataset.id)] == [note.id]
    assert call("change_note", note, text="is a scan").text == "is a scan"
    call("delete_note", note)
    (call.folder / "copies").mkdir()
    destination = call("create_destination", "archive", "directory", str(call.folder / "copies"))
    assert call("get_destination", destination).kind == "directory" and len(call("get_destinations")) == 1
    assert call("change_destination", destination, description="tapes").description == "tapes"
    copy = call("create_copy", dataset, destination)
    assert wait_for(lambda: call("get_copy", copy).state == "done", 30) and len(call("get_copies")) == 1
    assert list((call.folder / "copies").rglob("manifest*.json"))
    call("delete_copy", copy)
    call("delete_destination", destination)
    store = call("store")
    assert store.dataset_bytes > 0 and store.forecast
    call.client.change_dataset(dataset.id, pinned=False)
    call("delete_dataset", dataset)
    assert call("get_datasets", state="whole") == []


def system(call):
    assert call("health").status == "ok" and call("ready").status == "ok"
    assert "# HELP" in call("metrics") and call("openapi")["openapi"].startswith("3.1")
    entries = call("get_audit", limit=5)
    assert all(line.level and line.time.tzinfo for line in call("get_logs", level="info"))
    assert len(entries) == 5 and call("get_audit_entry", entries[0]).action == entries[0].action


def test_every_operation_is_called(hive, tmp_path):
    call = Calls(hive)
    call.folder = tmp_path
    group, user = accounts(call)
    probe, link, other = things(call, group)
    job = jobs(call, link)
    rings(call)
    plans(call, job)
    webhooks(call)
    filters(call)
    call("discover_links", probe, refused=skep.RefusedError)
    events(call, job)
    keeping(call, datasets(call))
    system(call)
    for name, what in (("delete_link", link), ("delete_link", other), ("delete_probe", probe), ("delete_group", group),
                       ("delete_user", user)):
        call(name, what)
    assert call.made == set(OPERATIONS), f"never called: {set(OPERATIONS) - call.made}"


def test_pages_are_asked_for_as_they_are_used(hive):
    client = connect(hive)
    for n in range(7):
        client.create_filter(f"f{n}", f"tcp port {n + 1}")
    client.seen.clear()
    names = [one.name for one in client._list(skep.Filter, "/api/v1/filters", sort="name", limit=None, where={"limit": 3})]
    assert names == [f"f{n}" for n in range(7)] and client.seen == ["list_filters"]
    pages = client._http.pages("/api/v1/filters", {"limit": 3, "sort": "name"})
    client.seen.clear()
    assert [next(pages)["name"] for _ in range(4)] == ["f0", "f1", "f2", "f3"] and len(client.seen) == 2
    assert len(list(client.get_filters(limit=5))) == 5 and list(client.get_filters(limit=0)) == []


def test_a_refusal_has_all_problems(hive):
    client = connect(hive)
    with pytest.raises(skep.InvalidError) as refusal:
        client.create_job("", ["nowhere"], duration="1h", snaplen=-1)
    problems = {one.pointer: one for one in refusal.value.problems}
    assert len(problems) >= 2 and refusal.value.status in (400, 422) and all(one.code and one.detail for one in problems.values()), problems
    with pytest.raises(skep.LoginError) as refusal:
        skep.Hive(client.url, "skep_wrong").whoami()
    assert refusal.value.code == "bad-token" and "skep_wrong" not in str(refusal.value)
    hive.person("ann", ["jobs"])
    ann = watch(skep.Hive(client.url))
    ann.login("ann", PASSWORD)
    with pytest.raises(skep.ForbiddenError):
        ann.create_user("eve")
    with pytest.raises(skep.NotFoundError):
        ann.get_job(10**6)


@pytest.mark.parametrize("wrong", ["http://hive.example.net", "hive.example.net", "https://me:secret@hive.example.net", "ftp://x",
                                   "https://hive.example.net/?token=1"])
def test_addresses_that_would_leak_a_token_are_refused(wrong):
    with pytest.raises(skep.UsageError) as refusal:
        skep.Hive(wrong, "skep_token")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("text,number", [(4096, 4096), ("64KiB", 65536), ("1.5G", 1_500_000_000), ("10GB", 10**10), ("0", 0),
                                         ("2 TiB", 2**41)])
def test_sizes(text, number):
    assert values.to_bytes(text) == number


@pytest.mark.parametrize("wrong", ["10Gb", "-1", "1.5", "ten", "1ib", "", "0.0001k"])
def test_no_sizes(wrong):
    with pytest.raises(skep.UsageError):
        values.to_bytes(wrong)


@pytest.mark.parametrize("text,number", [(90, 90), ("90", 90), ("10m", 600), ("2h", 7200), ("1.5h", 5400), ("1d", 86400), ("1w", 604800),
                                         (timedelta(minutes=1), 60), (2.0, 2), ("3000ms", 3)])
def test_durations(text, number):
    assert values.to_seconds(text) == number


@pytest.mark.parametrize("wrong", ["1y", -1, 0.5, "1h30m", float("inf"), float("nan"), "", timedelta(milliseconds=1)])
def test_no_durations(wrong):
    with pytest.raises(skep.UsageError):
        values.to_seconds(wrong)


def test_times():
    assert values.to_time("2026-11-21T20:00:00.123456789+02:00") == "2026-11-21T18:00:00.123456789Z"
    assert values.to_time(datetime(2026, 1, 1, tzinfo=timezone.utc)) == "2026-01-01T00:00:00Z"
    assert values.parse_time("2026-11-21T18:00:00.123456789Z") == datetime(2026, 11, 21, 18, 0, 0, 123456, timezone.utc)
    now = values.parse_time(values.to_time("-1h"))
    assert timedelta(minutes=59) < datetime.now(timezone.utc) - now < timedelta(minutes=61)
    for wrong in (datetime(2026, 1, 1), "yesterday", "2026-01-01", "2026-01-01T00:00:00"):
        with pytest.raises(skep.UsageError):
            values.to_time(wrong)


# --- networks that break ---

def test_an_answer_that_is_lost_makes_no_second_job(hive):
    """The connection breaks after the hive has taken the job and before it has said so."""
    token = connect(hive)._http.token
    hive.link("A")
    relay = Relay(None, hive.port, cuts=[0, 0])
    try:
        client = skep.Hive(f"http://127.0.0.1:{relay.listen}", token)
        job = client.create_job("once", ["A"], duration="1h")
        assert relay.accepted == 3
        assert [one.id for one in client.get_jobs()] == [job.id]
        relay.cuts = [0]
        client._http.session.close()
        with pytest.raises(skep.UnreachableError):
            client.stop_job(job)  # may have been carried out: the caller must look, so it is not repeated
        assert relay.accepted == 4
        wait_for(lambda: client.get_job(job).has_ended)
        saved = client.create_filter("f", "udp")
        relay.cuts = [0]
        client._http.session.close()
        client.delete_filter(saved)  # the answer to the second request is 404, and that is what was wanted
        assert list(client.get_filters()) == []
    finally:
        relay.close()


def test_a_hive_that_starts_again_is_waited_for(make_hive):
    hive = make_hive()
    hive.conf.write_text(hive.conf.read_text().replace("127.0.0.1:0", f"127.0.0.1:{hive.port}"))
    client = connect(hive, retries=8)
    hive.kill()
    with pytest.raises(skep.UnreachableError):
        skep.Hive(client.url, retries=0).health()
    starter = threading.Timer(0.5, hive.start)
    starter.start()
    assert client.health().status == "ok"
    starter.join()


def test_wait_has_a_limit(hive):
    client = connect(hive)
    hive.link("A")
    job = client.create_job("waits", ["A"], duration="1h", start=soon())
    started, seen = time.monotonic(), []
    with pytest.raises(skep.WaitTimeoutError):
        client.wait(job, timeout=1, progress=seen.append)
    assert 1 <= time.monotonic() - started < 30 and len(seen) > 1
    assert client.wait(job, until=["scheduled"]).state == "scheduled"


@pytest.fixture
def tls_hive(make_hive, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
                    certificate, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], check=True,
                   capture_output=True)
    hive = make_hive(f"tls = yes\ntls_cert = {certificate}\ntls_key = {key}\n", claim=False)
    hive.certificate = certificate
    return hive


def key_pin_of(certificate):
    """As openssl says it."""
    script = (f"openssl x509 -in {certificate} -pubkey -noout | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64")
    return "sha256//" + subprocess.run(script, shell=True, check=True, capture_output=True, text=True).stdout.strip()


def test_only_the_hive_itself_gets_the_token(tls_hive):
    url = f"https://127.0.0.1:{tls_hive.port}"
    pin = key_pin_of(tls_hive.certificate)
    with pytest.raises(skep.UntrustedError):
        skep.Hive(url, "skep_token").health()
    assert skep.Hive(url, ca_file=str(tls_hive.certificate)).health().status == "ok"
    assert skep.Hive(url, pin=pin).health().status == "ok"
    with pytest.raises(skep.UntrustedError) as refusal:
        skep.Hive(url, "skep_token", pin=f"sha256//{'A' * 43}=").whoami()
    assert pin in str(refusal.value)
    with pytest.raises(skep.UsageError):
        skep.Hive(url, ca_file="/nowhere/ca.pem").health()
    with pytest.raises(skep.UsageError):
        skep.Hive(url, pin=pin.removeprefix("sha256//"))


def test_an_import_that_breaks_goes_on(hive, tmp_path):
    """Answers are lost in the middle of it; then a second call goes on with what a first one has begun."""
    client = connect(hive)
    path = tmp_path / "big.pcap"
    sent = frames.mixed(20_000, largest=1500)
    pcapfile.write(path, sent)
    assert path.stat().st_size > skep.keeping.PIECE
    relay = Relay(None, hive.port, cuts=[None, 0, 0, 0])
    try:
        through = skep.Hive(f"http://127.0.0.1:{relay.listen}", client._http.token)
        through.whoami()
        through.close()  # the import itself begins with a new connection, of which the answer is lost
        assert through.import_pcap(path).pkts == len(sent)
    finally:
        relay.close()
    with open(path, "rb") as file:
        begun = client._begun("again", path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
    client._put(begun, path.read_bytes()[:1000])
    seen = []
    assert client.import_pcap(path, name="again", progress=lambda name, have, total: seen.append(have)).pkts == len(sent)
    assert seen[0] == 1000
    (tmp_path / "text.pcap").write_text("this is no capture, for a capture does not begin so")
    with pytest.raises(skep.SkepError) as refusal:
        client.import_pcap(tmp_path / "text.pcap")
    assert "text.pcap" in str(refusal.value)
    with pytest.raises(skep.UsageError):
        client.import_pcap(tmp_path / "nothing.pcap")


class Proxy(Relay):
    """One that is asked to CONNECT, and connects to the hive whatever it is asked for."""

    def _pass(self, source, target, left):
        if left == "head":
            while not source.recv(65536, socket.MSG_PEEK).endswith(b"\r\n\r\n"):
                time.sleep(0.01)
            self.asked = source.recv(65536)
            source.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        super()._pass(source, target, None)

    def serve(self, near, far, cut):
        threading.Thread(target=self._pass, args=(near, far, "head"), daemon=True).start()
        threading.Thread(target=self._pass, args=(far, near, None), daemon=True).start()


def test_a_pin_holds_through_a_proxy(tls_hive):
    proxy = Proxy(None, tls_hive.port)
    try:
        for pin, answer in ((key_pin_of(tls_hive.certificate), skep.LoginError), (f"sha256//{'A' * 43}=", skep.UntrustedError)):
            client = skep.Hive(f"https://127.0.0.1:{tls_hive.port}", "skep_token", pin=pin)
            client._http.session.proxies = {"https": f"http://127.0.0.1:{proxy.listen}"}
            with pytest.raises(answer):  # the hive's own, to a token that it does not know; or none, for it was not asked
                client.whoami()
            assert proxy.asked.startswith(b"CONNECT 127.0.0.1:") and b"skep_token" not in proxy.asked
            proxy.asked = b""
    finally:
        proxy.close()


# --- the older client's calls ---

def test_the_older_clients_calls(hive):
    hive.link("A")
    hive.link("B")
    tci = PyTCI("http://127.0.0.1", hive.port)
    tci.set_access_token(connect(hive)._http.token)
    job = tci.create_job(name="old", duration=3600, max_capture_data=10**9, lines="A,B", filter="udp port 53")
    assert tci.get_job_status(job).status in ("queued", "starting") and tci.get_job_status(int(job)).name == "old"
    assert [(one, one.id, one.name) for one in tci.get_jobs()] == [(job.id, job.id, "old")]
    details = tci.hive.get_job(job)
    assert (details.limit_duration_s, details.limit_bytes, sorted(one.link_name for one in details.links)) == (3600, 10**9, ["A", "B"])
    with pytest.raises(skep.InvalidError) as refusal:
        tci.create_job("old", 60, 1000, ["A"], "udp", "classify.py", ["--fast"])
    assert refusal.value.problems[0].code == "no-processing" and refusal.value.problems[0].pointer == "/script_name"
    assert len(tci.get_jobs()) == 1


def test_pip_installs_it(tmp_path):
    """From a copy of the folder: typed, and with the command."""
    copy, target = tmp_path / "python", tmp_path / "installed"
    subprocess.run(["cp", "-r", PACKAGE, copy], check=True)
    done = subprocess.run(["/usr/bin/python3", "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "--target",
                           target, copy], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (target / "skep" / "py.typed").exists()
    done = subprocess.run([target / "bin" / "skep", "--version"], env={"PYTHONPATH": str(target), "PATH": "/usr/bin"}, capture_output=True,
                          text=True, check=False)
    assert done.stdout == f"skep {skep.__version__}\n", done
