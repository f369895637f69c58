# SPDX-License-Identifier: BSD-2-Clause
"""Which hive, and as whom: SKEP_URL, SKEP_TOKEN, SKEP_CA_FILE, SKEP_PIN, else the profile in the settings file. A token never comes from
the command line, where every user of the machine could read it; the file is mode 0600, and refused where others may read it."""
from __future__ import annotations

import configparser
import os
import pathlib
import stat
from dataclasses import dataclass

from ..errors import UsageError

FIELDS = ("url", "token", "token_id", "ca_file", "pin")


@dataclass
class Profile:
    url: str = ""
    token: str = ""
    token_id: str = ""  # for logout, which revokes it
    ca_file: str = ""
    pin: str = ""


def config_path() -> pathlib.Path:
    if os.environ.get("SKEP_CONFIG"):
        return pathlib.Path(os.environ["SKEP_CONFIG"])
    return pathlib.Path(os.environ.get("XDG_CONFIG_HOME") or pathlib.Path.home() / ".config") / "skep" / "config"


def _read(path: pathlib.Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(f"{path} holds a token, and others may read or write it (mode {mode & 0o777:04o}). Run: chmod 600 {path}")
            parser.read_file(file)
    except FileNotFoundError:
        pass
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    return parser


def load(name: str) -> Profile:
    """The profile, with what the environment says instead."""
    parser = _read(config_path())
    profile = Profile(**{field: parser.get(name, field, fallback="") for field in FIELDS})
    for field in ("url", "token", "ca_file", "pin"):
        value = os.environ.get(f"SKEP_{field.upper()}")
        if not value:
            continue
        if field == "url" and value.rstrip("/") != profile.url.rstrip("/"):
            profile = Profile()  # the token of one hive is never shown to another
        setattr(profile, field, value)
    return profile


def save(name: str, profile: Profile | None) -> pathlib.Path:
    """Writes the profile; None: removes it."""
    path = config_path()
    parser = _read(path)
    parser.remove_section(name)
    if profile:
        parser[name] = {field: value for field in FIELDS if (value := getattr(profile, field))}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        parser.write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    return path
