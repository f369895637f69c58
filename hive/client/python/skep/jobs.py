# SPDX-License-Identifier: BSD-2-Clause
"""Calls about captures: jobs and what happens to them, saved filters."""
from __future__ import annotations

import time
from typing import Any, Callable, Iterator, Literal, Sequence

from .calls import UNSET, Calls, Ref, Unset, given, id_of, operation
from .errors import JobFailedError, UsageError, WaitTimeoutError
from .models import Filter, Format, Job, JobDetail, JobEvent, Link, Missing, Priority, StartMode
from .values import Duration, Size, Time, to_bytes, to_seconds, to_time

Links = Literal["*"] | str | Link | Sequence[str | Link]
"""Names of links, or "*": all that you may use."""


def link_names(links: Links) -> str | list[str]:
    if links == "*" or links == ["*"]:
        return "*"
    if isinstance(links, (str, Link)):
        links = [links]
    return [link.name if isinstance(link, Link) else str(link) for link in links]


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
    def create_job(self, name: str, links: Links, *, filter: str | None | Unset = UNSET, duration: Duration | Unset = UNSET,
                   max_size: Size | Unset = UNSET, max_pkts: int | Unset = UNSET, link_max_size: Size | Unset = UNSET,
                   link_max_pkts: int | Unset = UNSET, snaplen: int | Unset = UNSET, sample_every: int | Unset = UNSET,
                   sample_by_flow: bool | Unset = UNSET, format: Format | Unset = UNSET, priority: Priority | Unset = UNSET,
                   start: Time | Unset = UNSET, start_mode: StartMode | Unset = UNSET, missing: Missing | Unset = UNSET,
                   expected_bps: int | Unset = UNSET, description: str | None | Unset = UNSET, key: str | None = None,
                   **more: Any) -> JobDetail:
        """Asks for a capture on links, with at least one limit.

        links: names, or "*". filter: which packets; none is all. duration ("1d"), max_size ("10GB"), max_pkts: of all links together,
        duration of each; link_max_*: of each link. start_mode: each link when it is free, or all together. missing: what becomes of links
        whose probe cannot be reached. key: the Idempotency-Key; the same one twice makes one job. more: fields that are newer than this
        package, as the hive names them. Raises InvalidError with all problems at once.
        """
        body = given(name=name, links=link_names(links), filter=filter, limit_pkts=max_pkts, link_limit_pkts=link_max_pkts, snaplen=snaplen,
                     sample_every=sample_every, sample_by_flow=sample_by_flow, format=format, priority=priority, start_mode=start_mode,
                     missing=missing, expected_bps=expected_bps, description=description, **more)
        for field, value, convert in (("limit_duration_s", duration, to_seconds), ("limit_bytes", max_size, to_bytes),
                                      ("link_limit_bytes", link_max_size, to_bytes), ("start", start, to_time)):
            if value is not UNSET and value is not None:
                body[field] = convert(value, field)  # type: ignore[operator]
        return JobDetail.from_json(self._http.create("/api/v1/jobs", body, key))

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
        `timeout`; the job goes on. Restarts of the hive are waited through. """
        end = None if timeout is None else time.monotonic() + to_seconds(timeout, "timeout")
        pause = 0.1
        while True:
            seen = self.get_job(job)
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

    def link_named(self, name: str) -> Link:
        """The link with this name."""
        for found in self._list(Link, "/api/v1/links", sort=None, limit=1, where={"name": name}):
            return found
        raise UsageError(f'there is no link "{name}" that you may use')
