# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures for network tests. `make_rig(mtu=…, queues=…, gro=…)` and `rig` give links that are removed whatever happens; `timeout(N)` marks
a test that needs longer than the usual limit; pcap files of SKEP_PCAPS are in `pcap_files()`."""
import os
import pathlib
import signal

import pytest

import rig as rig_module

TIMEOUT_S = 60 * rig_module.PATIENCE


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout(seconds): limit of this test, instead of the usual one")
    config.addinivalue_line("markers", "slow: not repeated with the sanitized programs, where it would take minutes")


def pytest_collection_modifyitems(items):
    if os.environ.get("SKEP_SANITIZED"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: runs only with the ordinary build"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A limit for each test, set-up and removal included: SIGALRM raises in the main thread, so that fixtures still clean up."""
    mark = item.get_closest_marker("timeout")
    limit_s = mark.args[0] * rig_module.PATIENCE if mark else TIMEOUT_S

    def expired(_signal, _frame):
        signal.alarm(15)  # and once more, if the cleaning up hangs too
        raise TimeoutError(f"{item.nodeid}: not done after {limit_s} s")

    signal.signal(signal.SIGALRM, expired)
    signal.alarm(int(limit_s))
    try:
        yield
    finally:
        signal.alarm(0)


@pytest.fixture(scope="session")
def link_possible():
    reason = rig_module.why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def capture_built():
    if not (rig_module.BIN / "skep-capture").exists():
        pytest.fail(f"{rig_module.BIN}/skep-capture is not built; run scripts/build")


@pytest.fixture
def make_rig(link_possible):
    made = []

    def make(**kwargs):
        made.append(rig_module.Rig(**kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def rig(make_rig):
    return make_rig()


def pcap_files():
    """Every capture file of the folder SKEP_PCAPS (or ../shared/pcaps beside the repository); empty without one."""
    folder = os.environ.get("SKEP_PCAPS") or rig_module.ROOT.parent / "shared" / "pcaps"
    folder = pathlib.Path(folder)
    return sorted(path for path in folder.glob("*") if path.suffix in (".pcap", ".pcapng", ".cap")) if folder.is_dir() else []
