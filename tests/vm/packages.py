# SPDX-License-Identifier: BSD-2-Clause
"""Debian's kernels, emulator and a few tools, in a cache folder: fetched by apt with lists and folders of its own, unpacked, never
installed.

apt checks signatures and digests; the mirror is the one this machine's own apt uses. The machine's sources, lists and packages stay as they
are. The cache is $SKEP_VM_CACHE, else ~/.cache/skep-vm; removing it is always safe. What it holds is used also when the mirror cannot be
reached. Unavailable says in words why something cannot be had.
"""
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = ("bookworm", "bookworm-backports", "trixie-backports")
LISTS_AGE_S = 7 * 24 * 3600
# In this order they are put into the kernel; one that is not there is built in, or this kernel has no such thing.
MODULES = (
    "virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk",
    "crc16", "crc32c_generic", "libcrc32c", "mbcache", "jbd2", "ext4",
    "failover", "net_failover", "virtio_net", "dca", "i2c-algo-bit", "igb", "veth")
# name of a kernel here -> what its version begins with ("" is anything: the newest)
KERNELS = {"6.1": "6.1.", "6.12": "6.12.", "newest": ""}


class Unavailable(Exception):
    """The machine cannot have this; the text is the reason."""


def run(argv, **kwargs):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False, **kwargs)
    if done.returncode:
        raise Unavailable(f"{' '.join(map(str, argv[:3]))}: {' '.join((done.stderr or done.stdout).split())[-300:]}")
    return done.stdout


def mirror():
    """Where this machine's apt has Debian from."""
    if os.environ.get("SKEP_VM_MIRROR"):
        return os.environ["SKEP_VM_MIRROR"]
    if not shutil.which("apt-get"):
        raise Unavailable("no apt-get: kernels are fetched on Debian only")
    listed = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(ORIGIN)", "Identifier: Packages"])
    for line in listed.splitlines():
        uri, codename, origin = (line.split() + ["", "", ""])[:3]
        if origin == "Debian" and codename in ("bookworm", "trixie"):
            return uri
    raise Unavailable("apt has no list of Debian 12 or 13 (run apt-get update, or set SKEP_VM_MIRROR)")


