# SPDX-License-Identifier: BSD-2-Clause
"""Wireshark's extcap interface (extcap(4)): every link that one may use is an interface of Wireshark, tshark and dumpcap.

What is shown is near-live, not live: a hive hands out what a capture has left, so a capture here is a chain of jobs of a few seconds
each. The next job runs before the one before it is stopped, and what both have is taken once (an engine stamps a packet once for all
jobs), so nothing is missing between them; packets arrive a few seconds late. SIGTERM (Wireshark's stop button) ends the chain: what the
last job has is still shown."""
from __future__ import annotations

import argparse
import os
import pathlib
import signal
import stat
import struct
import sys
import tempfile
import threading
from typing import BinaryIO, Sequence

from .errors import RefusedError, SkepError, UsageError, WaitTimeoutError, not_found
from .hive import Hive
from .jobs import Links
from .models import JobDetail, Link
from .transport import VERSION
from .values import to_seconds

PREFIX = "skep-"
ETHERNET = 1
PCAP_HEAD = struct.Struct("<IHHiIII")
RECORD_HEAD = struct.Struct("<IIII")
NANOSECONDS = 0xA1B23C4D
LONGEST_RECORD = 262144
GRACE_S = 60  # a job that nobody stops (we were killed) ends by itself this much later


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="skep extcap", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extcap-interfaces", action="store_true", help="list the links")
    parser.add_argument("--extcap-dlts", action="store_true", help="the link type of an interface")
    parser.add_argument("--extcap-config", action="store_true", help="what can be set for an interface")
    parser.add_argument("--extcap-interface", metavar="NAME")
    parser.add_argument("--extcap-capture-filter", metavar="FILTER", help="with --capture: the filter; alone: is it one?")
    parser.add_argument("--extcap-version", metavar="VERSION", help="Wireshark's")
    parser.add_argument("--extcap-reload-option", metavar="NAME")
    parser.add_argument("--capture", action="store_true", help="capture until SIGTERM")
    parser.add_argument("--fifo", metavar="PATH", help="where the packets go, as pcap")
    parser.add_argument("--slice", metavar="DURATION", default="3s", help="how long each job runs (default: 3s)")
    parser.add_argument("--snaplen", metavar="BYTES", type=int, default=0, help="keep only the first bytes of packets; 0: all")
    parser.add_argument("--max-size", metavar="SIZE", default="1GB", help="of each job (default: 1GB)")
    parser.add_argument("--install", metavar="FOLDER", nargs="?", const=str(pathlib.Path.home() / ".local/lib/wireshark/extcap"),
                        help="put skep-extcap there (default: Wireshark's personal folder)")
    return parser


# --- what Wireshark asks ---

def _field(text: str) -> str:
    """As a value of an extcap sentence, which braces end."""
    return "".join("_" if char in "{}\r\n" else char for char in text)


def interface_name(link: Link) -> str:
    return PREFIX + link.name if all(char.isalnum() or char in "-_.:" for char in link.name) else f"{PREFIX}#{link.id}"


def print_interfaces(hive: Hive) -> None:
    for link in hive.get_links(sort="name"):
        if not link.disabled:
            about = f": {link.description}" if link.description else ""
            print(f"interface {{value={_field(interface_name(link))}}}{{display={_field(f'skep {link.name}{about}')}}}")


def print_config() -> None:
    print("arg {number=0}{call=--slice}{display=Packets arrive every}{tooltip=Length of each job; shorter is livelier and costs more jobs}"
          "{type=string}{default=3s}")
    print("arg {number=1}{call=--snaplen}{display=Bytes of each packet}{tooltip=0: all}{type=integer}{range=0,262144}{default=0}")
    print("arg {number=2}{call=--max-size}{display=Most of each job}{tooltip=A slice that gets larger is cut short}{type=string}"
          "{default=1GB}")


def find_link(hive: Hive, interface: str) -> Link:
    for link in hive.get_links():
        if interface_name(link) == interface:
            return link
    raise not_found(f'there is no interface "{interface}"; see --extcap-interfaces')


def check_filter(hive: Hive | None, options: argparse.Namespace) -> None:
    """Prints what is wrong with the filter; nothing if it is right, or if nobody can be asked."""
    if not hive or not options.extcap_capture_filter:
        return
    links: Links = find_link(hive, options.extcap_interface) if options.extcap_interface else "*"
    answer = hive.check_filter(options.extcap_capture_filter, links=links)
    if not answer.ok:
        print(f"{answer.error}{f' (column {answer.column})' if answer.column else ''}{f'. {answer.hint}' if answer.hint else ''}")


