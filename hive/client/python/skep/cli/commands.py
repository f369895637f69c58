# SPDX-License-Identifier: BSD-2-Clause
"""Commands that are more than one call: logging in and out, making a job and waiting for it, downloads, raw calls, completion."""
from __future__ import annotations

import argparse
import getpass
import json
import pathlib
import socket
import sys
from datetime import datetime, timezone
from typing import Any

import skep

from .. import extcap
from ..errors import JobFailedError, LoginError, SkepError, UsageError
from ..models import JobDetail
from ..values import show_bytes
from . import arguments, config, output

INCOMPLETE = 3


def connect(options: argparse.Namespace) -> skep.Hive:
    """The hive of the environment or of the profile; with --as, in a session that ends with the command."""
    profile = config.load(options.profile)
    if not profile.url:
        raise UsageError("which hive? Run: skep login URL, or set SKEP_URL and SKEP_TOKEN")
    name = getattr(options, "as_name", None)
    if name:
        hive = skep.Hive(profile.url, ca_file=profile.ca_file or None, pin=profile.pin or None)
        hive.login(name, arguments.read_secret("password", getattr(options, "as_password_file", None)))
        options.session = hive
        return hive
    return skep.Hive(profile.url, profile.token or None, ca_file=profile.ca_file or None, pin=profile.pin or None)


def remark(options: argparse.Namespace, text: str) -> None:
    if not getattr(options, "quiet", False):
        print(f"skep: {output.printable(text)}", file=sys.stderr)


def _show(options: argparse.Namespace, item: Any) -> None:
    output.print_one(item, getattr(options, "output", "table"), getattr(options, "columns", None))


# --- login ---

def login(options: argparse.Namespace) -> int:
    """With a token that exists, or with a name and a password: then a token is made, and the password forgotten."""
    profile = config.Profile(url=options.url, ca_file=str(pathlib.Path(options.ca_file).resolve()) if options.ca_file else "",
                             pin=options.pin or "")
    hive = skep.Hive(profile.url, ca_file=profile.ca_file or None, pin=profile.pin or None)
    if options.token_file:
        profile.token = arguments.read_secret("token", options.token_file)
        hive = skep.Hive(profile.url, profile.token, ca_file=profile.ca_file or None, pin=profile.pin or None)
        who = hive.whoami()
    else:
        name = options.user or (input("name: ") if sys.stdin.isatty() else getpass.getuser())
        if options.claim_file:
            who = hive.claim(arguments.read_secret("claim", options.claim_file), name,
                             arguments.read_secret("password", options.password_file))
        else:
            who = hive.login(name, arguments.read_secret("password", options.password_file))
        made = hive.create_token(f"skep on {socket.gethostname()}", rights=who.rights, expires=f"+{options.expires}")
        profile.token, profile.token_id = made.token, str(made.id)
        hive.logout()
    path = config.save(options.profile, profile)
    remark(options, f"logged in to {profile.url} as {who.name}; the token is in {path}")
    return 0


def logout(options: argparse.Namespace) -> int:
    """Revokes the token that login made, and forgets it."""
    profile = config.load(options.profile)
    if profile.token and profile.token_id:
        try:
            connect(options).delete_token(profile.token_id)
        except LoginError:
            pass  # it is not valid any more
    config.save(options.profile, None)
    return 0


def whoami(options: argparse.Namespace) -> int:
    """Who am I, and what may I do?"""
    _show(options, connect(options).whoami())
    return 0


# --- jobs ---

def _follow(options: argparse.Namespace, hive: skep.Hive, job: Any) -> JobDetail:
    progress = output.JobProgress(getattr(options, "quiet", False))
    try:
        return hive.wait(job, timeout=options.timeout, check=False, progress=progress)
    except KeyboardInterrupt:
        remark(options, f"the job goes on; see it with: skep job show {job.id if hasattr(job, 'id') else job}")
        raise
    finally:
        progress.close()


def _verdict(options: argparse.Namespace, job: JobDetail) -> int:
    if job.state != "done":
        raise JobFailedError(f"job {job.id} has ended as {job.state}: {job.reasons or 'no reasons given'}", job)
    if job.outcome == "incomplete":
        remark(options, f"job {job.id} is incomplete: {job.reasons}")
        return INCOMPLETE
    return 0


def create_job(options: argparse.Namespace) -> int:
    hive = connect(options)
    if not options.name:
        options.name = f"{getattr(options, 'filter', None) or 'all'} {datetime.now(timezone.utc):%Y-%m-%d %H:%M}"[:64]
    _, named = arguments.take(options, skep.Hive.create_job, lambda _, text: text, skip={"name", "links"})
    if options.only_print:
        output.print_plain(skep.job_fields(name=options.name, links=options.links, **named), "json")
        return 0
    job = hive.create_job(options.name, options.links, **named)
    code = 0
    if options.wait or options.download is not None:
        remark(options, f"job {job.id} is {job.state}")
        job = _follow(options, hive, job)
        code = _verdict(options, job)
    if options.download is not None:
        options.dataset = hive.dataset_of(job)
        _download(options, hive)
    _show(options, job)
    return code


