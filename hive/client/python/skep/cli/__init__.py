# SPDX-License-Identifier: BSD-2-Clause
"""The command `skep`: everything that the API does, as NOUN VERB.

A command is a method of skep.Hive; its arguments and options are made of the method's signature (arguments.py). What is more than one
call (login, waiting, downloads, extcap) is in commands.py."""
from __future__ import annotations

import argparse
import contextlib
import inspect
import os
import sys
from typing import Any, Callable, Sequence

import skep

from ..errors import (DamagedError, ForbiddenError, JobFailedError, LoginError, NotFoundError, RefusedError, SkepError, UnreachableError,
                      UntrustedError, UsageError, WaitTimeoutError)
from ..models import Answer
from . import arguments, commands, config, output

DONE, FAILED, USAGE, INCOMPLETE, FORBIDDEN, NOT_FOUND, UNREACHABLE, TOO_LATE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130
EPILOGUE = """exit codes: 0 done; 1 failed; 2 wrong use; 3 done, but something is missing (it says what); 4 not logged in or not
allowed; 5 not found; 6 no answer, or not proven to be the hive; 7 not in time; 130 interrupted."""

H = skep.Hive
# noun -> (help, {verb: method})
NOUNS: dict[str, tuple[str, dict[str, Callable[..., Any]]]] = {
    "job": ("captures", {
        "list": H.get_jobs, "show": H.get_job, "stop": H.stop_job, "cancel": H.cancel_job, "pause": H.pause_job, "resume": H.resume_job,
        "archive": H.archive_job, "restore": H.restore_job, "clone": H.clone_job, "events": H.get_job_events}),
    "dataset": ("what captures leave", {
        "list": H.get_datasets, "show": H.get_dataset, "change": H.change_dataset, "delete": H.delete_dataset, "files": H.get_files,
        "manifest": H.get_manifest}),
    "share": ("links to datasets, for people without an account", {
        "list": H.get_shares, "show": H.get_share, "delete": H.delete_share, "look": H.get_shared}),
    "note": ("notes on datasets", {
        "list": H.get_notes, "show": H.get_note, "create": H.create_note, "change": H.change_note, "delete": H.delete_note}),
    "import": ("captures that are brought in as datasets", {
        "list": H.get_imports, "show": H.get_import, "delete": H.delete_import}),
    "destination": ("places for copies of datasets", {
        "list": H.get_destinations, "show": H.get_destination, "create": H.create_destination, "change": H.change_destination,
        "delete": H.delete_destination}),
    "copy": ("copies of datasets elsewhere", {
        "list": H.get_copies, "show": H.get_copy, "create": H.create_copy, "delete": H.delete_copy}),
    "ring": ("flight recorders: the last packets of links", {
        "list": H.get_rings, "show": H.get_ring, "create": H.create_ring, "trigger": H.trigger}),
    "template": ("fields of jobs, to make jobs of", {
        "list": H.get_templates, "show": H.get_template, "create": H.create_template, "change": H.change_template,
        "delete": H.delete_template, "use": H.use_template}),
    "schedule": ("jobs at times", {
        "list": H.get_schedules, "show": H.get_schedule, "create": H.create_schedule, "change": H.change_schedule,
        "delete": H.delete_schedule}),
    "webhook": ("addresses that are told what happens to jobs", {
        "list": H.get_webhooks, "show": H.get_webhook, "create": H.create_webhook, "change": H.change_webhook, "delete": H.delete_webhook,
        "deliveries": H.get_deliveries, "test": H.test_webhook}),
    "link": ("where packets come from", {
        "list": H.get_links, "show": H.get_link, "create": H.create_link, "change": H.change_link, "delete": H.delete_link}),
    "probe": ("servers with links", {
        "list": H.get_probes, "show": H.get_probe, "create": H.create_probe, "change": H.change_probe, "delete": H.delete_probe,
        "enrol": H.enrol_probe, "discover": H.discover_links}),
    "filter": ("saved filters", {
        "list": H.get_filters, "show": H.get_filter, "create": H.create_filter, "change": H.change_filter, "delete": H.delete_filter,
        "check": H.check_filter, "estimate": H.estimate_filter}),
    "user": ("people", {
        "list": H.get_users, "show": H.get_user, "create": H.create_user, "change": H.change_user, "delete": H.delete_user}),
    "group": ("what people may do", {
        "list": H.get_groups, "show": H.get_group, "create": H.create_group, "change": H.change_group, "delete": H.delete_group,
        "members": H.get_members, "join": H.join_group, "leave": H.leave_group, "allow-link": H.allow_link,
        "disallow-link": H.disallow_link}),
    "token": ("access for programs", {
        "list": H.get_tokens, "show": H.get_token, "create": H.create_token, "delete": H.delete_token}),
    "session": ("who is logged in where", {
        "list": H.get_sessions, "show": H.whoami, "delete": H.delete_session, "logout-everywhere": H.logout_everywhere}),
    "audit": ("who did what", {"list": H.get_audit, "show": H.get_audit_entry}),
    "hive": ("the hive itself", {
        "health": H.health, "ready": H.ready, "metrics": H.metrics, "logs": H.get_logs,
        "store": H.store, "openapi": H.openapi}),
}
# Parameter or noun -> how a thing of that kind is found by its name, where names are unique.
BY_NAME: dict[str, Callable[..., Any]] = {
    "destination": H.get_destinations, "filter": H.get_filters, "group": H.get_groups, "link": H.get_links, "probe": H.get_probes,
    "schedule": H.get_schedules, "template": H.get_templates, "token": H.get_tokens, "user": H.get_users, "webhook": H.get_webhooks}


