# SPDX-License-Identifier: BSD-2-Clause
"""A hive, from here."""
from __future__ import annotations

from types import TracebackType

from .accounts import AccountCalls
from .events import EventCalls
from .jobs import JobCalls
from .keeping import KeepingCalls
from .plans import PlanCalls
from .probes import ProbeCalls
from .system import SystemCalls
from .transport import Transport


class Hive(JobCalls, EventCalls, PlanCalls, KeepingCalls, ProbeCalls, AccountCalls, SystemCalls):
    """A hive as one person or program sees it.

        hive = Hive("https://hive.example.net:8480", token)
        job = hive.create_job("QUIC", ["A", "B"], filter="quic", max_size="10GB", duration="1d")
        hive.wait(job)
        hive.download(job, "quic.pcap")

    token: an application token; without one, login() makes a session. ca_file: PEM of who vouches for the hive's certificate (default:
    the system's); pin: sha256//… of its public key instead. timeout_s: how long an answer may take to begin; retries: how often a request
    that may be repeated is. Not for several threads at once: give each its own."""

    def __init__(self, url: str, token: str | None = None, *, ca_file: str | None = None, pin: str | None = None, timeout_s: float = 60.0,
                 retries: int = 4):
        self._http = Transport(url, token, ca_file=ca_file, pin=pin, timeout_s=timeout_s, retries=retries)

    @property
    def url(self) -> str:
        """Where the hive is."""
        return self._http.url

    def close(self) -> None:
        """Closes connections; a session of login() goes on, see logout()."""
        self._http.close()

    def __enter__(self) -> "Hive":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<skep.Hive {self.url}>"
