# SPDX-License-Identifier: BSD-2-Clause
"""What happens to jobs, as it happens: server-sent events, gone on with after the last one when a connection breaks."""
from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Iterator

import requests

from .calls import Calls, Ref, id_of, operation
from .errors import BusyError, UnreachableError
from .jobs import AWAY_S
from .models import ENDED, JobDetail, JobNews, LinkNews, News, ProgressNews
from .transport import innermost

KINDS: dict[str, type[News]] = {"job": JobNews, "link": LinkNews, "progress": ProgressNews}


@dataclass(frozen=True)
class Event:
    """kind: "job", "link" or "progress", with data of that kind; "gap": some were missed, so look again. id: to go on after it."""
    kind: str
    id: str
    data: News


def parse(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    """(event, id, data) of a stream, as the HTML standard's chapter on server-sent events says; a comment is an event without a name."""
    kind, last_id = "message", ""
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield kind, last_id, "\n".join(data)
            kind, data = "message", []
            continue
        if line[0] == ":":
            yield "", last_id, ""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            last_id = value
        elif name == "data":
            data.append(value)


def _lines(response: requests.Response) -> Iterator[str]:
    """The lines as they come: a whole chunk at a time where the answer has chunks, else byte by byte, for a larger read would wait."""
    rest = b""
    for piece in response.iter_content(None if "chunked" in response.headers.get("Transfer-Encoding", "") else 1):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")


class EventCalls(Calls):
    @operation("watch")
    def iter_events(self, job: Ref | None = None, *, last_event_id: str | None = None) -> Iterator[Event]:
        """What happens to a job until it has ended, or to all jobs that you may see, for ever.

        last_event_id: go on after this event (among the last 8192). A broken connection is made anew, after the last event that
        came, also to a hive that was started again; UnreachableError comes when it was away for a quarter of an hour.
        """
        failures, answered = 0, time.monotonic()
        query = {"job_id": id_of(job)} if job is not None else {}
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_event_id} if last_event_id else {})}
            try:
                with self._http.request("GET", "/api/v1/events", query=query, headers=headers, stream=True) as response:
                    if job is not None and not last_event_id and self._ended(job):
                        return
                    over = False
                    for kind, event_id, text in parse(_lines(response)):
                        failures, answered = 0, time.monotonic()
                        if not kind:  # a sign of life, each 15 s; the second one after the end: that event will not come any more
                            if over:
                                return
                            over = job is not None and self._ended(job)
                            continue
                        last_event_id = event_id or last_event_id
                        data: dict[str, Any] = json.loads(text)
                        yield Event(kind, event_id, KINDS.get(kind, News).from_json(data))
                        if job is not None and ((kind == "job" and data["state"] in ENDED) or (kind == "gap" and self._ended(job))):
                            return
            except (requests.exceptions.RequestException, UnreachableError, BusyError) as error:
                failures += 1
                if time.monotonic() - answered > AWAY_S:
                    raise UnreachableError(f"{self._http.url}: {innermost(error)}") from error
            time.sleep(min(5.0, 0.2 * 2 ** failures))

    def _ended(self, job: Ref) -> bool:
        return JobDetail.from_json(self._http.get(f"/api/v1/jobs/{id_of(job)}")).has_ended
