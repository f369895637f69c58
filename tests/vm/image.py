# SPDX-License-Identifier: BSD-2-Clause
"""What the emulated machine boots from: an initial file system for each kernel (busybox and modules), and one disk with our programs, the
distribution's tools, Python, and the libraries that ldd names. Nothing is mounted here, so no rights are needed.
"""
import gzip
import os
import pathlib
import re
import shutil
import stat
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = ("ip", "ethtool", "tcpdump", "zstd", "bpftool", "grep")
PYTHON = "/usr/bin/python3"
PYTHON_LEAVES_OUT = shutil.ignore_patterns("test", "idlelib", "lib2to3", "distutils", "ensurepip", "config-*", "tkinter", "pydoc_data",
                                           "turtledemo", "unittest", "_ssl*", "_tkinter*")
# Those of tests/bpf that end within a minute without acceleration.
KERNEL_TESTS = ("test_hook", "test_loads", "test_programs")
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /new
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
for module in /modules/*.ko; do
	/bin/busybox insmod $module || echo "insmod $module failed"
done
n=0
while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do
	/bin/busybox sleep 0.1
	n=$((n + 1))
done
/bin/busybox mount -t ext4 -o ro /dev/vda /new
for at in proc sys dev; do
	/bin/busybox mount --move /$at /new/$at
done
exec /bin/busybox switch_root /new /usr/bin/python3 -B /vm/main.py
"""


def cpio(entries):
    """A "newc" archive of (name, mode, bytes)."""
    out = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        words = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(words), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + words
        out += b"\0" * (-len(out) % 4)
        out += data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def initramfs(kernel, tools, out):
    """kernel: a folder of packages.Cache.kernel; tools: of .tools."""
    folder, program = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
    entries = [(name, folder, b"") for name in ("bin", "modules", "dev", "proc", "sys", "new")]
    entries.append(("bin/busybox", program, (tools / "bin/busybox").read_bytes()))
    entries.append(("init", program, INIT.encode()))
    entries += [(f"modules/{path.name}", program, path.read_bytes()) for path in sorted(kernel.glob("*.ko"))]
    out.write_bytes(gzip.compress(cpio(entries), 1))


def libraries(paths):
    """What ldd names for these programs and shared objects."""
    listed = subprocess.run(["ldd", *map(str, paths)], capture_output=True, text=True, check=False).stdout
    missing = re.findall(r"(\S+) => not found", listed)
    if missing:
        raise RuntimeError(f"shared libraries are missing on this machine: {' '.join(sorted(set(missing)))}")
    return sorted(set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", listed, re.MULTILINE)))


def place(source, stage, at=None):
    """Copies a file (what a link leads to) to the same path below stage, or to `at`."""
    target = stage / str(at or source).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(source, target)
    return target


def skeleton(stage):
    for folder in ("bin", "sbin", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "proc", "sys", "dev", "run", "tmp", "data", "etc", "root",
                   "vm"):
        (stage / folder).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin"):
        (stage / name).rmdir()
    for name in ("bin", "sbin", "lib", "lib64"):
        os.symlink(f"usr/{name}", stage / name)
    (stage / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (stage / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (stage / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\n")
    (stage / "etc/hostname").write_text("skep-vm\n")


def root_disk(build, tools, stage, out):
    """An ext4 image of everything the guest runs. stage is an empty folder, removed afterwards."""
    skeleton(stage)
    programs = [place(path, stage, f"/skep/bin/{path.name}") for path in sorted((build / "bin").iterdir())]
    programs += [place(build / "tests" / "bpf" / name, stage, f"/skep/tests/{name}") for name in KERNEL_TESTS]
    place(HERE.parent / "bpf" / "filters.txt", stage, "/skep/filters.txt")
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    programs += [place(shutil.which(name, path=path), stage, f"/usr/bin/{name}") for name in TOOLS if shutil.which(name, path=path)]
    programs += [place(tools / "usr/sbin" / name, stage, f"/usr/bin/{name}") for name in ("xdp-loader", "xdpdump")]
    programs.append(place(PYTHON, stage))
    place(tools / "bin/busybox", stage, "/usr/bin/busybox")
    # Not busybox's: its shell prefers its own ip, grep and so on to the real ones.
    programs.append(place("/bin/dash", stage, "/usr/bin/sh"))
    # libxdp reads its dispatcher from here.
    shutil.copytree("/usr/lib/x86_64-linux-gnu/bpf", stage / "usr/lib/x86_64-linux-gnu/bpf")
    version = subprocess.run([PYTHON, "-c", "import sys; print('python%d.%d' % sys.version_info[:2])"], capture_output=True, text=True,
                             check=True).stdout.strip()
    shutil.copytree(f"/usr/lib/{version}", stage / f"usr/lib/{version}", ignore=PYTHON_LEAVES_OUT, symlinks=True)
    programs += sorted((stage / f"usr/lib/{version}/lib-dynload").glob("*.so"))
    for library in libraries(programs):
        place(library, stage)
    for script in [*sorted((HERE / "guest").glob("*.py")), HERE.parent / "net" / "pcapfile.py"]:
        place(script, stage, f"/vm/{script.name}")
    make_ext4(out, 400, stage)
    shutil.rmtree(stage)


def make_ext4(out, size_mib, folder=None):
    with open(out, "wb") as image:
        image.truncate(size_mib << 20)
    words = ["-d", str(folder)] if folder else []
    options = ["-O", "^metadata_csum", "-m", "0", "-N", "16384", "-J", "size=16", "-E", "lazy_itable_init=0"]
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", *options, *words, str(out), f"{size_mib}M"], check=True,
                   env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"})