def install(folder: str) -> pathlib.Path:
    """A small script that Wireshark can start; returns where it is."""
    target = pathlib.Path(folder) / "skep-extcap"
    target.parent.mkdir(parents=True, exist_ok=True)
    package = pathlib.Path(__file__).resolve().parent.parent
    start = f'PYTHONPATH="{package}${{PYTHONPATH:+:$PYTHONPATH}}" exec "{sys.executable}" -m skep extcap "$@"'
    target.write_text(f"#!/bin/sh\n# Written by: skep extcap --install\n{start}\n", encoding="utf-8")
    target.chmod(target.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return target


# --- capturing ---

class Stop(Exception):
    """SIGTERM or SIGINT: Wireshark wants no more."""


class Chain:
    """Jobs one after another on a link, and what they have as one pcap."""

    def __init__(self, hive: Hive, link: Link, options: argparse.Namespace, out: BinaryIO):
        self.hive, self.link, self.options, self.out = hive, link, options, out
        self.slice_s = to_seconds(options.slice, "slice") or 1
        self.last_ns = -1
        self.stopping = threading.Event()
        self.jobs: list[JobDetail] = []  # that are not shown yet, oldest first
        out.write(PCAP_HEAD.pack(NANOSECONDS, 2, 4, 0, 0, LONGEST_RECORD, ETHERNET))
        out.flush()

    def begin(self) -> JobDetail:
        job = self.hive.create_job("Wireshark", [self.link], filter=self.options.extcap_capture_filter or None,
                                   duration=self.slice_s + GRACE_S, max_size=self.options.max_size, snaplen=self.options.snaplen)
        self.jobs.append(job)
        return job

    def run(self) -> None:
        """Until Stop."""
        self._running(self.begin(), GRACE_S)
        while not self.stopping.wait(self.slice_s):
            following = self.begin()
            try:
                self._running(following, self.slice_s + 10)
            except WaitTimeoutError:
                print("skep: the link has no room for a second job; some packets between two slices are missing", file=sys.stderr)
            self.show_next()
        raise Stop

    def _running(self, job: JobDetail, timeout_s: int) -> None:
        def look(_: JobDetail) -> None:
            if self.stopping.is_set():
                raise Stop

        self.hive.wait(job, until=["running"], timeout=timeout_s, progress=look)

    def show_next(self) -> None:
        """Ends the oldest job and writes what it has."""
        job = self._ended(self.jobs[0])
        with tempfile.TemporaryDirectory(prefix="skep-extcap-") as folder:
            path = self.hive.download(job, pathlib.Path(folder) / "slice.pcap", format="pcap")
            self._copy(path)
        self.jobs.pop(0)
        self.hive.archive_job(job)

    def _ended(self, job: JobDetail) -> JobDetail:
        try:
            self.hive.stop_job(job)
        except RefusedError:
            pass  # it has ended by itself
        return self.hive.wait(job, timeout=GRACE_S)

    def _copy(self, path: pathlib.Path) -> None:
        """The records of a file that are newer than what was written."""
        newest = self.last_ns
        with open(path, "rb") as file:
            head = file.read(PCAP_HEAD.size)
            magic = struct.unpack_from("<I", head)[0]
            scale = 1 if magic == NANOSECONDS else 1000
            while len(record := file.read(RECORD_HEAD.size)) == RECORD_HEAD.size:
                sec, fraction, kept, length = RECORD_HEAD.unpack(record)
                data = file.read(kept)
                at = sec * 10**9 + fraction * scale
                if at <= self.last_ns:
                    continue
                newest = max(newest, at)
                self.out.write(RECORD_HEAD.pack(sec, fraction * scale, kept, length) + data)
        self.last_ns = newest
        self.out.flush()

    def finish(self) -> None:
        """What the last jobs have; then nothing of ours runs any more."""
        while self.jobs:
            self.show_next()

    def abandon(self) -> None:
        """Nobody reads: nothing is kept."""
        for job in self.jobs:
            try:
                self.hive.cancel_job(job)
            except SkepError:
                pass


def capture(hive: Hive, options: argparse.Namespace) -> int:
    if not options.fifo or not options.extcap_interface:
        raise UsageError("--capture needs --extcap-interface and --fifo")
    link = find_link(hive, options.extcap_interface)
    with open(options.fifo, "wb") as out:
        chain = Chain(hive, link, options, out)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: chain.stopping.set())
        try:
            try:
                chain.run()
            except Stop:
                chain.finish()
        except BrokenPipeError:
            chain.abandon()
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # for what is still buffered
        except BaseException:
            chain.abandon()
            raise
    return 0


def run(hive: Hive | None, words: Sequence[str]) -> int:
    """What `skep extcap WORDS…` does. hive: None if no hive is known; then there are no interfaces, and Wireshark starts all the same."""
    options = make_parser().parse_args(words)
    if options.install:
        print(install(options.install))
        return 0
    if options.extcap_interfaces:
        print(f"extcap {{version={VERSION}}}")
        if hive:
            print_interfaces(hive)
    elif options.extcap_dlts:
        print(f"dlt {{number={ETHERNET}}}{{name=EN10MB}}{{display=Ethernet}}")
    elif options.extcap_config:
        print_config()
    elif options.capture:
        if not hive:
            raise UsageError("which hive? Run: skep login URL")
        return capture(hive, options)
    elif options.extcap_capture_filter is not None:
        check_filter(hive, options)
    else:
        raise UsageError("see skep extcap --help")
    return 0


__all__ = ["make_parser", "run"]
