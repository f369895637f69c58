# SPDX-License-Identifier: BSD-2-Clause
"""Calls about captures that are there before they are wanted: rings (flight recorders), templates, schedules; and webhooks, which tell
others."""
from __future__ import annotations

from typing import Any, Iterator, Literal, Mapping, Sequence, Unpack

from .calls import UNSET, Calls, Ref, Unset, given, id_of, operation
from .errors import UsageError
from .jobs import JobChanges, JobFields, Links, job_fields, link_names
from .models import Delivery, HookEvent, Job, JobDetail, NewWebhook, Schedule, Template, Thing, Webhook
from .values import Duration, Time, to_seconds, to_time


class PlanCalls(Calls):
    # --- rings ---

    @operation("list_rings")
    def get_rings(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Job]:
        """Rings that you may see; they are jobs of kind "ring"."""
        return self._list(Job, "/api/v1/rings", sort=sort, limit=limit, where=where)

    @operation("get_ring")
    def get_ring(self, ring: Ref) -> JobDetail:
        """One ring, with its links."""
        return JobDetail.from_json(self._http.get(f"/api/v1/rings/{id_of(ring)}"))

    @operation("create_ring")
    def create_ring(self, name: str, links: Links, *, key: str | None = None, **fields: Unpack[JobFields]) -> JobDetail:
        """Keeps the last packets of links until stop_job(): ring_duration="10m", or ring_size="10GB" of each link. No limits."""
        body = {"name": name, "links": link_names(links), **job_fields(**fields)}
        return JobDetail.from_json(self._http.create("/api/v1/rings", body, key))

    @operation("trigger_ring")
    def trigger(self, ring: Ref, *, before: Duration | Unset = UNSET, after: Duration | Unset = UNSET, name: str | Unset = UNSET,
                filter: str | None | Unset = UNSET, description: str | None | Unset = UNSET, key: str | None = None) -> JobDetail:
        """Saves what a ring has, from `before` ago until `after` from now, as a job with a dataset; the ring goes on.

        ring: it, its id, or the name of one that runs. Whole files of the ring are kept, so the first and the last packets may be
        outside."""
        if isinstance(ring, str) and not ring.isdigit():
            ring = self._ring_named(ring)
        body = given(name=name, filter=filter, description=description)
        for field, value in (("before_s", before), ("after_s", after)):
            if value is not UNSET:
                body[field] = to_seconds(value, field)
        return JobDetail.from_json(self._http.create(f"/api/v1/rings/{id_of(ring)}/trigger", body, key))

    def _ring_named(self, name: str) -> Thing:
        found = [ring for ring in self.get_rings(name=name) if not ring.has_ended]
        if len(found) != 1:
            raise UsageError(f'{"no ring" if not found else "more than one ring"} "{name}" runs')
        return found[0]

    # --- templates ---

    @operation("list_templates")
    def get_templates(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Template]:
        """Templates: mine, and those that others share."""
        return self._list(Template, "/api/v1/templates", sort=sort, limit=limit, where=where)

    @operation("get_template")
    def get_template(self, template: Ref) -> Template:
        """One template."""
        return Template.from_json(self._http.get(f"/api/v1/templates/{id_of(template)}"))

    @operation("create_template")
    def create_template(self, name: str, job: Mapping[str, Any], *, shared: bool | Unset = UNSET, description: str | None | Unset = UNSET,
                        key: str | None = None) -> Template:
        """Keeps fields of a job (see job_fields()) under a name."""
        body = given(name=name, job=dict(job), shared=shared, description=description)
        return Template.from_json(self._http.create("/api/v1/templates", body, key))

    @operation("change_template")
    def change_template(self, template: Ref, *, name: str | Unset = UNSET, job: Mapping[str, Any] | Unset = UNSET,
                        shared: bool | Unset = UNSET, description: str | None | Unset = UNSET) -> Template:
        """Changes a template; jobs that were made of it stay as they are."""
        return self._change(Template, "/api/v1/templates", template, given(name=name, job=job, shared=shared, description=description))

    @operation("delete_template")
    def delete_template(self, template: Ref) -> None:
        """Removes a template."""
        self._http.delete(f"/api/v1/templates/{id_of(template)}")

    @operation("use_template")
    def use_template(self, template: Ref, *, key: str | None = None, **changes: Unpack[JobChanges]) -> JobDetail:
        """Makes a job of a template, with changes."""
        return JobDetail.from_json(self._http.create(f"/api/v1/templates/{id_of(template)}/jobs", job_fields(**changes), key))

    # --- schedules ---

    @operation("list_schedules")
    def get_schedules(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Schedule]:
        """Schedules that you may see."""
        return self._list(Schedule, "/api/v1/schedules", sort=sort, limit=limit, where=where)

    @operation("get_schedule")
    def get_schedule(self, schedule: Ref) -> Schedule:
        """One schedule."""
        return Schedule.from_json(self._http.get(f"/api/v1/schedules/{id_of(schedule)}"))

    @staticmethod
    def _times(from_: Time | None | Unset, until: Time | None | Unset, window: Duration | Unset, **values: Any) -> dict[str, Any]:
        body = given(**values)
        for field, value in (("from", from_), ("until", until)):
            if value is not UNSET:
                body[field] = None if value is None else to_time(value, field)
        if window is not UNSET:
            body["window_s"] = to_seconds(window, "window")
        return body

    @operation("create_schedule")
    def create_schedule(self, name: str, cron: str, job: Mapping[str, Any], *, from_: Time | None | Unset = UNSET,
                        until: Time | None | Unset = UNSET, window: Duration | Unset = UNSET, repeat: int | Unset = UNSET,
                        missed_runs: Literal["skip", "last"] | Unset = UNSET, disabled: bool | Unset = UNSET,
                        description: str | None | Unset = UNSET, key: str | None = None) -> Schedule:
        """Makes jobs at times. cron: MINUTE HOUR DAY MONTH WEEKDAY in UTC, or @hourly, @daily, …; job: see job_fields(); window: each run
        ends so long after its time; repeat: so many runs; missed_runs: of times when the hive was down, forget them or make up for the
        last."""
        body = self._times(from_, until, window, name=name, cron=cron, job=dict(job), repeat=repeat, missed_runs=missed_runs,
                           disabled=disabled, description=description)
        return Schedule.from_json(self._http.create("/api/v1/schedules", body, key))

    @operation("change_schedule")
    def change_schedule(self, schedule: Ref, *, name: str | Unset = UNSET, cron: str | Unset = UNSET,
                        job: Mapping[str, Any] | Unset = UNSET, from_: Time | None | Unset = UNSET, until: Time | None | Unset = UNSET,
                        window: Duration | Unset = UNSET, repeat: int | Unset = UNSET, missed_runs: Literal["skip", "last"] | Unset = UNSET,
                        disabled: bool | Unset = UNSET, description: str | None | Unset = UNSET) -> Schedule:
        """Changes a schedule; jobs that it has made stay as they are."""
        body = self._times(from_, until, window, name=name, cron=cron, job=job, repeat=repeat, missed_runs=missed_runs, disabled=disabled,
                           description=description)
        return self._change(Schedule, "/api/v1/schedules", schedule, body)

    @operation("delete_schedule")
    def delete_schedule(self, schedule: Ref) -> None:
        """Removes a schedule."""
        self._http.delete(f"/api/v1/schedules/{id_of(schedule)}")

    # --- webhooks ---

    @operation("list_webhooks")
    def get_webhooks(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Webhook]:
        """Webhooks of mine."""
        return self._list(Webhook, "/api/v1/webhooks", sort=sort, limit=limit, where=where)

    @operation("get_webhook")
    def get_webhook(self, webhook: Ref) -> Webhook:
        """One webhook; never its secret."""
        return Webhook.from_json(self._http.get(f"/api/v1/webhooks/{id_of(webhook)}"))

    @operation("create_webhook")
    def create_webhook(self, name: str, url: str, *, events: Sequence[HookEvent], disabled: bool | Unset = UNSET,
                       key: str | None = None) -> NewWebhook:
        """Has the hive tell an address what happens to my jobs. The secret with which it signs is shown this once."""
        body = given(name=name, url=url, events=list(events), disabled=disabled)
        return NewWebhook.from_json(self._http.create("/api/v1/webhooks", body, key))

    @operation("change_webhook")
    def change_webhook(self, webhook: Ref, *, name: str | Unset = UNSET, url: str | Unset = UNSET,
                       events: Sequence[HookEvent] | Unset = UNSET, disabled: bool | Unset = UNSET) -> Webhook:
        """Changes a webhook."""
        return self._change(Webhook, "/api/v1/webhooks", webhook, given(name=name, url=url, events=events, disabled=disabled))

    @operation("delete_webhook")
    def delete_webhook(self, webhook: Ref) -> None:
        """Removes a webhook."""
        self._http.delete(f"/api/v1/webhooks/{id_of(webhook)}")

    @operation("list_deliveries")
    def get_deliveries(self, webhook: Ref, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Delivery]:
        """What was sent to a webhook, and what came of it."""
        return self._list(Delivery, f"/api/v1/webhooks/{id_of(webhook)}/deliveries", sort=sort, limit=limit, where=where)

    @operation("test_webhook")
    def test_webhook(self, webhook: Ref) -> Delivery:
        """Sends an event of kind "test" soon."""
        return Delivery.from_json(self._http.post(f"/api/v1/webhooks/{id_of(webhook)}/test"))
