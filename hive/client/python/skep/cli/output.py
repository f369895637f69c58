# SPDX-License-Identifier: BSD-2-Clause
"""What a command prints: a table for people, JSON and CSV for programs (the hive's own fields and spelling); progress on stderr, and only
where somebody looks."""
from __future__ import annotations

import csv
import json
import os
import sys
import time
import unicodedata
from datetime import datetime, timezone
from typing import Any, Iterable, Iterator

from ..models import Answer, JobDetail
from ..values import show_bytes

# What a list shows; --columns asks for others.
COLUMNS = {
    "User": ["id", "name", "full_name", "email", "source", "disabled", "last_login"],
    "Group": ["id", "name", "rights", "all_links", "quota_bytes", "quota_jobs", "quota_duration_s", "forced_filter"],
    "Member": ["user_id", "source"],
    "Token": ["id", "user_id", "name", "rights", "expires", "used", "revoked"],
    "Session": ["id", "user_id", "created", "seen", "address", "agent"],
    "Probe": ["id", "name", "address", "disabled", "seen", "description"],
    "Link": ["id", "name", "probe_id", "interface", "speed_bps", "disabled", "description"],
    "Job": ["id", "name", "state", "outcome", "filter", "stored_pkts", "stored_bytes", "dropped_pkts", "created"],
    "JobEvent": ["time", "link_id", "text"],
    "Filter": ["id", "name", "expression", "shared", "description"],
    "Dataset": ["id", "name", "job_id", "state", "pkts", "stored_bytes", "first", "last", "pinned"],
    "Share": ["id", "name", "dataset_id", "expires", "downloads", "max_downloads", "used"],
    "Note": ["id", "dataset_id", "author", "created", "text"],
    "Import": ["id", "name", "state", "bytes", "received_bytes", "dataset_id", "reason"],
    "Destination": ["id", "name", "kind", "url", "disabled", "description"],
    "Copy": ["id", "dataset_id", "destination_id", "state", "done_bytes", "bytes", "reason"],
    "File": ["id", "name", "link_name", "pkts", "bytes", "first", "last"],
    "Template": ["id", "name", "shared", "description", "job"],
    "Schedule": ["id", "name", "cron", "next", "last_job_id", "runs", "missed", "disabled"],
    "Webhook": ["id", "name", "url", "events", "disabled"],
    "Delivery": ["id", "event", "job_id", "state", "attempts", "status", "created"],
    "LogLine": ["time", "level", "text"],
    "AuditEntry": ["id", "time", "actor", "address", "action", "object"],
}
_NUMBERS = ("_pkts", "_bytes", "_bps", "_jobs", "_s", "_id")


