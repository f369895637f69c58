# SPDX-License-Identifier: BSD-2-Clause
"""Calls about captures: jobs and what happens to them, saved filters."""
from __future__ import annotations

import time
from typing import Any, Callable, Iterator, Literal, Sequence, TypedDict, Unpack

from .calls import UNSET, Calls, Ref, Unset, given, id_of, operation
from .errors import BusyError, JobFailedError, UnreachableError, WaitTimeoutError, not_found
from .models import (Estimate, Filter, FilterAnswer, Format, Job, JobDetail, JobEvent, Link, Missing, Priority, StartMode)
from .values import Duration, Size, Time, to_bytes, to_seconds, to_time

Links = Literal["*"] | str | Link | Sequence[str | Link]
"""Names of links, or "*": all that you may use."""


class JobFields(TypedDict, total=False):
    """What can be said of a job. max_* and duration are limits, of which a capture needs one at least: max_size and max_pkts of all links
    together, link_max_* of each, duration of each link's capture; end: over at the latest. start_mode: each link when it is free, or all
    together. missing: what becomes of links whose probe cannot be reached. trim, sample_*, snaplen: store less of what matches."""
    filter: str | None
    duration: Duration
    max_size: Size
    max_pkts: int
    link_max_size: Size
    link_max_pkts: int
    start: Time
    end: Time
    priority: Priority
    start_mode: StartMode
    missing: Missing
    snaplen: int
    trim: str | None
    sample_every: int
    sample_by_flow: bool
    format: Format
    expected_bps: int
    description: str | None
    ring_duration: Duration
    ring_size: Size


class JobChanges(JobFields, total=False):
    """What is to be other than in the job or template that a job is made of."""
    name: str
    links: Links


AWAY_S = 900
"""How long a hive may be away from those who wait for what happens on it."""


def link_names(links: Links, what: str = "links") -> str | list[str]:
    if links == "*" or links == ["*"]:
        return "*"
    if isinstance(links, (str, Link)):
        links = [links]
    return [link.name if isinstance(link, Link) else str(link) for link in links]


# Ours -> the hive's, and how the value becomes the hive's. What is not here is the same there.
HIVE_FIELDS: dict[str, tuple[str, Callable[[Any, str], Any] | None]] = {
    "duration": ("limit_duration_s", to_seconds), "max_size": ("limit_bytes", to_bytes), "max_pkts": ("limit_pkts", None),
    "link_max_size": ("link_limit_bytes", to_bytes), "link_max_pkts": ("link_limit_pkts", None), "start": ("start", to_time),
    "end": ("end", to_time), "ring_duration": ("ring_duration_s", to_seconds), "ring_size": ("ring_bytes", to_bytes),
    "links": ("links", link_names),
}


def job_fields(**fields: Unpack[JobChanges]) -> dict[str, Any]:
    """Fields of a job as the hive takes them, for templates and schedules: job_fields(links=["A"], filter="quic", duration="1h").
    Names that are not known here go as they are: the hive may be newer."""
    body = {}
    for name, value in fields.items():
        if value is UNSET:
            continue
        field, convert = HIVE_FIELDS.get(name, (name, None))
        body[field] = convert(value, field) if convert and value is not None else value
    return body