def wait_job(options: argparse.Namespace) -> int:
    """Waits until a job has ended."""
    job = _follow(options, connect(options), options.job)
    _show(options, job)
    return _verdict(options, job)


# --- datasets ---

def _download(options: argparse.Namespace, hive: skep.Hive, **part: Any) -> None:
    progress = output.DownloadProgress(getattr(options, "quiet", False))
    try:
        if getattr(options, "files", False):
            paths = hive.download_files(options.dataset, options.download, progress=progress)
        else:
            paths = [hive.download(options.dataset, options.download, progress=progress, **part)]
    finally:
        progress.close()
    for path in paths:
        remark(options, f"{path}: {show_bytes(path.stat().st_size)}")


def download(options: argparse.Namespace) -> int:
    hive = connect(options)
    options.dataset = hive.dataset_of(options.dataset) if options.job else hive.get_dataset(options.dataset)
    _, part = arguments.take(options, skep.Hive.download, lambda _, text: text, skip={"dataset", "path"})
    if options.files and part:
        raise UsageError("--files brings the files as they were captured: no format, link, time or filter with it")
    _download(options, hive, **part)
    if options.dataset.state == "incomplete":
        remark(options, f"the dataset is incomplete: {options.dataset.reasons}")
        return INCOMPLETE
    return 0


def import_file(options: argparse.Namespace) -> int:
    hive = connect(options)
    progress = output.DownloadProgress(getattr(options, "quiet", False))
    try:
        dataset = hive.import_pcap(options.file, name=options.name, timeout=options.timeout, progress=progress)
    finally:
        progress.close()
    _show(options, dataset)
    return 0


def create_share(options: argparse.Namespace) -> int:
    """Shows the link, which nobody can show again."""
    hive = connect(options)
    positional, named = arguments.take(options, skep.Hive.create_share, lambda _, text: text)
    share = hive.create_share(*positional, **named)
    if getattr(options, "output", "table") == "table":
        print(hive.share_link(share))
        remark(options, f"share {share.id} until {share.expires:%Y-%m-%d %H:%M} UTC; whoever has the link has the dataset")
    else:
        _show(options, share)
    return 0


def download_shared(options: argparse.Namespace) -> int:
    (secret,), named = arguments.take(options, skep.Hive.download_shared, lambda _, text: text, skip={"path"})
    profile = config.load(options.profile)
    url = secret.partition("/api/")[0] if "://" in secret else profile.url  # a link says itself whose it is; it needs no login
    hive = skep.Hive(url, ca_file=profile.ca_file or None, pin=profile.pin if url == profile.url and profile.pin else None)
    progress = output.DownloadProgress(getattr(options, "quiet", False))
    try:
        path = hive.download_shared(secret, options.download, progress=progress, **named)
    finally:
        progress.close()
    remark(options, f"{path}: {show_bytes(path.stat().st_size)}")
    return 0


def watch(options: argparse.Namespace) -> int:
    """What happens to jobs, as it happens, a line an event."""
    for event in connect(options).iter_events(options.job):
        if getattr(options, "output", "table") == "json":
            print(json.dumps({"event": event.kind, "id": event.id, **event.data.raw}, ensure_ascii=False), flush=True)
        else:
            said = {name: value for name, value in event.data.raw.items() if name not in ("owner_id", "drops", "time")}
            print(output.printable(f"{event.data.raw.get('time', '')[:19]} {event.kind} " + " ".join(
                f"{name}={output.cell(value)}" for name, value in said.items())), flush=True)
    return 0


# --- raw calls, completion ---

