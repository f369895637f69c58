# SPDX-License-Identifier: BSD-2-Clause
"""What the hive answers with. Times are aware datetimes in UTC, sizes bytes, durations seconds; 0 is "no limit". `raw` is the answer as
it came: nanoseconds, and fields of a hive that is newer than this package. What each field means: docs/reference/hive-api.md and the
hive's own /api/v1/openapi.json."""
from __future__ import annotations

import functools
import types
import typing
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, TypeVar

from .values import parse_time

Right = Literal["jobs", "jobs-group", "jobs-all", "download", "users", "groups", "probes", "audit"]
Priority = Literal["low", "normal", "high", "critical"]
StartMode = Literal["each", "together"]
Missing = Literal["wait", "skip", "fail"]
Format = Literal["pcap", "pcapng"]

ENDED = ("done", "failed", "cancelled")
"""The states in which a job stays."""

T = TypeVar("T", bound="Answer")


def _each(kind: type["Answer"], items: list[dict[str, Any]]) -> list["Answer"]:
    return [kind.from_json(item) for item in items]


@functools.cache
def _converters(kind: Any) -> dict[str, typing.Callable[[Any], Any]]:
    """Field → what makes a Python value of JSON, for those fields that need it."""
    found: dict[str, typing.Callable[[Any], Any]] = {}
    for name, hint in typing.get_type_hints(kind).items():
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        for option in options:
            if option is datetime:
                found[name] = parse_time
            elif isinstance(option, type) and issubclass(option, Answer):
                found[name] = option.from_json
            elif typing.get_origin(option) is list:
                inner = typing.get_args(option)[0]
                if isinstance(inner, type) and issubclass(inner, Answer):
                    found[name] = functools.partial(_each, inner)
    return found


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Anything the hive answers with. A field that an older hive does not have is None; `from` is from_ here, for Python has that
    word."""
    raw: dict[str, Any] = field(repr=False, compare=False, default_factory=dict)

    @classmethod
    def from_json(cls: type[T], data: dict[str, Any]) -> T:
        make = _converters(cls)  # type: ignore[arg-type]
        known = {one.name: data.get(one.name.rstrip("_")) for one in fields(cls) if one.name != "raw"}
        return cls(raw=data, **{name: make[name](value) if value is not None and name in make else value for name, value in known.items()})


@dataclass(frozen=True, kw_only=True)
class Thing(Answer):
    """Something with an id. A change names the version that it was made from, so that nobody undoes what they have not seen."""
    id: int
    version: int


@dataclass(frozen=True, kw_only=True)
class Actor(Answer):
    """Who one is, and what one may do."""
    user_id: int
    name: str
    rights: list[Right]
    csrf: str | None


@dataclass(frozen=True, kw_only=True)
class Status(Answer):
    status: str


@dataclass(frozen=True, kw_only=True)
class User(Thing):
    name: str
    full_name: str | None
    email: str | None
    source: Literal["local", "ldap"]
    disabled: bool
    created: datetime | None
    last_login: datetime | None


@dataclass(frozen=True, kw_only=True)
class Group(Thing):
    name: str
    description: str | None
    rights: list[Right]
    all_links: bool
    quota_bytes: int
    quota_jobs: int
    quota_duration_s: int
    quota_priority: Priority
    retention_s: int
    forced_filter: str | None
    ldap_group: str | None
    created: datetime | None


@dataclass(frozen=True, kw_only=True)
class Member(Thing):
    group_id: int
    user_id: int
    source: Literal["local", "ldap"]


@dataclass(frozen=True, kw_only=True)
class Token(Thing):
    user_id: int
    name: str
    rights: list[Right]
    created: datetime | None
    expires: datetime | None
    used: datetime | None
    used_from: str | None
    revoked: datetime | None


@dataclass(frozen=True, kw_only=True)
class NewToken(Token):
    """The only time that the token itself is shown."""
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Session(Thing):
    user_id: int
    created: datetime | None
    seen: datetime | None
    address: str | None
    agent: str | None


@dataclass(frozen=True, kw_only=True)
class Probe(Thing):
    name: str
    address: str
    key_pin: str | None
    description: str | None
    disabled: bool
    created: datetime | None
    seen: datetime | None
    info: dict[str, Any] | None
    up: bool | None
    since: datetime | None
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Discovered(Answer):
    links_made: int


@dataclass(frozen=True, kw_only=True)
class Link(Thing):
    probe_id: int
    name: str
    interface: str
    description: str | None
    speed_bps: int
    max_jobs: int
    max_bps: int
    disabled: bool
    created: datetime | None
    info: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Progress(Answer):
    """How fast a job is on a link, and when it will be over if that goes on."""
    seen_pkts: int
    stored_pkts: int
    rejected_pkts: int
    dropped_pkts: int
    stored_bytes: int
    drops: dict[str, int]
    pkts_per_s: float
    bytes_per_s: float
    estimated_end: datetime | None


@dataclass(frozen=True, kw_only=True)
class JobLink(Thing):
    """A job on one of its links."""
    job_id: int
    link_id: int
    probe_id: int
    link_name: str | None
    probe_name: str | None
    state: Literal["waiting", "starting", "running", "pausing", "paused", "resuming", "stopping", "collecting", "ended"]
    result: Literal["none", "collected", "unneeded", "skipped", "failed", "lost", "cancelled", "released"]
    on_probe: bool
    capturing: bool
    alive: bool
    preempted: bool
    reason: str | None
    started: datetime | None
    ended: datetime | None
    seen_pkts: int
    stored_pkts: int
    rejected_pkts: int
    dropped_pkts: int
    stored_bytes: int
    gap: bool
    collected_pkts: int
    collected_bytes: int
    progress: Progress | None


@dataclass(frozen=True, kw_only=True)
class Job(Thing):
    """A capture on one or more links; seen_pkts = stored_pkts + rejected_pkts + dropped_pkts."""
    owner_id: int
    name: str
    filter: str | None
    forced_filter: str | None
    description: str | None
    priority: Priority
    start_mode: StartMode
    missing: Missing
    limit_duration_s: int
    limit_bytes: int
    limit_pkts: int
    link_limit_bytes: int
    link_limit_pkts: int
    snaplen: int
    trim: str | None
    sample_every: int
    sample_by_flow: bool
    format: Format
    expected_bps: int
    start: datetime | None
    created: datetime | None
    state: Literal["scheduled", "queued", "starting", "running", "paused", "draining", "collecting", "processing", "done", "failed",
                   "cancelled"]
    outcome: Literal["none", "complete", "incomplete"]
    reasons: str | None
    held: bool
    finish: Literal["no", "limit", "stop", "fail", "cancel"]
    finish_by: str | None
    started: datetime | None
    ended: datetime | None
    archived: datetime | None
    cloned_from: int | None
    seen_pkts: int
    stored_pkts: int
    rejected_pkts: int
    dropped_pkts: int
    stored_bytes: int
    kept_pkts: int
    kept_bytes: int
    kind: Literal["capture", "ring", "saved"]
    ring_duration_s: int
    ring_bytes: int
    ring_id: int | None
    from_: datetime | None
    to: datetime | None
    end: datetime | None
    schedule_id: int | None

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, kw_only=True)
class JobDetail(Job):
    links: list[JobLink]


@dataclass(frozen=True, kw_only=True)
class JobEvent(Thing):
    """One line of what happened to a job."""
    job_id: int
    time: datetime
    link_id: int | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Filter(Thing):
    """A filter with a name."""
    owner_id: int
    name: str
    expression: str
    description: str | None
    shared: bool
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Dataset(Thing):
    owner_id: int
    job_id: int | None
    name: str
    description: str | None
    state: Literal["open", "whole", "incomplete", "deleted"]
    pinned: bool
    created: datetime
    expires: datetime | None
    first: datetime | None
    last: datetime | None
    pkts: int
    bytes: int
    stored_bytes: int
    reasons: str | None


@dataclass(frozen=True, kw_only=True)
class File(Thing):
    """A file of a dataset: a segment as the probe wrote it."""
    dataset_id: int
    job_link_id: int | None
    link_name: str | None
    name: str
    bytes: int
    sha256: str
    first: datetime | None
    last: datetime | None
    pkts: int
    created: datetime


@dataclass(frozen=True, kw_only=True)
class AuditEntry(Thing):
    time: datetime
    actor: str
    address: str | None
    action: str
    object: str | None
    detail: str | None
    hash: str


@dataclass(frozen=True, kw_only=True)
class Template(Thing):
    """The fields of a job, to make jobs of."""
    owner_id: int
    name: str
    description: str | None
    shared: bool
    job: dict[str, Any]
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Schedule(Thing):
    """Jobs at times: cron is MINUTE HOUR DAY MONTH WEEKDAY in UTC."""
    owner_id: int
    name: str
    description: str | None
    disabled: bool
    cron: str
    from_: datetime | None
    until: datetime | None
    window_s: int
    repeat: int
    missed_runs: Literal["skip", "last"]
    job: dict[str, Any]
    created: datetime
    next: datetime | None
    last: datetime | None
    last_job_id: int | None
    runs: int
    missed: int
    reason: str | None


HookEvent = Literal["job.created", "job.started", "job.ended", "test"]


@dataclass(frozen=True, kw_only=True)
class Webhook(Thing):
    owner_id: int
    name: str
    url: str
    events: list[HookEvent]
    disabled: bool
    created: datetime


@dataclass(frozen=True, kw_only=True)
class NewWebhook(Webhook):
    """The only time that its secret, which signs what is sent, is shown."""
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Delivery(Thing):
    """What was sent to a webhook, and what came of it."""
    webhook_id: int
    event: HookEvent
    job_id: int | None
    created: datetime
    state: Literal["waiting", "done", "failed"]
    attempts: int
    next: datetime | None
    done: datetime | None
    status: int
    answer: str | None


@dataclass(frozen=True, kw_only=True)
class FilterAnswer(Answer):
    """Is a filter right? If not: error, with the column where, and a hint."""
    ok: bool
    probe: str
    column: int | None
    error: str | None
    hint: str | None
    cbpf_insns: int | None
    ebpf_insns: int | None
    verified: bool | None


@dataclass(frozen=True, kw_only=True)
class Rate(Answer):
    pkts: float
    pkts_per_s: float
    bits_per_s: float
    bytes_per_hour: float


@dataclass(frozen=True, kw_only=True)
class LinkRate(Answer):
    """Of one link; problem says why it has no figures."""
    link_id: int
    link: str
    pkts: float | None
    pkts_per_s: float | None
    bits_per_s: float | None
    bytes_per_hour: float | None
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Estimate(Answer):
    """How much a filter would match, measured for some seconds."""
    seconds: int
    total: Rate
    links: list[LinkRate]


@dataclass(frozen=True, kw_only=True)
class LogLine(Answer):
    id: int
    time: datetime
    level: Literal["error", "warning", "info", "debug"]
    text: str


@dataclass(frozen=True, kw_only=True)
class Account(Answer):
    """seen = stored + rejected + all dropped, of which each reason has its own number."""
    seen_pkts: int | None
    stored_pkts: int | None
    rejected_pkts: int | None
    dropped: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Manifest(Answer):
    """What a dataset is, where it comes from, and what it lacks; docs/reference/dataset-manifest.md says what is in job, links and
    files."""
    skep_manifest: int
    dataset: int
    name: str | None
    created: datetime | None
    hive: str | None
    software: str
    complete: bool
    reasons: list[str]
    first: datetime | None
    last: datetime | None
    pkts: int
    stored_bytes: int
    job: dict[str, Any] | None
    links: list[dict[str, Any]]
    files: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class News(Answer):
    """Data of an event; of "gap", nothing is known."""
    owner_id: int | None
    job_id: int | None
    time: datetime | None


@dataclass(frozen=True, kw_only=True)
class JobNews(News):
    """A job is new, or has a new state."""
    name: str
    state: str
    outcome: str


@dataclass(frozen=True, kw_only=True)
class LinkNews(News):
    """A job on one of its links has a new state."""
    link: str
    link_id: int
    state: str
    result: str


@dataclass(frozen=True, kw_only=True)
class ProgressNews(News):
    """How far a job is on a link, each second while it captures."""
    link: str
    link_id: int
    state: str
    seen_pkts: int
    stored_pkts: int
    rejected_pkts: int
    dropped_pkts: int
    stored_bytes: int
    drops: dict[str, int]
    pkts_per_s: float
    bytes_per_s: float
    estimated_end: datetime | None


@dataclass(frozen=True, kw_only=True)
class Share(Thing):
    """A link to a dataset for people without an account."""
    dataset_id: int
    owner_id: int
    created: datetime
    expires: datetime
    downloads: int
    used: datetime | None
    name: str
    max_downloads: int


@dataclass(frozen=True, kw_only=True)
class NewShare(Share):
    """The only time that its secret is shown."""
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Shared(Answer):
    """What somebody shares with me."""
    name: str
    description: str | None
    state: Literal["whole", "incomplete"]
    pkts: int
    stored_bytes: int
    first: datetime | None
    last: datetime | None
    expires: datetime
    downloads_left: int | None


@dataclass(frozen=True, kw_only=True)
class Note(Thing):
    dataset_id: int
    author_id: int | None
    author: str
    text: str
    created: datetime
    changed: datetime | None


@dataclass(frozen=True, kw_only=True)
class Import(Thing):
    """A capture that is brought in as a dataset."""
    owner_id: int
    name: str
    bytes: int
    sha256: str | None
    received_bytes: int
    state: Literal["open", "checking", "done", "failed"]
    reason: str | None
    dataset_id: int | None
    created: datetime
    changed: datetime


@dataclass(frozen=True, kw_only=True)
class Destination(Thing):
    """Where datasets can be copied to."""
    name: str
    kind: Literal["directory", "s3", "sftp"]
    url: str
    user: str | None
    region: str | None
    host_key: str | None
    description: str | None
    disabled: bool
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Copy(Thing):
    """A dataset on its way to a destination, or there."""
    dataset_id: int
    destination_id: int
    owner_id: int
    state: Literal["waiting", "running", "done", "failed"]
    bytes: int
    done_bytes: int
    reason: str | None
    created: datetime
    ended: datetime | None


@dataclass(frozen=True, kw_only=True)
class Store(Answer):
    """The room for datasets; forecast says in words when it is full."""
    total_bytes: int
    free_bytes: int
    reserve_bytes: int
    dataset_bytes: int
    growth_bytes_s: int
    full_in_s: int | None
    forecast: str
