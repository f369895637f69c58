# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures: `hive` runs and has its first administrator (`hive.admin`); `make_hive(conf)` gives others. All are ended and removed."""
import pytest

import hive as hive_module
import rig
import world as world_module


@pytest.fixture
def make_hive(tmp_path):
    made = []

    def make(conf="", claim=True, namespace=None):
        folder = tmp_path / f"hive{len(made)}"
        folder.mkdir()
        made.append(hive_module.Hive(folder, conf, namespace))
        if claim:
            made[-1].claim()
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def hive(make_hive):
    return make_hive()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A hive and two probes in namespaces, with links to send on; one for all tests of a file."""
    reason = rig.why_not()
    if reason:
        pytest.skip(reason)
    made = world_module.World(tmp_path_factory.mktemp("world"), hive_settings="[jobs]\nmissing_after = 3s\n")
    try:
        yield made.start()
    finally:
        made.close()
