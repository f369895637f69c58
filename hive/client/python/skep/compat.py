# SPDX-License-Identifier: BSD-2-Clause
"""The call names of an older client, so that its programs work with one line changed: `from skep.compat import PyTCI`."""
from __future__ import annotations

from typing import Any, Mapping, Sequence

from .errors import UsageError
from .hive import Hive
from .jobs import link_names
from .models import Job


class LegacyJob(int):
    """A job: its number, and an object with what the older client's had (id, name, status) and everything of skep.models.Job."""
    job: Job

    def __new__(cls, job: Job) -> "LegacyJob":
        made = super().__new__(cls, job.id)
        made.job = job
        return made

    @property
    def status(self) -> str:
        return self.job.state

    def __getattr__(self, name: str) -> Any:
        if name == "job":
            raise AttributeError(name)
        return getattr(self.job, name)

    def __repr__(self) -> str:
        return f"<job {int(self)} {self.job.name!r}: {self.status}>"


class PyTCI:
    """host: a name or an address; then HTTPS is spoken. "http://127.0.0.1" for a hive without TLS on this machine.
    ca_file and pin: as in skep.Hive."""

    def __init__(self, host: str, port: int, *, ca_file: str | None = None, pin: str | None = None):
        scheme, _, name = host.rpartition("://")
        name = f"[{name}]" if ":" in name and not name.startswith("[") else name
        self.hive = Hive(f"{scheme or 'https'}://{name}:{int(port)}", ca_file=ca_file, pin=pin)

    def set_access_token(self, token: str) -> None:
        self.hive._http.token = token

    def get_jobs(self) -> list[LegacyJob]:
        """All jobs that the token's owner may see."""
        return [LegacyJob(job) for job in self.hive.get_jobs()]

    def create_job(self, name: str, duration: int, max_capture_data: int, lines: str | Sequence[str], filter: str | None = None,
                   script_name: str | None = None, script_args: str | Sequence[str] | Mapping[str, Any] | None = None) -> LegacyJob:
        """duration: seconds; max_capture_data: bytes (both also "1d", "10GB"; 0: no limit); lines: names of links, as a list or with
        commas. script_name: refused by a hive that cannot process datasets (InvalidError, code "no-processing")."""
        if isinstance(lines, str) and lines != "*":
            lines = [one.strip() for one in lines.split(",") if one.strip()]
        if not lines:
            raise UsageError("lines: no link is named")
        script: dict[str, Any] = {"script_name": script_name, "script_args": script_args}
        return LegacyJob(self.hive.create_job(name, link_names(lines), duration=duration, max_size=max_capture_data, filter=filter or None,
                                              **{field: value for field, value in script.items() if value}))

    def get_job_status(self, id: int) -> LegacyJob:
        """.status is scheduled, queued, starting, running, paused, draining, collecting, processing, done, failed or cancelled."""
        return LegacyJob(self.hive.get_job(int(id)))
