# SPDX-License-Identifier: BSD-2-Clause
"""Calls about what becomes of datasets: shares with others, notes, captures that are brought in, copies elsewhere, and how much room
there is."""
from __future__ import annotations

import base64
import hashlib
import os
import pathlib
import time
from typing import Any, Iterator, Literal

from .calls import UNSET, Calls, Ref, Unset, given, id_of, operation
from .datasets import DatasetCalls, DownloadFormat, Path, Progress
from .errors import ConflictError, SkepError, UsageError, WaitTimeoutError
from .models import Copy, Dataset, Destination, Import, Link, NewShare, Note, Share, Shared, Store
from .transport import segment
from .values import Duration, Time, to_seconds, to_time

PIECE = 8 * 1024 * 1024  # the most that the hive takes at once


class KeepingCalls(DatasetCalls, Calls):
    # --- shares ---

    @operation("list_shares")
    def get_shares(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Share]:
        """Shares that you may see; never their secrets."""
        return self._list(Share, "/api/v1/shares", sort=sort, limit=limit, where=where)

    @operation("get_share")
    def get_share(self, share: Ref) -> Share:
        """One share, with how often it was used."""
        return Share.from_json(self._http.get(f"/api/v1/shares/{id_of(share)}"))

    @operation("create_share")
    def create_share(self, dataset: Ref, name: str, *, expires: Time, max_downloads: int | Unset = UNSET, password: str | Unset = UNSET,
                     key: str | None = None) -> NewShare:
        """Makes a link to a dataset for people without an account; share_link() is what to send them. Its secret is shown this once."""
        body = given(dataset_id=id_of(dataset, "dataset"), name=name, expires=to_time(expires, "expires"), max_downloads=max_downloads,
                     password=password)
        return NewShare.from_json(self._http.create("/api/v1/shares", body, key))

    @operation("delete_share")
    def delete_share(self, share: Ref) -> None:
        """Revokes a share."""
        self._http.delete(f"/api/v1/shares/{id_of(share)}")

    def share_link(self, share: NewShare) -> str:
        """The address to send to somebody. Whoever has it has the dataset."""
        return f"{self._http.url}/api/v1/shared/{segment(share.secret)}"

    @staticmethod
    def _shared(secret: str) -> str:
        return f"/api/v1/shared/{segment(secret.strip().rstrip('/').rpartition('/')[2])}"

    @staticmethod
    def _basic(password: str | None) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"skep:{password}".encode()).decode()} if password else {}

    @operation("get_shared")
    def get_shared(self, secret: str, *, password: str | None = None) -> Shared:
        """What somebody shares with me. secret: the link, or its last part. Needs no token."""
        return Shared.from_json(self._http.request("GET", self._shared(secret), headers=self._basic(password)).json())

    @operation("download_shared")
    def download_shared(self, secret: str, path: Path = ".", *, password: str | None = None, format: DownloadFormat | None = None,
                        link: str | Link | None = None, from_: Time | None = None, to: Time | None = None, filter: str | None = None,
                        progress: Progress | None = None) -> pathlib.Path:
        """Fetches what somebody shares with me, as download() does. Needs no token."""
        target, query = self._part(path, lambda: self.get_shared(secret, password=password).name, format=format, link=link, from_=from_,
                                   to=to, filter=filter)
        return self._fetch(f"{self._shared(secret)}/download", query, target, headers=self._basic(password), progress=progress)

    # --- notes ---

    @operation("list_notes")
    def get_notes(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Note]:
        """Notes on datasets; get_notes(dataset_id=3) are those of one."""
        return self._list(Note, "/api/v1/notes", sort=sort, limit=limit, where=where)

    @operation("get_note")
    def get_note(self, note: Ref) -> Note:
        """One note."""
        return Note.from_json(self._http.get(f"/api/v1/notes/{id_of(note)}"))

    @operation("create_note")
    def create_note(self, dataset: Ref, text: str, *, key: str | None = None) -> Note:
        """Writes a note on a dataset."""
        return Note.from_json(self._http.create("/api/v1/notes", {"dataset_id": id_of(dataset, "dataset"), "text": text}, key))

    @operation("change_note")
    def change_note(self, note: Ref, *, text: str | Unset = UNSET) -> Note:
        """Changes a note of mine."""
        return self._change(Note, "/api/v1/notes", note, given(text=text))

    @operation("delete_note")
    def delete_note(self, note: Ref) -> None:
        """Removes a note."""
        self._http.delete(f"/api/v1/notes/{id_of(note)}")

    # --- imports ---

    @operation("list_imports")
    def get_imports(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Import]:
        """Captures that are being brought in, or were."""
        return self._list(Import, "/api/v1/imports", sort=sort, limit=limit, where=where)

    @operation("get_import")
    def get_import(self, imported: Ref) -> Import:
        """One import."""
        return Import.from_json(self._http.get(f"/api/v1/imports/{id_of(imported)}"))

    @operation("delete_import")
    def delete_import(self, imported: Ref) -> None:
        """Gives an import up, or forgets one that is over; its dataset stays."""
        self._http.delete(f"/api/v1/imports/{id_of(imported)}")

    @operation("create_import", "put_import_data")
    def import_pcap(self, file: Path, *, name: str | None = None, timeout: Duration = "1h", progress: Progress | None = None) -> Dataset:
        """Brings a pcap or pcapng (plain or zstd) in as a dataset; one that an earlier call has begun is gone on with.

        Raises SkepError if the hive finds that it is no capture, and WaitTimeoutError if checking takes longer than `timeout`.
        """
        path = pathlib.Path(file)
        try:
            with open(path, "rb") as capture:
                digest = hashlib.file_digest(capture, "sha256").hexdigest()
                size = os.fstat(capture.fileno()).st_size
                brought = self._begun(path.name if name is None else name, size, digest)
                while brought.state == "open" and brought.received_bytes < size:
                    if progress:
                        progress(path.name, brought.received_bytes, size)
                    capture.seek(brought.received_bytes)
                    brought = self._put(brought, capture.read(PIECE))
        except OSError as error:
            if isinstance(error, SkepError):
                raise
            raise UsageError(f"{path}: {error.strerror}") from error
        if progress:
            progress(path.name, size, size)
        return self._checked(brought, timeout)

    def _begun(self, name: str, size: int, digest: str) -> Import:
        for one in self.get_imports():
            if one.state == "open" and (one.name, one.bytes, one.sha256) == (name, size, digest):
                return one
        return Import.from_json(self._http.create("/api/v1/imports", {"name": name, "bytes": size, "sha256": digest}))

    def _put(self, brought: Import, data: bytes) -> Import:
        """A piece; if an answer was lost and the hive has it already, it says so, and goes on from there."""
        try:
            answer = self._http.request("PUT", f"/api/v1/imports/{brought.id}/data", query={"offset": brought.received_bytes}, data=data,
                                        headers={"Content-Type": "application/octet-stream"})
            return Import.from_json(answer.json())
        except ConflictError:
            now = self.get_import(brought)
            if now.state == "open" and now.received_bytes == brought.received_bytes:
                raise
            return now

    def _checked(self, brought: Import, timeout: Duration) -> Dataset:
        until, pause = time.monotonic() + to_seconds(timeout, "timeout"), 0.1
        while brought.state in ("open", "checking"):
            if time.monotonic() > until:
                raise WaitTimeoutError(f"import {brought.id} is still {brought.state} after {timeout}")
            time.sleep(pause)
            pause = min(2.0, pause * 1.5)
            brought = self.get_import(brought)
        if brought.state != "done" or brought.dataset_id is None:
            raise SkepError(f"{brought.name}: {brought.reason or brought.state}")
        return self.get_dataset(brought.dataset_id)

    # --- copies elsewhere ---

    @operation("list_destinations")
    def get_destinations(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Destination]:
        """Where datasets can be copied to."""
        return self._list(Destination, "/api/v1/destinations", sort=sort, limit=limit, where=where)

    @operation("get_destination")
    def get_destination(self, destination: Ref) -> Destination:
        """One destination; never its secret."""
        return Destination.from_json(self._http.get(f"/api/v1/destinations/{id_of(destination)}"))

    @operation("create_destination")
    def create_destination(self, name: str, kind: Literal["directory", "s3", "sftp"], url: str, *, user: str | None | Unset = UNSET,
                           secret: str | None | Unset = UNSET, region: str | None | Unset = UNSET, host_key: str | None | Unset = UNSET,
                           description: str | None | Unset = UNSET, disabled: bool | Unset = UNSET, key: str | None = None) -> Destination:
        """Makes a directory, an S3-compatible store or an SFTP server a place for copies."""
        body = given(name=name, kind=kind, url=url, user=user, secret=secret, region=region, host_key=host_key, description=description,
                     disabled=disabled)
        return Destination.from_json(self._http.create("/api/v1/destinations", body, key))

    @operation("change_destination")
    def change_destination(self, destination: Ref, *, name: str | Unset = UNSET, url: str | Unset = UNSET,
                           user: str | None | Unset = UNSET, secret: str | None | Unset = UNSET, region: str | None | Unset = UNSET,
                           host_key: str | None | Unset = UNSET, description: str | None | Unset = UNSET,
                           disabled: bool | Unset = UNSET) -> Destination:
        """Changes a destination."""
        body = given(name=name, url=url, user=user, secret=secret, region=region, host_key=host_key, description=description,
                     disabled=disabled)
        return self._change(Destination, "/api/v1/destinations", destination, body)

    @operation("delete_destination")
    def delete_destination(self, destination: Ref) -> None:
        """Removes a destination; copies there stay."""
        self._http.delete(f"/api/v1/destinations/{id_of(destination)}")

    @operation("list_copies")
    def get_copies(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Copy]:
        """Copies of datasets, and how far they are."""
        return self._list(Copy, "/api/v1/copies", sort=sort, limit=limit, where=where)

    @operation("get_copy")
    def get_copy(self, copy: Ref) -> Copy:
        """One copy."""
        return Copy.from_json(self._http.get(f"/api/v1/copies/{id_of(copy)}"))

    @operation("create_copy")
    def create_copy(self, dataset: Ref, destination: Ref, *, key: str | None = None) -> Copy:
        """Sends all files of a dataset to a destination, in the background; each is read back before it counts."""
        body = {"dataset_id": id_of(dataset, "dataset"), "destination_id": id_of(destination, "destination")}
        return Copy.from_json(self._http.create("/api/v1/copies", body, key))

    @operation("delete_copy")
    def delete_copy(self, copy: Ref) -> None:
        """Forgets a copy; what is there stays there."""
        self._http.delete(f"/api/v1/copies/{id_of(copy)}")

    @operation("store")
    def store(self) -> Store:
        """The room for datasets, and when it will be full."""
        return Store.from_json(self._http.get("/api/v1/store"))