class Cache:
    def __init__(self):
        self.root = pathlib.Path(os.environ.get("SKEP_VM_CACHE") or pathlib.Path.home() / ".cache" / "skep-vm")
        self.apt = self.root / "apt"
        self.env = {**os.environ, "APT_CONFIG": str(self.apt / "apt.conf")}
        self.updated = False

    # --- apt ---------------------------------------------------------------------------------------------------------

    def update(self):
        """Lists that are not older than a week."""
        if self.updated:
            return
        stamp = self.apt / "updated"
        if not stamp.exists() or time.time() - stamp.stat().st_mtime > LISTS_AGE_S:
            (self.apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
            (self.apt / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
            base = mirror()
            (self.apt / "sources.list").write_text("".join(f"deb [signed-by={KEYRING}] {base} {suite} main\n" for suite in SUITES))
            (self.apt / "apt.conf").write_text(
                f'Dir::Etc::sourcelist "{self.apt}/sources.list";\nDir::Etc::sourceparts "-";\nDir::Etc::preferencesparts "-";\n'
                f'Dir::State::Lists "{self.apt}/lists";\nDir::Cache "{self.apt}/cache";\nAPT::Sandbox::User "root";\n'
                'Acquire::Languages "none";\nAcquire::Retries "1";\nAcquire::http::Timeout "20";\nAcquire::https::Timeout "20";\n'
                'APT::Update::Error-Mode "any";\nDebug::NoLocking "1";\n')
            run(["apt-get", "update", "-q"], env=self.env)
            stamp.touch()
        self.updated = True

    def fetch(self, *packages):
        """Packages by themselves, as files in a folder that the caller removes."""
        self.update()
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.root, prefix="fetch-"))
        run(["apt-get", "download", "-q", *packages], env=self.env, cwd=folder)
        return folder

    def unpacked(self, name, fill):
        """The folder root/name; `fill` makes it at the first time, whole or not at all."""
        target = self.root / name
        if not target.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            new = pathlib.Path(tempfile.mkdtemp(dir=self.root, prefix="new-"))
            try:
                fill(new)
                new.rename(target)
            finally:
                shutil.rmtree(new, ignore_errors=True)
        return target

    # --- what the tests need -----------------------------------------------------------------------------------------

    def qemu(self):
        """(words that start qemu, its version). The one of backports, which emulates igb; else the machine's own."""
        try:
            root = self.unpacked("qemu", self._fill_qemu)
        except Unavailable as reason:
            own = shutil.which("qemu-system-x86_64")
            if not own:
                raise Unavailable(f"no qemu-system-x86_64 here, and none to fetch: {reason}") from reason
            words = [own]
        else:
            libraries = ":".join(str(root / folder) for folder in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
            words = ["env", f"LD_LIBRARY_PATH={libraries}", str(root / "usr/bin/qemu-system-x86_64")]
            for folder in ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"):
                words += ["-L", str(root / folder)]
        return words, run([*words, "--version"]).split()[3]

    def _fill_qemu(self, folder):
        self.update()
        archives = self.apt / "cache" / "archives"
        for old in archives.glob("*.deb"):
            old.unlink()
        run(["apt-get", "install", "-d", "-q", "-y", "--no-install-recommends", "-t", "bookworm-backports", "qemu-system-x86"],
            env={**self.env, "DEBIAN_FRONTEND": "noninteractive"})
        for package in sorted(archives.glob("*.deb")):
            run(["dpkg", "-x", package, folder])
            package.unlink()
        if not (folder / "usr/bin/qemu-system-x86_64").exists():
            raise Unavailable("apt fetched no qemu (is it installed already?)")

    def tools(self):
        """A folder with busybox (static) and xdp-tools."""
        return self.unpacked("tools", lambda folder: self._unpack(folder, "busybox-static", "xdp-tools"))

    def _unpack(self, folder, *packages):
        fetched = self.fetch(*packages)
        try:
            for package in fetched.glob("*.deb"):
                run(["dpkg", "-x", package, folder])
        finally:
            shutil.rmtree(fetched)

    def kernel(self, name):
        """The folder of a kernel of KERNELS: vmlinuz, version, and the modules by number."""
        try:
            self.update()
            packages, version = self._newest(KERNELS[name])
        except Unavailable:
            # The mirror is away: what was unpacked before will do.
            old = sorted(self.root.glob(f"kernels/{KERNELS[name]}*"), key=lambda path: numbers(path.name))
            if not old:
                raise
            return old[-1]
        return self.unpacked(f"kernels/{version}", lambda folder: self._fill_kernel(folder, packages, version))

    def _newest(self, prefix):
        found = {}
        for line in run(["apt-cache", "search", "--names-only", r"^linux-(image|binary)-[0-9].*-amd64(-unsigned)?$"],
                        env=self.env).splitlines():
            match = re.fullmatch(r"linux-(image|binary)-((\d+\.[0-9.]+)\S*?-amd64)(-unsigned)?", line.split()[0])
            if match and match[3].startswith(prefix) and not re.search("cloud|rt-", match[2]):
                found.setdefault(match[2], []).append(match[0])
        if not found:
            raise Unavailable(f"the mirror has no kernel {prefix or 'at all'}")
        version = max(found, key=numbers)
        binary = [name for name in found[version] if name.startswith("linux-binary-")]
        # Since 7.0 the modules are a package of their own.
        return ([binary[0], f"linux-modules-{version}"] if binary else [min(found[version], key=len)]), version

    def _fill_kernel(self, folder, packages, version):
        wanted = [f"*/{name}.ko*" for name in MODULES] + ["*vmlinuz*"]
        fetched = self.fetch(*packages)
        try:
            for package in fetched.glob("*.deb"):
                with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:
                    subprocess.run(["tar", "-x", "-C", fetched, "--wildcards", *wanted], stdin=archive.stdout, check=False,
                                   stderr=subprocess.DEVNULL)  # complains about each pattern that is not there
            images = list(fetched.rglob("vmlinuz*"))
            if not images:
                raise Unavailable(f"no vmlinuz in {' '.join(packages)}")
            shutil.copy(images[0], folder / "vmlinuz")
            for number, name in enumerate(MODULES):
                for path in fetched.rglob(f"{name}.ko*"):
                    data = path.read_bytes()
                    (folder / f"{number:02}-{name}.ko").write_bytes(lzma.decompress(data) if path.suffix == ".xz" else data)
        finally:
            shutil.rmtree(fetched)
        (folder / "version").write_text(version)


def numbers(version):
    """A version as something that sorts."""
    return [int(number) for number in re.findall(r"\d+", version.split("+")[0])]
