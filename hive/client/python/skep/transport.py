# SPDX-License-Identifier: BSD-2-Clause
"""HTTP to a hive: who is asked, how it is proven to be the hive, what is tried again, and how a refusal becomes an exception.

Knows no route. What is tried again after a failure: what may be repeated by HTTP's rules (GET, PUT, DELETE) and creations, which carry an
Idempotency-Key; anything else only if the request cannot have been taken (no connection, 429, 503). A token is sent in a header only,
over TLS only (plain HTTP is for a hive on this machine), and never to a redirect's target."""
from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import random
import ssl
import time
import uuid
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Iterable, Mapping
from urllib.parse import quote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from .errors import HiveError, NotFoundError, RefusedError, SkepError, UnreachableError, UntrustedError, UsageError, refused

COOKIE = "__Host-skep"
VERSION = "0.1.0"
_REPEATABLE = {"GET", "HEAD", "PUT", "DELETE"}
_NOT_TAKEN = {429, 503}  # the hive says itself that it did nothing
_AGAIN = {502, 503, 504, 429}
_LONGEST_PAUSE_S = 30.0


# --- whose key is it? --------------------------------------------------------------------------------------------------

def _der_parts(data: bytes) -> list[bytes]:
    """The elements inside a DER sequence, each with its own head (X.690, 8.1)."""
    parts, at = [], 0
    while at < len(data):
        length, head = data[at + 1], 2
        if length & 0x80:
            size = length & 0x7F
            length, head = int.from_bytes(data[at + 2:at + 2 + size], "big"), 2 + size
        parts.append(data[at:at + head + length])
        at += head + length
    return parts


def _der_inside(element: bytes) -> bytes:
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0):]


def key_pin(certificate: bytes) -> str:
    """sha256//BASE64 of the public key (SubjectPublicKeyInfo, RFC 5280, 4.1) of a certificate in DER, as curl's --pinnedpubkey takes
    it."""
    tbs = _der_parts(_der_inside(_der_parts(_der_inside(certificate))[0]))
    versioned = tbs[0][0] == 0xA0
    return "sha256//" + base64.b64encode(hashlib.sha256(tbs[6 if versioned else 5]).digest()).decode()


class _PinMismatch(ssl.SSLError):
    """The key is not the one that was pinned."""