def api(options: argparse.Namespace) -> int:
    """Any call: what a hive that is newer than this command can do."""
    body = None
    if options.data:
        try:
            body = json.loads(sys.stdin.read() if options.data == "-" else pathlib.Path(options.data).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{options.data}: {error}") from error
    headers = {"If-Match": options.if_match} if options.if_match else {}
    response = connect(options)._http.request(options.verb.upper(), options.path, json=body, headers=headers,
                                              key=options.verb.upper() == "POST", repeatable=False)
    sys.stdout.buffer.write(response.content)
    return 0


def run_extcap(options: argparse.Namespace) -> int:
    """Wireshark asks every extcap program at its start: without a hive, or with one that does not answer, there are no interfaces."""
    words = options.words
    known = bool(config.load(options.profile).url)
    try:
        return extcap.run(connect(options) if known else None, words)
    except SkepError:
        if "--extcap-interfaces" in words:
            return 0
        raise


def completion(options: argparse.Namespace) -> int:
    """A line for ~/.bashrc: eval "$(skep completion)"."""
    try:
        import argcomplete
    except ImportError as error:
        raise SkepError("completion needs python3-argcomplete") from error
    print(argcomplete.shellcode(["skep"], shell=options.shell))
    return 0


def complete_links() -> list[str]:
    """Names of links, while somebody presses the tabulator; quickly or not at all."""
    try:
        profile = config.load("default")
        hive = skep.Hive(profile.url, profile.token, ca_file=profile.ca_file or None, pin=profile.pin or None, timeout_s=2, retries=0)
        return [link.name for link in hive.get_links(limit=1000)]
    except (SkepError, OSError):
        return []


arguments.complete_links = complete_links


def add(nouns: Any, places: dict[str, Any], common: argparse.ArgumentParser) -> None:
    def entry(place: Any, name: str, about: str, run: Any) -> argparse.ArgumentParser:
        made = place.add_parser(name, help=about, description=about, parents=[common], allow_abbrev=False)
        made.set_defaults(run=run)
        return made

    command = entry(nouns, "login", "remember a hive and a token for it", login)
    command.add_argument("url", metavar="URL")
    command.add_argument("--user", metavar="NAME")
    command.add_argument("--password-file", metavar="FILE", help="file with the password; -: standard input; without it, it is asked for")
    command.add_argument("--token-file", metavar="FILE", help="use this token instead of a password; -: standard input")
    command.add_argument("--claim-file", metavar="FILE", help="become an administrator, with the one-time link in this file")
    command.add_argument("--expires", metavar="DURATION", default="30d", help="how long the token is valid (default: 30d)")
    command.add_argument("--ca-file", metavar="FILE", help="who vouches for the hive's certificate (default: the system's)")
    command.add_argument("--pin", metavar="sha256//…", help="the hive's public key, instead of a certificate that somebody vouches for")
    entry(nouns, "logout", "revoke and forget the token", logout)
    entry(nouns, "whoami", "who am I, and what may I do?", whoami)

    command = entry(places["job"], "create", "ask for a capture", create_job)
    command.add_argument("name", nargs="?", metavar="NAME", help="default: the filter and the time")
    arguments.add_arguments(command, skep.Hive.create_job, skip={"name"})
    command.add_argument("--print", action="store_true", dest="only_print",
                         help="only print the fields, as JSON for templates and schedules")
    command.add_argument("--wait", action="store_true", help="until it has ended")
    command.add_argument("--download", metavar="PATH",
                         help="wait, then fetch the dataset: a file (.pcap .pcapng .pcap.zst .zip .tar) or a folder")
    command.add_argument("--timeout", metavar="DURATION", help="how long to wait (default: for ever); the job goes on after it")
    command = entry(places["job"], "wait", "wait until a job has ended", wait_job)
    command.add_argument("job", metavar="JOB")
    command.add_argument("--timeout", metavar="DURATION", help="how long to wait (default: for ever)")

    command = entry(places["dataset"], "download", "fetch a dataset", download)
    command.add_argument("dataset", metavar="DATASET", help="its id; with --job, that of its job")
    command.add_argument("download", metavar="PATH", nargs="?", default=".", help="a file, whose ending says the format, or a folder")
    command.add_argument("--job", action="store_true", help="the id is a job's")
    command.add_argument("--files", action="store_true", help="the files as they were captured, each verified")
    arguments.add_arguments(command, skep.Hive.download, skip={"dataset", "path"})

    command = entry(places["import"], "create", "bring a pcap or pcapng (plain or zstd) in as a dataset", import_file)
    command.add_argument("file", metavar="FILE")
    command.add_argument("--name", metavar="NAME", help="of the dataset (default: the file's)")
    command.add_argument("--timeout", metavar="DURATION", default="1h", help="how long checking may take (default: 1h)")

    command = entry(places["share"], "create", "make a link to a dataset for people without an account", create_share)
    arguments.add_arguments(command, skep.Hive.create_share)
    command = entry(places["share"], "download", "fetch what somebody shares", download_shared)
    command.add_argument("download", metavar="PATH", nargs="?", default=".", help="a file, whose ending says the format, or a folder")
    arguments.add_arguments(command, skep.Hive.download_shared, skip={"path"})

    command = entry(nouns, "watch", "what happens to jobs, as it happens", watch)
    command.add_argument("job", metavar="JOB", nargs="?", help="only this job, until it has ended")

    command = entry(nouns, "api", "any call of the API", api)
    command.add_argument("verb", choices=["get", "post", "put", "patch", "delete"])
    command.add_argument("path", metavar="PATH", help="/api/v1/…")
    command.add_argument("--data", metavar="FILE", help="JSON to send; -: standard input")
    command.add_argument("--if-match", metavar="ETAG")
    command = nouns.add_parser("extcap", help="links as interfaces of Wireshark; see skep extcap --help", add_help=False, prefix_chars="\0")
    command.add_argument("words", nargs="*")
    command.set_defaults(run=run_extcap)
    command = entry(nouns, "completion", 'for ~/.bashrc: eval "$(skep completion)"', completion)
    command.add_argument("shell", nargs="?", choices=["bash", "zsh", "fish"], default="bash")