def printable(text: str) -> str:
    """What came from a hive does not drive the terminal: control characters are shown as "?"."""
    return "".join("?" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") else char for char in text)


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def cell(value: Any) -> str:
    """A value for people and for CSV."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(cell(one) for one in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _table_cell(name: str, value: Any) -> str:
    text = printable(cell(value))
    if len(text) > 20 and text[10:11] == "T" and text.endswith("Z"):
        return text[:19] + "Z"  # seconds are enough for a look
    if name.endswith("bytes") and isinstance(value, int):
        return show_bytes(value) if value else "0"
    return text


def columns_of(kind: str, row: dict[str, Any], asked: str | None) -> list[str]:
    if asked == "all":
        return list(row)
    if asked:
        return [name.strip() for name in asked.split(",")]
    return [name for name in COLUMNS.get(kind, row) if name in row] or list(row)


def print_rows(items: Iterable[Answer], form: str, asked: str | None = None, out: Any = None) -> None:
    """A list, as it comes where the form allows."""
    out = out or sys.stdout
    if form == "json":
        _print_json_list((item.raw for item in items), out)
        return
    rows = iter(items)
    first = next(rows, None)
    if first is None:
        return
    if form == "csv":
        names = columns_of("", first.raw, asked)
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([cell(item.raw.get(name)) for name in names] for item in _chain(first, rows))
        return
    names = columns_of(type(first).__name__, first.raw, asked)
    lines = [[_table_cell(name, item.raw.get(name)) for name in names] for item in _chain(first, rows)]
    _print_table(names, lines, out)


def _chain(first: Answer, rest: Iterator[Answer]) -> Iterator[Answer]:
    yield first
    yield from rest


def _print_json_list(rows: Iterator[dict[str, Any]], out: Any) -> None:
    lead = "["
    for row in rows:
        out.write(f"{lead}\n{json.dumps(row, ensure_ascii=False)}")
        lead = ","
    out.write("[]\n" if lead == "[" else "\n]\n")


def _print_table(names: list[str], lines: list[list[str]], out: Any) -> None:
    right = [name == "id" or name.endswith(_NUMBERS) for name in names]
    heads = [name.upper() for name in names]
    widths = [max(_width(line[column]) for line in [heads, *lines]) for column in range(len(names))]
    room = os.get_terminal_size(out.fileno()).columns if out.isatty() else 0
    for line in [heads, *lines]:
        padded = [" " * (width - _width(text)) + text if is_right else text + " " * (width - _width(text))
                  for text, width, is_right in zip(line, widths, right)]
        text = "  ".join(padded).rstrip()
        out.write((text[:room - 1] + "…" if room and len(text) > room else text) + "\n")


def print_one(item: Answer, form: str, asked: str | None = None, out: Any = None) -> None:
    """One thing: for people, a line a field; the links of a job below."""
    out = out or sys.stdout
    if form == "json":
        out.write(json.dumps(item.raw, ensure_ascii=False, indent=2) + "\n")
    elif form == "csv":
        print_rows([item], form, asked, out)
    else:
        names = columns_of("", item.raw, asked)
        simple = [name for name in names if not _is_rows(item.raw.get(name))]
        width = max((len(name) for name in simple), default=0)
        for name in simple:
            text = _table_cell(name, item.raw.get(name))
            if text or asked:
                out.write(f"{name:<{width}}  {text}\n")
        for name in names:
            rows = item.raw.get(name)
            if _is_rows(rows) and rows:
                out.write(f"\n{name}\n")
                chosen = [one for one in _BELOW.get(name, rows[0]) if one in rows[0]]
                _print_table(chosen, [[_table_cell(one, row.get(one)) for one in chosen] for row in rows], out)


_BELOW = {"links": ["link_name", "probe_name", "state", "result", "stored_pkts", "stored_bytes", "dropped_pkts", "collected_bytes",
                    "reason"]}


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def print_plain(value: Any, form: str, out: Any = None) -> None:
    """What is no thing of the hive's: a text, a path, a document."""
    out = out or sys.stdout
    if form == "json" or isinstance(value, dict):
        out.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
    elif isinstance(value, list):
        for one in value:
            print_plain(one, form, out)
    else:
        text = str(value)
        out.write(text if text.endswith("\n") else text + "\n")


class Bar:
    """One line on a terminal's stderr that is written anew, at most ten times a second; the last state always."""

    def __init__(self) -> None:
        self.drawn_s, self.text = 0.0, ""

    def draw(self, text: str, share: float | None) -> None:
        bar = f"{100 * share:3.0f} % [{'#' * round(20 * share):<20}] " if share is not None else ""
        self.text = bar + printable(text)  # what does not fit is cut off at the end
        if time.monotonic() - self.drawn_s >= 0.1:
            self._write()

    def _write(self) -> None:
        room = os.get_terminal_size(sys.stderr.fileno()).columns
        sys.stderr.write(f"\r{self.text[:room - 1]}\x1b[K")
        sys.stderr.flush()
        self.drawn_s = time.monotonic()

    def close(self, keep: bool) -> None:
        if self.text:
            self._write()
            sys.stderr.write("\n" if keep else "\r\x1b[K")
        self.text, self.drawn_s = "", 0.0


class JobProgress:
    """How far a job is: a bar where somebody looks, else a line when its state changes."""

    def __init__(self, quiet: bool):
        self.quiet, self.state, self.bar = quiet, "", Bar()

    def __call__(self, job: JobDetail) -> None:
        if self.quiet:
            return
        text = f"job {job.id} {job.state}: {job.stored_pkts} packets, {show_bytes(job.stored_bytes)}, {job.dropped_pkts} dropped"
        if sys.stderr.isatty():
            self.bar.draw(text + job_speed(job), job_share(job))
        elif job.state != self.state:
            print(f"skep: {text}", file=sys.stderr)
        self.state = job.state

    def close(self) -> None:
        self.bar.close(keep=False)


def job_speed(job: JobDetail) -> str:
    """How fast it is now, and when it will be over if that goes on."""
    now = [link.progress for link in job.links if link.progress]
    ends = [one.estimated_end for one in now if one.estimated_end]
    until = f", until about {max(ends).astimezone():%H:%M:%S}" if ends else ""
    return f", {sum(one.pkts_per_s for one in now):.0f} packets/s{until}" if now else ""


def job_share(job: JobDetail) -> float:
    """How much of the limit that comes first is used up, 0 to 1."""
    shares = [job.stored_pkts / job.limit_pkts if job.limit_pkts else 0.0, job.stored_bytes / job.limit_bytes if job.limit_bytes else 0.0]
    if job.limit_duration_s and job.started:
        shares.append((datetime.now(timezone.utc) - job.started).total_seconds() / job.limit_duration_s)
    return 1.0 if job.has_ended else max(0.0, min(1.0, max(shares)))


class DownloadProgress:
    """A bar for each file."""

    def __init__(self, quiet: bool):
        self.quiet, self.name, self.bar = quiet or not sys.stderr.isatty(), "", Bar()

    def __call__(self, name: str, have: int, total: int) -> None:
        if self.quiet:
            return
        if name != self.name:
            self.close()
            self.name = name
        self.bar.draw(f"{name}: {show_bytes(have)}", min(1.0, have / total) if total else None)

    def close(self) -> None:
        self.bar.close(keep=True)
