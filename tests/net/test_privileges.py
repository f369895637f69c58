# SPDX-License-Identifier: BSD-2-Clause
"""Proves that a running capture holds no more rights than the reference says, whoever started it, and that file capabilities are enough
instead of root."""
import os
import shutil

import pytest

import frames
import pcapfile
import rig as rig_module
import traffic

CAPTURE = rig_module.BIN / "skep-capture"
CAP_DAC_OVERRIDE = 1 << 1
NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
SANITIZED = rig_module.PATIENCE != 1  # has no system call filter
# docs/reference/skep-capture.md, "Rights"
NEEDED = {
    "xdp-native": "cap_bpf,cap_ipc_lock,cap_net_admin,cap_net_raw",
    "xdp-generic": "cap_bpf,cap_ipc_lock,cap_net_admin,cap_net_raw",
    "mirror": "cap_bpf,cap_ipc_lock,cap_net_admin,cap_net_raw,cap_perfmon",
    "afpacket": "cap_ipc_lock,cap_net_raw",
}


def check_confined(pid, uid, allowed=0):
    """Not root, no capability but those allowed, no way to more, and a filter on system calls; for every thread."""
    tasks = os.listdir(f"/proc/{pid}/task")
    assert len(tasks) >= 3, "keeper and worker threads are running"
    for task in tasks:
        state = traffic.capabilities(task)
        assert state["uids"] == {uid} and 0 not in state["gids"] and not state["groups"], state
        assert not any(value & ~allowed for value in state["capabilities"].values()), state
        assert state["no_new_privs"] == 1, state
        assert SANITIZED or state["seccomp"] == 2, state


@pytest.mark.parametrize("source", traffic.SOURCES)
def test_root_gives_everything_up(rig, capture_built, tmp_path, source):
    """Started as root, into a folder of nobody's: becomes nobody without a single capability, and the file is nobody's."""
    os.chown(tmp_path, NOBODY, NOBODY)
    tmp_path.parent.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)
    path, sent = tmp_path / "out.pcap.zst", frames.numbered(100, 100)
    process = rig.capture("-w", path, *traffic.SOURCES[source], *traffic.SMALL)
    rig.send(sent)
    check_confined(process.pid, NOBODY)
    process.stop()
    assert path.stat().st_uid == NOBODY
    assert [record.data for record in pcapfile.read(path)[1]] == sent
    traffic.lossless(process.stats(), len(sent))


def test_a_folder_of_root_costs_one_capability(rig, capture_built, tmp_path):
    """CAP_DAC_OVERRIDE, and --check says so."""
    tmp_path.chmod(0o700)
    words = ["-i", "cap0", "-w", tmp_path / "out.pcap.zst", *traffic.SOURCES["xdp-native"], "--user", "nobody"]
    said = rig.run([CAPTURE, "--check", *words], text=True).stdout
    process = rig.capture(*words[2:], *traffic.SMALL)
    check_confined(process.pid, NOBODY, CAP_DAC_OVERRIDE)
    process.stop()
    assert "DAC_OVERRIDE" in said, said
    assert (tmp_path / "out.pcap.zst.json").exists()


@pytest.mark.parametrize("source", traffic.SOURCES)
def test_file_capabilities_are_enough(rig, capture_built, tmp_path, source):
    """A copy of the program with the documented capabilities, started by an unprivileged user."""
    with traffic.quick_folder() as folder:
        os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o755)
        program = tmp_path / "skep-capture"
        shutil.copy(CAPTURE, program)
        program.chmod(0o755)
        for parent in (tmp_path, *tmp_path.parents):
            if str(parent).startswith("/tmp/pytest"):
                parent.chmod(0o755)
        rig_module.command(["setcap", f"{NEEDED[source]}=ep", program])
        path, sent = folder / "out.pcap.zst", frames.numbered(100, 100)
        process = rig.start([*AS_NOBODY, program, "-i", "cap0", "--stats", "json", "-w", path, *traffic.SOURCES[source], *traffic.SMALL])
        process.wait_for_line(rig_module.READY)
        rig.send(sent)
        check_confined(process.pid, NOBODY)
        process.stop()
        traffic.lossless(process.stats(), len(sent))
        assert [record.data for record in pcapfile.read(path)[1]] == sent