def common_options() -> argparse.ArgumentParser:
    """Options that may stand before and after the noun and the verb."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", choices=["table", "json", "csv"], help="default: table")
    parser.add_argument("--columns", metavar="A,B,…", help="which fields; all: all")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no remarks")
    parser.add_argument("--as", dest="as_name", metavar="NAME", help="log in for this command, for what a token may not do (passwords)")
    parser.add_argument("--as-password-file", metavar="FILE", help="with --as; -: standard input; without it, it is asked for")
    parser.add_argument("--profile", metavar="NAME", help="which hive of the settings (default: $SKEP_PROFILE, or default)")
    return parser


def make_parser() -> argparse.ArgumentParser:
    common = common_options()
    parser = argparse.ArgumentParser(prog="skep", description="Asks a skep hive for captures, and fetches them.", epilog=EPILOGUE,
                                     parents=[common], allow_abbrev=False)
    parser.add_argument("-V", "--version", action="version", version=f"skep {skep.__version__}")
    nouns = parser.add_subparsers(metavar="NOUN", required=True, title="nouns and commands")
    places = {}
    for noun, (about, verbs) in NOUNS.items():
        place = nouns.add_parser(noun, help=about, description=f"{about.capitalize()}.", allow_abbrev=False)
        places[noun] = place.add_subparsers(metavar="VERB", required=True, title="verbs")
        for verb, method in verbs.items():
            about_verb = (inspect.getdoc(method) or "").split("\n\n")[0].replace("\n", " ")
            entry = places[noun].add_parser(verb, help=about_verb.replace("%", "%%"), description=about_verb, parents=[common],
                                            allow_abbrev=False)
            arguments.add_arguments(entry, method)
            entry.set_defaults(run=run_method, method=method, noun=noun)
    commands.add(nouns, places, common)
    return parser


def resolver(hive: skep.Hive, noun: str) -> Callable[[str, str], Any]:
    """Makes an id of an id or, where names are unique, of a name."""
    def resolve(parameter: str, text: str) -> Any:
        find = BY_NAME.get(parameter) or BY_NAME.get(noun)
        if text.isdigit() or not find or (parameter not in BY_NAME and parameter != noun):
            return text
        found = list(find(hive, name=text, limit=2))
        if len(found) != 1:
            raise UsageError(f'there {"is no" if not found else "are several"} {parameter} "{text}" that you may see; give its id')
        return found[0]
    return resolve


def run_method(options: argparse.Namespace) -> int:
    hive = commands.connect(options)
    positional, named = arguments.take(options, options.method, resolver(hive, options.noun))
    result = options.method(hive, *positional, **named)
    form, columns = getattr(options, "output", "table"), getattr(options, "columns", None)
    if isinstance(result, Answer):
        output.print_one(result, form, columns)
    elif inspect.isgenerator(result):
        output.print_rows(result, form, columns)
    elif result is not None:
        output.print_plain(result, form)
    return DONE


def _complain(text: str) -> None:
    print(f"skep: {output.printable(text)}", file=sys.stderr)


def explain(error: SkepError) -> int:
    """Says what went wrong, each problem of a form in a line; returns the exit code."""
    if isinstance(error, RefusedError):
        for problem in error.problems:
            _complain(f"{f'{problem.pointer}: ' if problem.pointer else ''}{problem}")
    else:
        _complain(str(error))
    for kinds, code in (((UsageError,), USAGE), ((LoginError, ForbiddenError), FORBIDDEN), ((NotFoundError,), NOT_FOUND),
                        ((UnreachableError, UntrustedError), UNREACHABLE), ((WaitTimeoutError,), TOO_LATE),
                        ((JobFailedError, DamagedError), FAILED)):
        if isinstance(error, kinds):
            if isinstance(error, LoginError):
                _complain("run: skep login URL")
            return code
    return FAILED


def main(words: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete  # only while the shell asks
        argcomplete.autocomplete(parser, always_complete_options="long")
    try:
        options = parser.parse_args(words)
    except SystemExit as done:
        return int(done.code or 0)
    options.profile = getattr(options, "profile", None) or os.environ.get("SKEP_PROFILE") or "default"
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except SkepError as error:
        return explain(error)
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the interpreter does not complain when it flushes
        return FAILED
    finally:
        if hasattr(options, "session"):
            with contextlib.suppress(SkepError):
                options.session.logout()


__all__ = ["config", "main", "make_parser"]
