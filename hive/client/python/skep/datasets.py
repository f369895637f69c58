# SPDX-License-Identifier: BSD-2-Clause
"""Calls about what captures leave: datasets, their files, downloads.

A download goes to NAME.part, is resumed by Range where a connection broke (also by a later call), verified by length and SHA-256,
flushed, and only then renamed: NAME is there or not, and what is there is what the hive has. """
from __future__ import annotations

import hashlib
import os
import pathlib
import re
from typing import Any, BinaryIO, Callable, Iterator

import requests

from .calls import UNSET, Calls, Ref, Unset, given, id_of, operation
from .errors import DamagedError, RefusedError, SkepError, UnreachableError, UsageError
from .models import Dataset, File, Job
from .transport import _innermost
from .values import Time, to_time

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, the bytes of it that are there, and its length (0: not known yet)."""

CHUNK = 256 * 1024
Path = str | os.PathLike[str]


def safe_name(name: str) -> str:
    """The last part of a name that came from outside, without what a file system or a terminal could take amiss."""
    return re.sub(r"[^\w.,+=@ -]", "_", name.replace("\\", "/").rpartition("/")[2]).lstrip(".") or "unnamed"


class DatasetCalls(Calls):
    @operation("list_datasets")
    def get_datasets(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Dataset]:
        """Datasets that you may see; get_datasets(job_id=12) is that of a job."""
        return self._list(Dataset, "/api/v1/datasets", sort=sort, limit=limit, where=where)

    @operation("get_dataset")
    def get_dataset(self, dataset: Ref) -> Dataset:
        """One dataset."""
        return Dataset.from_json(self._http.get(f"/api/v1/datasets/{id_of(dataset)}"))

    def dataset_of(self, job: Ref) -> Dataset:
        """The dataset that a job has left, or is filling."""
        for found in self.get_datasets(job_id=id_of(job), limit=1):
            return found
        raise UsageError(f"job {id_of(job)} has no dataset (yet)")

    @operation("change_dataset")
    def change_dataset(self, dataset: Ref, *, name: str | Unset = UNSET, notes: str | None | Unset = UNSET, pinned: bool | Unset = UNSET,
                       expires: Time | None | Unset = UNSET) -> Dataset:
        """Changes a dataset's name, notes, pin (it never expires) or when it expires."""
        values = given(name=name, notes=notes, pinned=pinned)
        if expires is not UNSET:
            values["expires"] = None if expires is None else to_time(expires, "expires")
        return self._change(Dataset, "/api/v1/datasets", dataset, values)

    @operation("list_dataset_files")
    def get_files(self, dataset: Ref, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[File]:
        """The files of a dataset."""
        return self._list(File, f"/api/v1/datasets/{id_of(dataset)}/files", sort=sort, limit=limit, where=where)

    @operation("get_dataset_file")
    def download_file(self, file: File, folder: Path = ".", *, progress: Progress | None = None) -> pathlib.Path:
        """Fetches one file of a dataset into a folder; returns where it is. A file of the right length and digest that is there already
        is not fetched again."""
        target = pathlib.Path(folder) / safe_name(file.name)
        if target.exists() and target.stat().st_size == file.bytes and _digest(target) == file.sha256:
            return target
        url = f"/api/v1/datasets/{file.dataset_id}/files/{file.id}"
        return self._fetch(url, None, target, sha256=file.sha256, size=file.bytes, progress=progress)

    def download_files(self, dataset: Ref, folder: Path = ".", *, progress: Progress | None = None) -> list[pathlib.Path]:
        """Fetches all files of a dataset (or of a job's) as the probes wrote them."""
        if isinstance(dataset, Job):
            dataset = self.dataset_of(dataset)
        os.makedirs(folder, exist_ok=True)
        return [self.download_file(file, folder, progress=progress) for file in self.get_files(dataset, sort="name")]

    # --- fetching ---

    def _fetch(self, url: str, query: dict[str, Any] | None, target: pathlib.Path, *, sha256: str | None = None, size: int | None = None,
               progress: Progress | None = None) -> pathlib.Path:
        part = target.with_name(target.name + ".part")
        with open(part, "ab") as out:
            _fetch_into(self, url, query, out, name=target.name, size=size, progress=progress, known=sha256 is not None)
            out.flush()
            os.fsync(out.fileno())
            length = out.tell()
        if (size is not None and length != size) or (sha256 and _digest(part) != sha256):
            part.unlink()
            raise DamagedError(f"{target.name}: what came is not what the hive has ({length} bytes); it was removed. Try again")
        os.replace(part, target)
        return target


def _fetch_into(calls: Calls, url: str, query: dict[str, Any] | None, out: BinaryIO, *, name: str, size: int | None,
                progress: Progress | None, known: bool) -> None:
    """Appends what is missing in `out`, whatever breaks meanwhile. known: the content is known by its digest, so that a rest from an
    earlier call may be continued; else only one of this call, by its ETag."""
    http, etag, failures = calls._http, None, 0
    if not known:
        out.truncate(0)
    while True:
        have = out.seek(0, os.SEEK_END)
        if size is not None and have >= size:
            if have > size:
                out.truncate(0)
                continue
            return
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if etag:
                headers["If-Range"] = etag
        try:
            with http.request("GET", url, query=query, headers=headers, stream=True) as response:
                if have and response.status_code != 206:
                    out.truncate(0)
                    have = 0
                etag = response.headers.get("ETag")
                total = have + int(response.headers.get("Content-Length") or 0)
                for chunk in response.iter_content(CHUNK):
                    out.write(chunk)
                    have += len(chunk)
                    failures = 0
                    if progress:
                        progress(name, have, size or total)
            if size is None or have >= size:
                return
            raise UnreachableError(f"{name}: the connection ended after {have} of {size} bytes")
        except RefusedError as refusal:
            if refusal.status == 416 and have:
                out.truncate(0)  # the rest of an older file
                continue
            raise
        except (requests.exceptions.RequestException, UnreachableError) as error:
            failures += 1
            if failures > http.retries or (size is None and not etag):
                raise error if isinstance(error, SkepError) else UnreachableError(f"{name}: {_innermost(error)}") from error


def _digest(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
