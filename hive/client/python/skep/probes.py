# SPDX-License-Identifier: BSD-2-Clause
"""Calls about where packets come from: probes and their links."""
from __future__ import annotations

from typing import Any, Iterator

from .calls import UNSET, Calls, Ref, Unset, given, id_of, operation
from .models import Discovered, Link, Probe


class ProbeCalls(Calls):
    @operation("list_probes")
    def get_probes(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Probe]:
        """Probes."""
        return self._list(Probe, "/api/v1/probes", sort=sort, limit=limit, where=where)

    @operation("get_probe")
    def get_probe(self, probe: Ref) -> Probe:
        """One probe."""
        return Probe.from_json(self._http.get(f"/api/v1/probes/{id_of(probe)}"))

    @operation("create_probe")
    def create_probe(self, name: str, address: str, token: str, *, key_pin: str | None | Unset = UNSET,
                     description: str | None | Unset = UNSET, disabled: bool | Unset = UNSET, key: str | None = None) -> Probe:
        """Makes a probe known without asking it; enrol_probe() is less to type."""
        body = given(name=name, address=address, token=token, key_pin=key_pin, description=description, disabled=disabled)
        return Probe.from_json(self._http.create("/api/v1/probes", body, key))

    @operation("create_probe")
    def enrol_probe(self, enrol: str, *, name: str | Unset = UNSET, description: str | None | Unset = UNSET,
                    disabled: bool | Unset = UNSET, key: str | None = None) -> Probe:
        """Makes a probe known with the line that `skep-control enrol` prints there; it is asked, and its interfaces become links."""
        body = given(enrol=enrol, name=name, description=description, disabled=disabled)
        return Probe.from_json(self._http.create("/api/v1/probes", body, key))

    @operation("discover_links")
    def discover_links(self, probe: Ref) -> Discovered:
        """Makes links of the interfaces of a probe that are none yet."""
        return Discovered.from_json(self._http.post(f"/api/v1/probes/{id_of(probe)}/discover"))

    @operation("change_probe")
    def change_probe(self, probe: Ref, *, name: str | Unset = UNSET, address: str | Unset = UNSET, token: str | Unset = UNSET,
                     key_pin: str | None | Unset = UNSET, description: str | None | Unset = UNSET,
                     disabled: bool | Unset = UNSET) -> Probe:
        """Changes a probe."""
        return self._change(Probe, "/api/v1/probes", probe, given(name=name, address=address, token=token, key_pin=key_pin,
                                                                  description=description, disabled=disabled))

    @operation("delete_probe")
    def delete_probe(self, probe: Ref) -> None:
        """Removes a probe."""
        self._http.delete(f"/api/v1/probes/{id_of(probe)}")

    @operation("list_links")
    def get_links(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Link]:
        """Links that you may see."""
        return self._list(Link, "/api/v1/links", sort=sort, limit=limit, where=where)

    @operation("get_link")
    def get_link(self, link: Ref) -> Link:
        """One link."""
        return Link.from_json(self._http.get(f"/api/v1/links/{id_of(link)}"))

    @operation("create_link")
    def create_link(self, name: str, probe: Ref, interface: str, *, description: str | None | Unset = UNSET,
                    speed_bps: int | Unset = UNSET, max_jobs: int | Unset = UNSET, max_bps: int | Unset = UNSET,
                    disabled: bool | Unset = UNSET, key: str | None = None) -> Link:
        """Makes an interface of a probe a link that jobs can name. max_jobs and max_bps: what it bears at once; 0 is no limit."""
        body = given(name=name, probe_id=id_of(probe, "probe"), interface=interface, description=description, speed_bps=speed_bps,
                     max_jobs=max_jobs, max_bps=max_bps, disabled=disabled)
        return Link.from_json(self._http.create("/api/v1/links", body, key))

    @operation("change_link")
    def change_link(self, link: Ref, *, name: str | Unset = UNSET, description: str | None | Unset = UNSET, speed_bps: int | Unset = UNSET,
                    max_jobs: int | Unset = UNSET, max_bps: int | Unset = UNSET, disabled: bool | Unset = UNSET) -> Link:
        """Changes a link."""
        return self._change(Link, "/api/v1/links", link, given(name=name, description=description, speed_bps=speed_bps, max_jobs=max_jobs,
                                                               max_bps=max_bps, disabled=disabled))

    @operation("delete_link")
    def delete_link(self, link: Ref) -> None:
        """Removes a link."""
        self._http.delete(f"/api/v1/links/{id_of(link)}")
