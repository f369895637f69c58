# SPDX-License-Identifier: BSD-2-Clause
"""What can go wrong. Everything derives from SkepError, so `except skep.SkepError` catches all of it; a refusal of the hive carries what
RFC 9457 carries: a stable `code`, a sentence, the `pointer` to the field that is wrong, a `hint`, and all problems of a form at once."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class SkepError(Exception):
    """Anything this package raises on purpose."""


class UsageError(SkepError, ValueError):
    """A value that cannot be sent: it is wrong before the hive has seen it."""


class UnreachableError(SkepError, ConnectionError):
    """No answer came: no such host, refused, cut, or later than the time-out; after all retries."""


class UntrustedError(SkepError):
    """Whoever answered is not proven to be the hive: the certificate or the pinned key does not fit. Nothing was sent."""


class DamagedError(SkepError):
    """The bytes that came are not those that the hive has (length or SHA-256); what came is removed."""


class JobFailedError(SkepError):
    """A job that was waited for has ended, but not as asked; `job` says how."""

    def __init__(self, message: str, job: Any):
        super().__init__(message)
        self.job = job


class WaitTimeoutError(SkepError, TimeoutError):
    """What was waited for has not come in time. The job goes on."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: pointer is a JSON pointer into what was sent (""; the whole), column counts from 1 (0: no such place)."""
    code: str
    detail: str
    pointer: str = ""
    hint: str = ""
    column: int = 0

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Problem":
        return cls(str(data.get("code") or "unknown"), str(data.get("detail") or ""), str(data.get("pointer") or ""),
                   str(data.get("hint") or ""), int(data.get("column") or 0))

    def __str__(self) -> str:
        where = f" (column {self.column})" if self.column else ""
        return f"{self.detail}{where}{f'. {self.hint}' if self.hint else ''}"


class RefusedError(SkepError):
    """The hive has answered, and said no."""

    def __init__(self, status: int, problem: Problem, problems: list[Problem] | None = None, retry_after_s: float | None = None):
        self.status = status
        self.problem = problem
        self.problems = problems or [problem]
        self.retry_after_s = retry_after_s
        super().__init__("; ".join(str(one) for one in self.problems))

    @property
    def code(self) -> str:
        return self.problem.code

    @property
    def detail(self) -> str:
        return self.problem.detail

    @property
    def pointer(self) -> str:
        return self.problem.pointer

    @property
    def hint(self) -> str:
        return self.problem.hint


class InvalidError(RefusedError):
    """400, 415, 422, 428: something in the request is wrong; see `problems`."""


class LoginError(RefusedError):
    """401: no token or session, or one that is not valid (any more)."""


class ForbiddenError(RefusedError):
    """403: you may not."""


class NotFoundError(RefusedError):
    """404: it does not exist, or you may not see it."""


def not_found(detail: str) -> NotFoundError:
    """For what was looked for in a list that the hive gave, and is not in it."""
    return NotFoundError(404, Problem("not-found", detail))


class ConflictError(RefusedError):
    """409: not in this state."""


class ChangedError(RefusedError):
    """412: somebody was faster; read it again."""


class BusyError(RefusedError):
    """429, 503: not now; `retry_after_s` if the hive has said when."""


class HiveError(RefusedError):
    """5xx: the hive failed."""


_BY_STATUS: dict[int, type[RefusedError]] = {
    400: InvalidError, 401: LoginError, 403: ForbiddenError, 404: NotFoundError, 409: ConflictError, 412: ChangedError,
    413: InvalidError, 415: InvalidError, 422: InvalidError, 428: InvalidError, 429: BusyError, 503: BusyError,
}


def refused(status: int, body: Any, text: str, retry_after_s: float | None) -> RefusedError:
    """The exception for an answer; body is its problem+json as an object, or None: then it is no answer of a hive."""
    if isinstance(body, dict) and "code" in body:
        first = Problem.from_json(body)
        listed = [Problem.from_json(one) for one in body.get("errors") or [] if isinstance(one, dict)]
    else:
        first = Problem("unknown", f"HTTP {status}: {text[:200].strip() or 'no text'}", hint="is this the address of a hive?")
        listed = []
    kind = _BY_STATUS.get(status, HiveError if status >= 500 else RefusedError)
    return kind(status, first, listed, retry_after_s)
