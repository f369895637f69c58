# SPDX-License-Identifier: BSD-2-Clause
"""What the groups of calls share: which operation of the API a method is, lists, ids, and changes with the version that was seen."""
from __future__ import annotations

import enum
from typing import Any, Callable, Iterator, TypeVar

from .errors import UsageError
from .models import Answer, Thing
from .transport import Transport

F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A", bound=Answer)


class Unset(enum.Enum):
    """The value of a parameter that was not given, where None is a value of its own."""
    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET = Unset.UNSET

Ref = int | str | Thing
"""A thing, or its id."""


def operation(*ids: str) -> Callable[[F], F]:
    """The method is these operations of the API (their operationId). A test compares them with hive/api/openapi.yaml."""
    def mark(method: F) -> F:
        method.operations = ids  # type: ignore[attr-defined]
        return method
    return mark


def id_of(thing: Ref, what: str = "id") -> int:
    if isinstance(thing, Thing):
        return thing.id
    if isinstance(thing, int) and not isinstance(thing, bool) and thing > 0:
        return int(thing)
    if isinstance(thing, str) and thing.isascii() and thing.isdigit() and int(thing) > 0:
        return int(thing)
    raise UsageError(f'{what}: "{thing}" is no id; ids are numbers from 1')


def given(**values: Any) -> dict[str, Any]:
    """The values that were given."""
    return {name: value for name, value in values.items() if value is not UNSET}


class Calls:
    """A group of calls; skep.Hive is all of them."""
    _http: Transport

    def _list(self, kind: type[A], path: str, *, sort: str | None, limit: int | None, where: dict[str, Any]) -> Iterator[A]:
        """All items that fit, page after page, at most `limit`. Conditions: state="running", created__ge="…", name__has="quic"."""
        query = {name.replace("__", "."): value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else value
                 for name, value in where.items()}
        query["sort"] = sort
        query["limit"] = min(limit, 1000) if limit else None
        if limit == 0:
            return
        for number, item in enumerate(self._http.pages(path, query), 1):
            yield kind.from_json(item)
            if number == limit:
                return

    def _change(self, kind: type[A], path: str, thing: Ref, values: dict[str, Any]) -> A:
        """With the version of the thing that is given; of an id, with the one that is there now."""
        where = f"{path}/{id_of(thing)}"
        version = thing.version if isinstance(thing, Thing) else self._http.get(where)["version"]
        return kind.from_json(self._http.change(where, values, version))
