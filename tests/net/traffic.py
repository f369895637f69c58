# SPDX-License-Identifier: BSD-2-Clause
"""Traffic for the tests that need much of it (skep-gen, skep-send), what is in a capture of it, and what a link looks like from outside.

The account of a capture is compared with what these programs counted, never with what the capture says of itself.
"""
import contextlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile

import pcapfile
import rig as rig_module

MAGIC = b"SKPG"
# --memory of captures that do not need to ride out anything: 96 MiB take longer to map than a short test lasts.
SMALL = ("--memory", "24MiB")
SOURCES = {
    "xdp-native": ("--source", "xdp", "--xdp", "native", "--link-role", "tap"),
    "xdp-generic": ("--source", "xdp", "--xdp", "generic", "--link-role", "tap"),
    "mirror": ("--source", "mirror"),
    "afpacket": ("--source", "afpacket"),
}


def start_gen(rig, *args, link="gen0"):
    return rig.start([rig_module.BIN / "skep-gen", "-i", link, "--json", *args], ns=rig.gen)


def gen(rig, *args, link="gen0", timeout_s=60):
    """Runs the generator to its end; its result."""
    done = rig.run([rig_module.BIN / "skep-gen", "-i", link, "--json", *args], ns=rig.gen, timeout_s=timeout_s, text=True)
    return json.loads(done.stdout)


def send_file(rig, path, *args):
    done = rig.run([rig_module.BIN / "skep-send", "-i", "gen0", *args, path], ns=rig.gen, timeout_s=60, text=True)
    return json.loads(done.stdout)


def seqcheck(*paths, first=0, last=None):
    """(exit code, result) of skep-seqcheck over files that hold one run of the generator."""
    words = ["--first", first] + (["--last", last] if last is not None else [])
    done = rig_module.command([rig_module.BIN / "skep-seqcheck", *words, *paths], timeout_s=60, check=False, text=True)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def intact(found):
    """Nothing of what is in the files came twice, out of order or damaged."""
    return not any(found[key] for key in ("duplicated", "reordered", "corrupted", "foreign", "stray", "torn_files"))


def numbers(records):
    """Sequence numbers of the generator's frames (UDP over IPv4 without a tag), in the order of the file."""
    for record in records:
        assert record.data[42:46] == MAGIC, record.data[:64].hex()
    return [struct.unpack_from("!Q", record.data, 46)[0] for record in records]


def lossless(stats, sent):
    """Every frame that was sent is stored, and nothing else happened."""
    assert stats["dropped"] == {}, f"lost on a link that is slow enough: {stats}"
    assert (stats["seen"], stats["stored"], stats["rejected"]) == (sent, sent, 0), stats


def link_state(rig, name="cap0"):
    """What a capture must leave as it was: XDP program, promiscuous mode, MTU, flags, offloads."""
    link = rig.link(name)
    features = rig.run(["ethtool", "-k", name], text=True).stdout
    return {"xdp": link.get("xdp"), "promiscuity": link["promiscuity"], "mtu": link["mtu"], "flags": sorted(link["flags"]),
            "features": features}


def wait_for_state(rig, state, name="cap0", timeout_s=3):
    """The kernel detaches a dead process's program a moment after its end."""
    try:
        rig.wait_for(lambda: link_state(rig, name) == state, "the link to be as it was", timeout_s)
    except AssertionError:
        now = link_state(rig, name)
        changed = {key: (state[key], now[key]) for key in state if state[key] != now[key]}
        raise AssertionError(f"not as it was found: {changed}") from None


def files_of(folder, ending=".pcap.zst"):
    return sorted(path for path in pathlib.Path(folder).iterdir() if path.name.endswith(ending))


def records_of(paths):
    """All records of several files, in the order given."""
    return [record for path in paths for record in pcapfile.read(path)[1]]


@contextlib.contextmanager
def quick_folder():
    """A folder in memory: fsync costs nothing there."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"skep-test-{rig_module.run_pid()}-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def capabilities(pid):
    """(uid, effective, permitted, no_new_privs, seccomp mode) of a process."""
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return {
        "uids": {int(word) for word in status["Uid"].split()}, "gids": {int(word) for word in status["Gid"].split()},
        "groups": status["Groups"].split(), "capabilities": {key: int(status[key], 16) for key in ("CapEff", "CapPrm", "CapInh", "CapAmb")},
        "no_new_privs": int(status["NoNewPrivs"]), "seccomp": int(status["Seccomp"]),
    }


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def cpu_s(pid):
    """CPU seconds that a process has used, all threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def torn_read(path):
    """What other people's programs read of a file that nobody ended: records of `zstd -dc | tcpdump -r -`, whose complaint about the tear
    is ignored."""
    script = 'case $1 in *.zst.part|*.zst) zstd -dc -q "$1" 2>/dev/null ;; *) cat "$1" ;; esac' \
        ' | tcpdump --time-stamp-precision=nano -r - -w - 2>/dev/null'
    done = subprocess.run(["bash", "-c", script, "torn_read", str(path)], capture_output=True,
                          timeout=30 * rig_module.PATIENCE, check=False)
    return pcapfile.parse(done.stdout, torn=True)[1] if done.stdout else []
