# SPDX-License-Identifier: BSD-2-Clause
"""Proves that scripts/bench measures: a short run on a link of its own ends with rows that add up, a result that its schema takes, a table,
a picture and nothing left behind; the same again with --resume measures nothing anew. What the numbers mean nobody can test."""
import json
import os
import pathlib
import subprocess

import pytest

import rig as rig_module

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ("dumpcap", "netsniff-ng", "stenotype", "tcpdump")


def bench(folder, *words):
    words = [ROOT / "scripts" / "bench", "null", "--duration", "0.3", "--build", rig_module.BIN.parent, "--out", folder / "out", "--dir",
             folder / "tmp", *(word for peer in PEERS for word in ("--without", peer)), *words]
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=300)
    return process, out, err


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_short_run_measures_and_cleans_up(tmp_path):
    reason = rig_module.why_not()
    if reason:
        pytest.skip(reason)
    process, out, err = bench(tmp_path)
    assert process.returncode == 0, err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    rows = {(row["tool"], row["size"]): row for row in result["rows"]}
    assert set(rows) == {("limit: XDP_DROP", "64"), ("limit: AF_XDP receive", "64"), ("skep-capture", "64"), ("limit: XDP_DROP", "1500"),
                         ("limit: AF_XDP receive", "1500")}
    ours = rows["skep-capture", "64"]
    assert ours["sent"] > 0 and ours["residual"] == 0 and ours["sent"] == ours["stored"] + ours["lost"]
    assert rows["limit: XDP_DROP", "64"]["stored"] == rows["limit: XDP_DROP", "64"]["sent"]
    assert "| skep-capture" in out and "| G16" in out
    assert (tmp_path / "out" / "pictures" / "rate-64.svg").read_text().startswith("<svg")
    assert not list((tmp_path / "tmp").iterdir())
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert f"-{process.pid}\n" not in left.replace(" ", "\n") + "\n"
    _, _, said = bench(tmp_path, "--resume")
    again = json.loads((tmp_path / "out" / "result.json").read_text())
    assert "Mpps offered" not in said and again["rows"] == result["rows"]


@pytest.mark.parametrize("words, says", [(["--rounds", "many"], "invalid int"), (["no-such-thing"], "no such scenario: no-such-thing"),
                                         (["--without", "nobody"], "there is no such tool")])
def test_wrong_use_is_refused_in_words(tmp_path, words, says):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    process, _, err = bench(tmp_path, *words)
    assert process.returncode in (1, 2) and says in err
