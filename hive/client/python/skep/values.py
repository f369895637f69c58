# SPDX-License-Identifier: BSD-2-Clause
"""Sizes, durations and times as people write them and as the hive takes them: bytes, seconds, RFC 3339 in UTC."""
from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from .errors import UsageError

Size = int | str
"""Bytes: 4096, "64KiB", "1.5G", "10GB". k M G T are powers of 1000, Ki Mi Gi Ti of 1024."""

Duration = int | float | str | timedelta
"""Seconds: 90, "90", "10m", "2h", "1d", "1w", or a timedelta."""

Time = datetime | str
"""A time: an aware datetime, RFC 3339 ("2026-11-21T18:00:00Z"), "now", or from now ("+10m", "-1h")."""

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(i?)b?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|m|h|d|w|)")
_UNIT_S = {"": Decimal(1), "ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "min": Decimal(60), "h": Decimal(3600),
           "d": Decimal(86400), "w": Decimal(604800)}
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)


def to_bytes(value: Size, what: str = "size") -> int:
    """10 GB as 10000000000."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise UsageError(f"{what}: {value} is negative")
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if not match or str(value).rstrip().endswith("b"):
        raise UsageError(f'{what}: "{value}" is no size; write 4096, 64KiB, 1.5G or 10GB')
    factor = (1024 if match[3] else 1000) ** " kmgtp".index(match[2].lower() or " ")
    if match[3] and not match[2]:
        raise UsageError(f'{what}: "{value}" is no size; write 4096, 64KiB, 1.5G or 10GB')
    number = Decimal(match[1]) * factor
    if number != int(number):
        raise UsageError(f'{what}: "{value}" is no whole number of bytes')
    return int(number)


def to_seconds(value: Duration, what: str = "duration") -> int:
    """1 d as 86400. The hive counts in whole seconds, so a fraction is refused rather than rounded."""
    if isinstance(value, timedelta):
        number = Decimal(value // timedelta(microseconds=1)) / 1000000
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = Decimal(str(value))
    else:
        match = _DURATION.fullmatch(str(value).strip())
        if not match:
            raise UsageError(f'{what}: "{value}" is no duration; write 90, 10m, 2h or 1d')
        number = Decimal(match[1]) * _UNIT_S[match[2]]
    if not number.is_finite() or number < 0 or number != int(number):
        raise UsageError(f"{what}: {value} is no whole number of seconds")
    return int(number)


def to_time(value: Time, what: str = "time") -> str:
    """As RFC 3339 in UTC; a datetime without a zone is refused, for nobody knows when that is."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise UsageError(f"{what}: {value} has no time zone; use datetime.now(timezone.utc)")
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    text = value.strip()
    if text == "now" or text[:1] in "+-":
        offset = timedelta(seconds=to_seconds(text[1:], what)) if text != "now" else timedelta()
        now = datetime.now(timezone.utc)
        return to_time(now - offset if text[0] == "-" else now + offset, what)
    match = _TIME.fullmatch(text)
    if not match:
        raise UsageError(f'{what}: "{value}" is no time; write 2026-11-21T18:00:00Z, now, +10m or -1h')
    if match[3].upper() == "Z":
        return text.upper()
    return to_time(datetime.fromisoformat(match[1] + match[3]), what).replace("Z", f".{match[2]}Z" if match[2] else "Z")


def parse_time(text: str | None) -> datetime | None:
    """RFC 3339 as a datetime in UTC. A datetime has microseconds: nanoseconds are cut off (they are in the thing's `raw`)."""
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is no RFC 3339 time")
    zone = "+00:00" if match[3].upper() == "Z" else match[3]
    fraction = f".{match[2][:6]:0<6}" if match[2] else ""
    return datetime.fromisoformat(f"{match[1]}{fraction}{zone}").astimezone(timezone.utc)


def show_bytes(number: int) -> str:
    """1536000 as "1.5 MB"."""
    value, units = float(number), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"