def _pinned_pool(pin: str) -> type[HTTPSConnectionPool]:
    class Connection(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            seen = key_pin(self.sock.getpeercert(binary_form=True))
            if not hmac.compare_digest(seen, pin):
                self.close()
                raise _PinMismatch(f"the server's key is {seen}, not {pin}")
            self.is_verified = True  # by its key, which is more than a certificate would prove

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    return Pool


class _PinningAdapter(HTTPAdapter):
    """Connections to a server that has this key, whoever vouches for it."""

    def __init__(self, pin: str):
        self.pools = {"http": urllib3.HTTPConnectionPool, "https": _pinned_pool(pin)}
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self.pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self.pools
        return manager


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str) -> str:
    """The address without a slash at its end; refuses what would send a token in the clear or anywhere else."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f'"{url}" is no address of a hive; write https://hive.example.net:8480')
    if parts.username or parts.password:
        raise UsageError("the address must not contain a name or password: addresses end up in logs")
    if parts.query or parts.fragment:
        raise UsageError(f'"{parts.scheme}://{parts.netloc}…": the address must not have ?… or #…')
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise UsageError(f"{url}: plain HTTP is only possible to this machine itself; anywhere else the token could be read. Use https://")
    return url.rstrip("/")


# --- requests ------------------------------------------------------------------------------------------------------------

class _Auth(requests.auth.AuthBase):
    """Set as auth, so that a ~/.netrc never replaces it."""

    def __init__(self, transport: "Transport"):
        self.transport = transport

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        transport = self.transport
        if "Authorization" in request.headers:
            return request
        if transport.token:
            request.headers["Authorization"] = f"Bearer {transport.token}"
        elif transport.cookie:
            request.headers["Cookie"] = f"{COOKIE}={transport.cookie}"
            if transport.csrf and request.method not in ("GET", "HEAD"):
                request.headers["X-CSRF-Token"] = transport.csrf
        return request


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _json(response: requests.Response) -> Any:
    if "json" not in response.headers.get("Content-Type", ""):
        return None
    try:
        return response.json()
    except ValueError:
        return None


class Transport:
    """One hive as seen by one person or program. Not for several threads at once."""

    def __init__(self, url: str, token: str | None, *, ca_file: str | None, pin: str | None, timeout_s: float, retries: int):
        self.url = check_url(url)
        self.token = token
        self.cookie: str | None = None
        self.csrf: str | None = None
        self.timeout_s, self.retries = timeout_s, retries
        self.session = requests.Session()
        self.session.auth = _Auth(self)
        self.session.headers["User-Agent"] = f"skep-python/{VERSION}"
        self.session.headers["Accept"] = "application/json, application/problem+json, */*;q=0.5"
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # a session is for login() alone
        if _is_loopback(urlsplit(self.url).hostname or ""):
            self.session.trust_env = False  # no proxy knows this machine's loopback
        if pin:
            if not pin.startswith("sha256//") or len(pin) != 8 + 44:
                raise UsageError(f'the pin "{pin}" is no sha256//…= of a public key')
            self.session.mount("https://", _PinningAdapter(pin))
        self.verify: bool | str = str(ca_file) if ca_file else not pin

    def close(self) -> None:
        self.session.close()

    def _send(self, method: str, path: str, options: dict[str, Any]) -> requests.Response:
        try:
            return self.session.request(method, self.url + path, allow_redirects=False, verify=self.verify, **options)
        except requests.exceptions.SSLError as error:
            raise UntrustedError(f"{self.url} is not proven to be the hive: {innermost(error)}. Give ca_file (who vouches for it) or pin "
                                 "(its key)") from error
        except OSError as error:  # requests' own errors are OSErrors; so is a CA file that is not there
            if isinstance(error, requests.exceptions.RequestException):
                raise
            raise UsageError(f"{self.verify}: {error}") from error

    def request(self, method: str, path: str, *, json: Any = None, query: Mapping[str, Any] | None = None,
                headers: Mapping[str, str] | None = None, key: str | bool | None = None, stream: bool = False, data: Any = None,
                repeatable: bool | None = None) -> requests.Response:
        """The answer, if it is 2xx or 304; else an exception. key: the Idempotency-Key of a creation, or True: a new one. stream: the
        body is left to the caller, who closes the answer."""
        head = dict(headers or {})
        if key:
            head["Idempotency-Key"] = str(uuid.uuid4()) if key is True else key
        again = method in _REPEATABLE or bool(key) if repeatable is None else repeatable
        options = {"json": json, "params": _query(query), "headers": head, "stream": stream, "data": data,
                   "timeout": (min(self.timeout_s, 10.0), self.timeout_s)}
        last: SkepError | None = None
        lost = False  # an answer: the request may have been carried out
        for attempt in range(self.retries + 1):
            if last:
                time.sleep(self._pause_s(attempt, last))
            try:
                response = self._send(method, path, options)
            except requests.exceptions.RequestException as error:
                last = UnreachableError(f"{self.url} does not answer: {innermost(error)}")
                last.__cause__ = error
                taken = not _never_connected(error)
                lost |= taken
                if taken and not again:
                    break
                continue
            if response.status_code < 300 or response.status_code == 304:
                return response
            last = refused(response.status_code, _json(response), response.text, _retry_after(response))
            response.close()
            if lost and method == "DELETE" and isinstance(last, NotFoundError):
                return response  # the answer that was lost said that it is gone
            if not (response.status_code in _AGAIN if again else response.status_code in _NOT_TAKEN):
                break
        assert last
        raise last

    def _pause_s(self, attempt: int, last: SkepError) -> float:
        asked = last.retry_after_s if isinstance(last, RefusedError) else None
        if asked is not None and asked > _LONGEST_PAUSE_S:
            raise last  # whoever called decides whether to wait for so long
        grown = min(_LONGEST_PAUSE_S, 0.1 * 2 ** attempt)
        return asked if asked is not None else grown * random.uniform(0.5, 1.0)

    # What most calls are.

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._object(self.request("GET", path, query=query))

    def create(self, path: str, body: Any, key: str | None = None) -> Any:
        return self._object(self.request("POST", path, json=body, key=key or True))

    def post(self, path: str, body: Any = None) -> Any:
        return self._object(self.request("POST", path, json=body))

    def change(self, path: str, body: Any, version: int) -> Any:
        return self._object(self.request("PATCH", path, json=body, headers={"If-Match": f'"{version}"'}))

    def put(self, path: str, body: Any = None) -> Any:
        return self._object(self.request("PUT", path, json=body))

    def delete(self, path: str) -> None:
        self.request("DELETE", path).close()

    def pages(self, path: str, query: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
        """The items of a list, page after page, asked for as they are used."""
        ask = dict(query)
        while True:
            page = self.get(path, ask)
            yield from page["items"]
            if not page.get("next"):
                return
            ask["cursor"] = page["next"]

    def _object(self, response: requests.Response) -> Any:
        if response.status_code == 204 or not response.content:
            return None
        body = _json(response)
        if body is None:
            raise HiveError(response.status_code, refused(response.status_code, None, response.text, None).problem)
        return body


def segment(value: Any) -> str:
    """A value as one segment of a path."""
    return quote(str(value), safe="")


def _query(query: Mapping[str, Any] | None) -> dict[str, str] | None:
    if query is None:
        return None
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in query.items() if value is not None}


def _never_connected(error: BaseException) -> bool:
    """Nothing of the request has left this machine."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, NewConnectionError)


def innermost(error: BaseException) -> str:
    """What the system said, without the wrapping of three libraries."""
    seen: BaseException = error
    while True:
        inner = getattr(seen, "reason", None) or seen.__cause__ or seen.__context__ or next(
            (one for one in seen.args if isinstance(one, BaseException)), None)
        if not isinstance(inner, BaseException) or inner is seen:
            return getattr(seen, "strerror", None) or str(seen) or type(seen).__name__
        seen = inner
