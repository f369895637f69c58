# SPDX-License-Identifier: BSD-2-Clause
"""What the numbers were measured on, so that two results can be told apart or compared."""
import hashlib
import json
import os
import platform
import subprocess
from pathlib import Path

# what is measured, and what measures
SOURCES = ("bench", "bpf", "capture", "common", "control", "hive")


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


def disk_of(folder):
    """The block device behind a folder, and what the kernel says of it."""
    device = os.stat(folder).st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    try:
        real = block.resolve(strict=True)
    except OSError:
        return "unknown"
    whole = real if (real / "queue").exists() else real.parent
    model = first_line(whole / "device" / "model", "", "")
    turns = first_line(whole / "queue" / "rotational", "", "")
    return f"{whole.name}{' ' + model if model else ''}{', rotating' if turns == '1' else ''}"


def libraries():
    """Versions of what the programs are built on, as the package manager knows them."""
    names = ("libbpf1", "libxdp1", "liburing2", "libzstd1", "libpcap0.8", "libc6")
    text = output("dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *names)
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


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
        "disk": disk_of(work_dir),
        "libraries": libraries(),
    }
    # what does not change from run to run
    facts["fingerprint"] = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    facts["load_before"] = os.getloadavg()[0]
    facts["commit"] = output("git", "-C", str(source_dir), "rev-parse", "--short", "HEAD")
    git = ("git", "-C", str(source_dir))
    # the same for commits that differ in pages and tests only
    trees = output(*git, "rev-parse", *(f"HEAD:{folder}" for folder in SOURCES))
    facts["sources"] = hashlib.sha256(trees.encode()).hexdigest()[:16] if trees != "unknown" else "unknown"
    # numbers of a tree that no commit has are worth less
    facts["changed"] = output(*git, "status", "--porcelain", "--untracked-files=no", "--", *SOURCES) not in ("", "unknown")
    return facts
