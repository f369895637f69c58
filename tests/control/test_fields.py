# SPDX-License-Identifier: BSD-2-Clause
"""Proves that a link says which jobs it has and what its NIC and kernel drop, and that a job says how far it has come."""
import time

import frames
from test_jobs import start
from test_packets import wait_for


def test_link_says_which_jobs_it_has(probe):
    assert probe.get("/v1/links/cap0").json()["jobs"] == []
    first, later = start(probe, name="one"), start(probe, start_at="2040-01-01T00:00:00Z")
    jobs = probe.get("/v1/links/cap0").json()["jobs"]
    assert jobs == [{"id": first["id"], "name": "one", "kind": "capture", "state": "running"},
                    {"id": later["id"], "name": "", "kind": "capture", "state": "scheduled"}]
    probe.ask("POST", f"/v1/jobs/{first['id']}/stop")
    probe.wait_job(first["id"], "done")
    links = {link["name"]: link for link in probe.get("/v1/links").json()["links"]}
    assert [job["id"] for job in links["cap0"]["jobs"]] == [later["id"]] and links["lo"]["jobs"] == []


def test_drops_of_nic_and_kernel_are_told_apart(probe):
    rates = wait_for(lambda: probe.get("/v1/links/cap0").json()["rates"], "two samples")
    assert rates["rx_drops_ps"] == rates["nic_drops_ps"] + rates["kernel_drops_ps"]
    assert {"rx_dropped", "rx_missed_errors", "rx_fifo_errors"} <= set(rates["counters"])


def test_job_says_how_far_it_has_come(probe):
    packets = start(probe, limits={"packets": 200, "duration_ns": 3600 * 10**9})
    timed = start(probe, limits={"duration_ns": 3 * 10**9})
    endless = start(probe)
    assert packets["progress"] < 0.1 and endless["progress"] is None
    probe.rig.send(frames.numbered(50, 100))
    wait_for(lambda: 0.25 <= probe.job(packets["id"])["progress"] < 0.3, lambda: probe.job(packets["id"]))
    seen = [probe.job(timed["id"])["progress"]]
    while seen[-1] < 1:
        time.sleep(0.1)
        seen.append(probe.job(timed["id"])["progress"])
    assert seen == sorted(seen) and any(0.2 < progress < 0.9 for progress in seen), seen
    probe.rig.send(frames.numbered(150, 100))
    assert probe.wait_job(packets["id"], "done")["progress"] == 1 and probe.job(endless["id"])["progress"] is None
