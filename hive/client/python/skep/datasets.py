# SPDX-License-Identifier: BSD-2-Clause
"""Calls about what captures leave: datasets, their files, downloads.

A download goes to NAME.part, is resumed by Range where a connection broke (also by a later call), verified by length and SHA-256,
flushed, and only then renamed: NAME is there or not, and what is there is what the hive has."""
from __future__ import annotations

import hashlib
import os
import pathlib
import re
import typing
from typing import Any, BinaryIO, Callable, Iterator, Literal

import requests

from .calls import UNSET, Calls, Ref, Unset, given, id_of, operation
from .errors import DamagedError, RefusedError, UnreachableError, not_found
from .models import Dataset, File, Job, Link, Manifest
from .transport import Transport, innermost
from .values import Time, to_time

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, the bytes of it that are there, and its length (0: not known yet)."""

DownloadFormat = Literal["pcap", "pcapng", "pcap.zst", "zip", "tar"]

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
        raise not_found(f"job {id_of(job)} has no dataset (yet)")

    @operation("change_dataset")
    def change_dataset(self, dataset: Ref, *, name: str | Unset = UNSET, description: str | None | Unset = UNSET,
                       pinned: bool | Unset = UNSET, expires: Time | None | Unset = UNSET) -> Dataset:
        """Changes a dataset's name, description, pin (it never expires) or when it expires."""
        values = given(name=name, description=description, pinned=pinned)
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

    @operation("delete_dataset")
    def delete_dataset(self, dataset: Ref) -> None:
        """Removes a dataset and its files; not one that is pinned, or that a job still fills."""
        self._http.delete(f"/api/v1/datasets/{id_of(dataset)}")

    def download_files(self, dataset: Ref, folder: Path = ".", *, progress: Progress | None = None) -> list[pathlib.Path]:
        """Fetches all files of a dataset (or of a job's) as the probes wrote them."""
        if isinstance(dataset, Job):
            dataset = self.dataset_of(dataset)
        os.makedirs(folder, exist_ok=True)
        return [self.download_file(file, folder, progress=progress) for file in self.get_files(dataset, sort="name")]

    @operation("get_dataset_manifest")
    def get_manifest(self, dataset: Ref) -> Manifest:
        """What a dataset is, where it comes from, and what it lacks."""
        return Manifest.from_json(self._http.get(f"/api/v1/datasets/{id_of(dataset)}/manifest"))

    @operation("download_dataset")
    def download(self, dataset: Ref, path: Path = ".", *, format: DownloadFormat | None = None, link: str | Link | None = None,
                 from_: Time | None = None, to: Time | None = None, filter: str | None = None,
                 progress: Progress | None = None) -> pathlib.Path:
        """Fetches a dataset (or that of a job) as one file; returns where it is.

        path: a file, whose ending says the format, or a folder. format: pcap, pcapng (default) and pcap.zst are all links merged in order
        of time; zip and tar are the files as they were captured, with manifest and README. link, from_, to, filter (a tcpdump
        expression): only this; not of zip and tar."""
        if isinstance(dataset, Job):
            dataset = self.dataset_of(dataset)
        elif not isinstance(dataset, Dataset):
            dataset = self.get_dataset(dataset)
        name = dataset.name
        target, query = self._part(path, lambda: name, format=format, link=link, from_=from_, to=to, filter=filter)
        return self._fetch(f"/api/v1/datasets/{dataset.id}/download", query, target, progress=progress)

    # --- fetching ---

    @staticmethod
    def _part(path: Path, name: Callable[[], str], *, format: DownloadFormat | None, link: str | Link | None, from_: Time | None,
              to: Time | None, filter: str | None) -> tuple[pathlib.Path, dict[str, Any]]:
        """The file to make, and what to ask for."""
        target = pathlib.Path(path)
        as_folder = target.is_dir() or str(path).endswith("/")
        format = format or (None if as_folder else format_of(target)) or "pcapng"
        if as_folder:
            target = target / f"{safe_name(name())}.{format}"
        target.parent.mkdir(parents=True, exist_ok=True)
        return target, {"format": format, "link": link.name if isinstance(link, Link) else link, "filter": filter,
                        "from": from_ and to_time(from_, "from"), "to": to and to_time(to, "to")}

    def _fetch(self, url: str, query: dict[str, Any] | None, target: pathlib.Path, *, sha256: str | None = None, size: int | None = None,
               headers: dict[str, str] | None = None, progress: Progress | None = None) -> pathlib.Path:
        part = target.with_name(target.name + ".part")
        fetch = _Fetch(self._http, url, query, target.name, progress, size)
        fetch.headers = {"Accept-Encoding": "identity", **(headers or {})}
        with open(part, "ab" if sha256 else "wb") as out:  # the rest of an earlier call only where the digest shows what it is
            fetch.into(out)
            out.flush()
            os.fsync(out.fileno())
            length = out.tell()
        if (size is not None and length != size) or (sha256 and _digest(part) != sha256):
            part.unlink()
            raise DamagedError(f"{target.name}: what came is not what the hive has ({length} bytes); it was removed. Try again")
        os.replace(part, target)
        return target


