# SPDX-License-Identifier: BSD-2-Clause
"""Options and arguments of a command, made of the signature and the docstring of the method of skep.Hive that it calls. So the command
line cannot know less than the library does."""
from __future__ import annotations

import argparse
import collections.abc
import getpass
import inspect
import json
import sys
import types
import typing
from typing import Any, Callable, Collection

from ..calls import UNSET, Ref
from ..errors import UsageError

# Never in argv; each is read from a file, from stdin, or asked for.
SECRETS = {"password", "token", "secret", "enrol"}
# For programs only.
HIDDEN = {"progress", "check", "until", "key"}


def _options(hint: Any) -> list[Any]:
    """The alternatives of a type, without "not given" and null."""
    alternatives = typing.get_args(hint) if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union else (hint,)
    return [one for one in alternatives if one is not type(UNSET) and one is not type(None)]


def _argument(hint: Any) -> dict[str, Any]:
    """What argparse needs to know of a type."""
    alternatives = _options(hint)
    literal = next((one for one in alternatives if typing.get_origin(one) is typing.Literal), None)
    several = next((one for one in alternatives if typing.get_origin(one) in (list, collections.abc.Sequence)), None)
    if several is not None:
        inner = _argument(typing.get_args(several)[0])
        return {"action": "append", **{name: value for name, value in inner.items() if name in ("choices", "type")}}
    if any(typing.get_origin(one) is collections.abc.Mapping for one in alternatives):
        return {"type": json_file, "metavar": "FILE"}
    if bool in alternatives:
        return {"action": argparse.BooleanOptionalAction}
    if alternatives == [int]:
        return {"type": int}
    if literal is not None and str not in alternatives:
        return {"choices": list(typing.get_args(literal))}
    return {}


def _is_ref(hint: Any) -> bool:
    return hint == Ref


def add_arguments(parser: argparse.ArgumentParser, method: Callable[..., Any], skip: Collection[str] = ()) -> None:
    """Positional parameters become arguments, keyword parameters options; **where becomes conditions."""
    hints = typing.get_type_hints(method)
    for name, parameter in inspect.signature(method).parameters.items():
        if name == "self" or name in HIDDEN or name in skip:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            if name == "where":
                parser.add_argument("where", nargs="*", metavar="CONDITION", help="FIELD=VALUE, FIELD.ge=, FIELD.le=, FIELD.has=")
            for field, hint in _unpacked(hints[name]).items():
                _add_option(parser, field, hint, required=False)
        elif name == "links":
            _add_option(parser, name, hints[name], required=parameter.default is parameter.empty)
        elif name in SECRETS and not _is_ref(hints[name]):
            parser.add_argument(f"--{name}-file", dest=name, metavar="FILE",
                                help=f"file with the {name}; -: standard input; without it, a {name} that is needed is asked for")
        elif parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY:
            extra: dict[str, Any] = {"metavar": name.upper(), **({} if _is_ref(hints[name]) else _plain(_argument(hints[name])))}
            parser.add_argument(name, **extra)
        else:
            _add_option(parser, name, hints[name], required=parameter.default is parameter.empty)


def _unpacked(hint: Any) -> dict[str, Any]:
    """The fields of **fields: Unpack[SomeTypedDict]."""
    return typing.get_type_hints(typing.get_args(hint)[0]) if typing.get_origin(hint) is typing.Unpack else {}


def _add_option(parser: argparse.ArgumentParser, name: str, hint: Any, required: bool) -> None:
    if name == "links":
        added = parser.add_argument("--link", dest="links", metavar="NAME", action="append", default=argparse.SUPPRESS, required=required,
                                    help="a link; several: one --link each; '*': all that you may use")
        added.completer = lambda **_: complete_links()  # type: ignore[attr-defined]
        return
    extra = _argument(hint)
    if "choices" not in extra and extra.get("action") is not argparse.BooleanOptionalAction:
        extra["metavar"] = name.rstrip("_").upper()
    parser.add_argument(f"--{name.rstrip('_').replace('_', '-')}", dest=name, default=argparse.SUPPRESS, required=required, **extra)


complete_links: Callable[[], list[str]] = list  # set by commands.py, which knows the hive


def json_file(path: str) -> Any:
    try:
        with sys.stdin if path == "-" else open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error


def _plain(extra: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in extra.items() if name in ("choices", "type", "metavar")}


def read_secret(name: str, source: str | None) -> str:
    if source == "-":
        value = sys.stdin.readline().rstrip("\n")
    elif source:
        try:
            with open(source, encoding="utf-8") as file:
                value = file.readline().rstrip("\n")
        except OSError as error:
            raise UsageError(f"{source}: {error.strerror}") from error
    elif sys.stdin.isatty():
        value = getpass.getpass(f"{name}: ")
    else:
        raise UsageError(f"the {name} is missing; give --{name}-file (it is never taken from the command line, where others could read it)")
    if not value:
        raise UsageError(f"the {name} is empty")
    return value


def take(arguments: argparse.Namespace, method: Callable[..., Any], resolve: Callable[[str, str], Any],
         skip: Collection[str] = ()) -> tuple[list[Any], dict[str, Any]]:
    """What to call the method with. resolve(parameter, text) makes an id of what stands for a thing."""
    hints = typing.get_type_hints(method)
    positional, named = [], {}
    for name, parameter in inspect.signature(method).parameters.items():
        if name == "self" or name in HIDDEN or name in skip:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(conditions(arguments.where) if name == "where" else {})
            named.update({field: getattr(arguments, field) for field in _unpacked(hints[name]) if hasattr(arguments, field)})
            continue
        value = getattr(arguments, name, UNSET)
        if name in SECRETS and not _is_ref(hints[name]):
            required = parameter.default is parameter.empty
            value = read_secret(name, value if isinstance(value, str) else None) if value is not None or required else UNSET
        elif _is_ref(hints[name]) and value is not UNSET:
            value = resolve(name, value)
        if value is UNSET:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty:
            named[name] = value
        else:
            positional.append(value)
    return positional, named


def conditions(words: list[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise UsageError(f'"{word}" is no condition; write FIELD=VALUE')
        if name in ("sort", "limit"):
            raise UsageError(f"{word}: this is an option, --{name} {value}")
        found[name] = value
    return found