class JobCalls(Calls):
    @operation("list_jobs")
    def get_jobs(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Job]:
        """Jobs that you may see: get_jobs(state="running"), get_jobs(name__has="quic", created__ge="2026-01-01T00:00:00Z",
        sort="-created")."""
        return self._list(Job, "/api/v1/jobs", sort=sort, limit=limit, where=where)

    @operation("get_job")
    def get_job(self, job: Ref) -> JobDetail:
        """One job, with its links."""
        return JobDetail.from_json(self._http.get(f"/api/v1/jobs/{id_of(job)}"))

    @operation("create_job")
    def create_job(self, name: str, links: Links, *, key: str | None = None, **fields: Unpack[JobFields]) -> JobDetail:
        """Asks for a capture on links, with at least one limit.

            create_job("QUIC", ["A", "B"], filter="quic", max_size="10GB", duration="1d")

        links: names, or "*". fields: see JobFields. key: the Idempotency-Key; the same one twice makes one job. Raises InvalidError with
        all problems at once."""
        body = {"name": name, "links": link_names(links), **job_fields(**fields)}
        return JobDetail.from_json(self._http.create("/api/v1/jobs", body, key))

    @operation("clone_job")
    def clone_job(self, job: Ref, *, key: str | None = None, **changes: Unpack[JobChanges]) -> JobDetail:
        """Makes a job like this one, but for the changes."""
        return JobDetail.from_json(self._http.create(f"/api/v1/jobs/{id_of(job)}/clone", job_fields(**changes), key))

    def _act(self, job: Ref, word: str) -> JobDetail:
        return JobDetail.from_json(self._http.post(f"/api/v1/jobs/{id_of(job)}/{word}"))

    @operation("stop_job")
    def stop_job(self, job: Ref) -> JobDetail:
        """Ends a job and keeps what it captured."""
        return self._act(job, "stop")

    @operation("cancel_job")
    def cancel_job(self, job: Ref) -> JobDetail:
        """Ends a job and throws away what it captured."""
        return self._act(job, "cancel")

    @operation("pause_job")
    def pause_job(self, job: Ref) -> JobDetail:
        """Pauses a job: what passes meanwhile is not part of it."""
        return self._act(job, "pause")

    @operation("resume_job")
    def resume_job(self, job: Ref) -> JobDetail:
        """Goes on with a paused job."""
        return self._act(job, "resume")

    @operation("archive_job")
    def archive_job(self, job: Ref) -> JobDetail:
        """Puts a job that has ended out of the way."""
        return self._act(job, "archive")

    @operation("restore_job")
    def restore_job(self, job: Ref) -> JobDetail:
        """Brings a job back from the archive."""
        return self._act(job, "restore")

    @operation("list_job_events")
    def get_job_events(self, job: Ref, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[JobEvent]:
        """What has happened to a job, oldest first."""
        return self._list(JobEvent, f"/api/v1/jobs/{id_of(job)}/events", sort=sort, limit=limit, where=where)

    def wait(self, job: Ref, *, timeout: Duration | None = None, until: Sequence[str] = (), check: bool = True,
             progress: Callable[[JobDetail], None] | None = None) -> JobDetail:
        """Waits until a job has ended, or is in one of the states `until`; returns it.

        check: raise JobFailedError unless it is done. progress: called with what is known, each time. Raises WaitTimeoutError after
        `timeout`; the job goes on. Restarts of the hive are waited through; UnreachableError comes when it was away for a quarter of an
        hour.
        """
        end = None if timeout is None else time.monotonic() + to_seconds(timeout, "timeout")
        pause, answered = 0.1, time.monotonic()
        while True:
            try:
                seen = self.get_job(job)
                answered = time.monotonic()
            except (UnreachableError, BusyError):
                if time.monotonic() - answered > AWAY_S or (end is not None and time.monotonic() > end):
                    raise
                time.sleep(1)
                continue
            if progress:
                progress(seen)
            if seen.has_ended or seen.state in until:
                break
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise WaitTimeoutError(f"job {seen.id} is still {seen.state} after {timeout}")
            time.sleep(min(pause, left) if left is not None else pause)
            pause = min(pause * 1.5, 2.0)
        if check and seen.has_ended and seen.state != "done" and seen.state not in until:
            raise JobFailedError(f"job {seen.id} has {'failed' if seen.state == 'failed' else 'been cancelled'}"
                                 f"{f': {seen.reasons}' if seen.reasons else ''}", seen)
        return seen

    # --- saved filters ---

    @operation("list_filters")
    def get_filters(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Filter]:
        """Saved filters: mine, and those that others share."""
        return self._list(Filter, "/api/v1/filters", sort=sort, limit=limit, where=where)

    @operation("get_filter")
    def get_filter(self, filter: Ref) -> Filter:
        """One saved filter."""
        return Filter.from_json(self._http.get(f"/api/v1/filters/{id_of(filter)}"))

    @operation("create_filter")
    def create_filter(self, name: str, expression: str, *, description: str | None | Unset = UNSET, shared: bool | Unset = UNSET,
                      key: str | None = None) -> Filter:
        """Saves a filter under a name."""
        body = given(name=name, expression=expression, description=description, shared=shared)
        return Filter.from_json(self._http.create("/api/v1/filters", body, key))

    @operation("change_filter")
    def change_filter(self, filter: Ref, *, name: str | Unset = UNSET, expression: str | Unset = UNSET,
                      description: str | None | Unset = UNSET, shared: bool | Unset = UNSET) -> Filter:
        """Changes a saved filter; jobs keep theirs."""
        return self._change(Filter, "/api/v1/filters", filter, given(name=name, expression=expression, description=description,
                                                                     shared=shared))

    @operation("delete_filter")
    def delete_filter(self, filter: Ref) -> None:
        """Removes a saved filter."""
        self._http.delete(f"/api/v1/filters/{id_of(filter)}")

    @operation("check_filter")
    def check_filter(self, filter: str, *, links: Links | Unset = UNSET) -> FilterAnswer:
        """Is a filter right? Asked of a probe of the links (default: any)."""
        body = given(filter=filter, links=UNSET if links is UNSET else link_names(links))
        return FilterAnswer.from_json(self._http.post("/api/v1/filters/check", body))

    @operation("estimate_filter")
    def estimate_filter(self, links: Links, *, filter: str | None | Unset = UNSET, seconds: int | Unset = UNSET) -> Estimate:
        """How much would a filter match on links? Measured by their probes for 1 to 30 seconds (default: 5)."""
        body = given(links=link_names(links), filter=filter, seconds=seconds)
        return Estimate.from_json(self._http.post("/api/v1/filters/estimate", body))

    def link_named(self, name: str) -> Link:
        """The link with this name."""
        for found in self._list(Link, "/api/v1/links", sort=None, limit=1, where={"name": name}):
            return found
        raise not_found(f'there is no link "{name}" that you may use')