class _Fetch:
    """Brings a file, in as many pieces as connections break into."""

    def __init__(self, http: Transport, url: str, query: dict[str, Any] | None, name: str, progress: Progress | None, size: int | None):
        self.http, self.url, self.query, self.name, self.progress = http, url, query, name, progress
        self.size = size  # None: not known yet
        self.etag: str | None = None
        self.known = size is not None
        self.headers: dict[str, str] = {}

    def into(self, out: BinaryIO) -> None:
        """Appends what is missing in `out`."""
        failures, reached = 0, 0
        while not self._complete(out):
            try:
                if self._piece(out):
                    return
                problem: Exception = UnreachableError(f"{self.name}: the connection ended after {out.tell()} of {self.size} bytes")
            except RefusedError as refusal:
                if refusal.status != 416 or not out.tell():
                    raise
                problem = refusal
                out.truncate(0)  # the rest of an older file
            except (requests.exceptions.RequestException, UnreachableError) as error:
                problem = UnreachableError(f"{self.name}: {innermost(error)}")
            have = out.seek(0, os.SEEK_END)
            failures = failures + 1 if have <= reached else 1
            reached = max(reached, have)
            if failures > self.http.retries:
                raise problem

    def _complete(self, out: BinaryIO) -> bool:
        have = out.seek(0, os.SEEK_END)
        if self.size is None or have < self.size:
            return False
        if have > self.size:
            out.truncate(0)
            return False
        return have > 0

    def _piece(self, out: BinaryIO) -> bool:
        """One answer. True: it is all there, as far as an answer can say."""
        have = out.seek(0, os.SEEK_END)
        headers = dict(self.headers)
        if have and (self.known or self.etag):
            headers["Range"] = f"bytes={have}-"
            if self.etag:
                headers["If-Range"] = self.etag
        with self.http.request("GET", self.url, query=self.query, headers=headers, stream=True) as response:
            if response.status_code != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                if response.status_code == 206:
                    raise UnreachableError("the answer is another part than was asked for")
                out.truncate(0)
                have = out.seek(0)
            self.etag = response.headers.get("ETag")
            length = response.headers.get("Content-Length")
            if self.size is None and length is not None:
                self.size = have + int(length)
            for chunk in response.iter_content(CHUNK):
                out.write(chunk)
                have += len(chunk)
                if self.progress:
                    self.progress(self.name, have, self.size or 0)
        return self.size is None or have >= self.size


def format_of(path: pathlib.Path) -> DownloadFormat | None:
    """What the name's ending asks for."""
    for ending in typing.get_args(DownloadFormat):
        if path.name.endswith(f".{ending}"):
            return ending
    return None


def _digest(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
