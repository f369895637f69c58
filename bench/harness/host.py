# SPDX-License-Identifier: BSD-2-Clause
"""What the numbers were measured on, so that two results can be told apart or compared."""
import hashlib
import json
import os
import platform
import subprocess
from pathlib import Path


def first_line(path, prefix, default="unknown"):
    try:
        for line in Path(path).read_text(errors="replace").splitlines():
            if line.startswith(prefix):
                return line[len(prefix):].strip(" \t:=\"")
    except OSError:
        pass
    return default


def output(*words):
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def describe(work_dir, source_dir):
    facts = {
        "cpu": first_line("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "os": first_line("/etc/os-release", "PRETTY_NAME"),
        "virtualization": output("systemd-detect-virt"),
        "governor": first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", ""),
        "file_system": output("stat", "-f", "-c", "%T", str(work_dir)),
    }
    # what does not change from run to run
    facts["fingerprint"] = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    facts["load_before"] = os.getloadavg()[0]
    facts["commit"] = output("git", "-C", str(source_dir), "rev-parse", "--short", "HEAD")
    return facts
