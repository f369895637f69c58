# SPDX-License-Identifier: BSD-2-Clause
"""Calls about the hive itself: health, figures, description, audit log."""
from __future__ import annotations

import time
from typing import Any, Iterator, Literal

from .calls import Calls, Ref, id_of, operation
from .models import AuditEntry, LogLine, Status


class SystemCalls(Calls):
    @operation("health")
    def health(self) -> Status:
        """Is it alive?"""
        return Status.from_json(self._http.get("/healthz"))

    @operation("ready")
    def ready(self) -> Status:
        """Can it work?"""
        return Status.from_json(self._http.get("/readyz"))

    @operation("metrics")
    def metrics(self) -> str:
        """Figures, as Prometheus reads them."""
        return self._http.request("GET", "/metrics").text

    @operation("openapi")
    def openapi(self) -> dict[str, Any]:
        """The hive's own description of its API, OpenAPI 3.1."""
        return self._http.get("/api/v1/openapi.json")

    @operation("list_audit")
    def get_audit(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[AuditEntry]:
        """Who did what to which object, from where."""
        return self._list(AuditEntry, "/api/v1/audit", sort=sort, limit=limit, where=where)

    @operation("get_audit")
    def get_audit_entry(self, entry: Ref) -> AuditEntry:
        """One entry of the audit log."""
        return AuditEntry.from_json(self._http.get(f"/api/v1/audit/{id_of(entry)}"))

    @operation("list_logs")
    def get_logs(self, *, level: Literal["error", "warning", "info", "debug"] | None = None, follow: bool = False) -> Iterator[LogLine]:
        """The last lines of the hive's own log, oldest first, of this level or worse; follow: and what comes, for ever."""
        cursor = None
        while True:
            page = self._http.get("/api/v1/logs", {"level": level, "cursor": cursor, "limit": 1000})
            yield from (LogLine.from_json(line) for line in page["items"])
            if not page["items"]:
                if not follow:
                    return
                time.sleep(1)
            cursor = page["next"]
