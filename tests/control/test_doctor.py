# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the doctor says of each thing whether it is fit, with a remedy where it is not, and fails only where something is missing."""
import re
import subprocess

from conftest import BIN

LINE = re.compile(r"(ok  |warn|fail)  (.{22}) (.+)")


def doctor(daemon, namespace=None):
    daemon.spool.mkdir(exist_ok=True)
    where = ["ip", "netns", "exec", namespace] if namespace else []
    done = subprocess.run([*where, BIN / "skep-control", "-c", daemon.config, "doctor"], capture_output=True, text=True, check=False,
                          timeout=60)
    found = [LINE.fullmatch(line) for line in done.stdout.splitlines()]
    assert found and all(found), done.stdout + done.stderr
    return done.returncode, [(match[1].strip(), match[2].strip(), match[3]) for match in found]


def test_machine_with_a_link_that_works(new_daemon, rig):
    code, found = doctor(new_daemon(namespace=rig.cap, extra="[link cap0]\nrole = tap\n"), rig.cap)
    names = {name for _, name, _ in found}
    assert {"kernel", "BTF", "capabilities", "AF_XDP", "io_uring", "huge pages", "clock", "cap0", "free space", "disk"} <= names
    assert code == 0 and not [line for line in found if line[0] == "fail"], found
    assert ("ok", "cap0") in {line[:2] for line in found}


def test_link_that_is_missing_or_down_fails(new_daemon, rig):
    rig.run(["ip", "link", "set", "cap0", "down"])
    code, found = doctor(new_daemon(namespace=rig.cap, extra="[link cap0]\nrole = tap\n[link nosuch0]\nrole = tap\n"), rig.cap)
    said = {name: words for verdict, name, words in found if verdict == "fail"}
    assert code == 1 and "ip link set cap0 up" in said["cap0"] and "no such interface" in said["nosuch0"]


def test_spool_without_room_fails(new_daemon):
    daemon = new_daemon()
    daemon.config.write_text(daemon.config.read_text().replace("reserve = 16MiB", "reserve = 900TB"))
    code, found = doctor(daemon)
    assert code == 1 and ("fail", "free space") in {line[:2] for line in found}
