# SPDX-License-Identifier: BSD-2-Clause
"""Calls about the hive itself: health, figures, description, audit log."""
from __future__ import annotations

from typing import Any, Iterator

from .calls import Calls, Ref, id_of, operation
from .models import AuditEntry, Status


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
