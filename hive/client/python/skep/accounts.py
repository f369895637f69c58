# SPDX-License-Identifier: BSD-2-Clause
"""Calls about people: the session, users, groups and their members, tokens, sessions."""
from __future__ import annotations

import re
from typing import Any, Iterator, Sequence

from .calls import UNSET, Calls, Ref, Unset, given, id_of, operation
from .models import Actor, Group, Member, NewToken, Priority, Right, Session, Token, User
from .transport import COOKIE
from .values import Duration, Size, Time, to_bytes, to_seconds, to_time


class AccountCalls(Calls):
    # --- session ---

    def _enter(self, path: str, body: dict[str, Any]) -> Actor:
        response = self._http.request("POST", path, json=body)
        match = re.match(COOKIE + r"=([^;]+)", response.headers.get("Set-Cookie", ""))
        actor = Actor.from_json(response.json())
        self._http.token, self._http.cookie, self._http.csrf = None, match[1] if match else None, actor.csrf
        return actor

    @operation("login")
    def login(self, name: str, password: str) -> Actor:
        """Logs in with a name and a password; from then on this object is that session, until logout()."""
        return self._enter("/api/v1/session", {"name": name, "password": password})

    @operation("claim")
    def claim(self, secret: str, name: str, password: str) -> Actor:
        """Becomes an administrator by the one-time link that a hive prints at its first start, or `skep-hive admin-link`. secret: the
        link, or what stands behind "#claim=" in it."""
        return self._enter("/api/v1/session/claim", {"secret": secret.rpartition("#claim=")[2], "name": name, "password": password})

    @operation("whoami")
    def whoami(self) -> Actor:
        """Who am I, and what may I do?"""
        return Actor.from_json(self._http.get("/api/v1/session"))

    @operation("logout")
    def logout(self) -> None:
        """Ends the session. A token stays valid; revoke it with delete_token()."""
        self._http.delete("/api/v1/session")
        self._http.cookie = self._http.csrf = None

    @operation("list_sessions")
    def get_sessions(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Session]:
        """Sessions that you may see."""
        return self._list(Session, "/api/v1/sessions", sort=sort, limit=limit, where=where)

    @operation("delete_session")
    def delete_session(self, session: Ref) -> None:
        """Ends a session."""
        self._http.delete(f"/api/v1/sessions/{id_of(session)}")

    @operation("logout_everywhere")
    def logout_everywhere(self) -> None:
        """Ends all my sessions."""
        self._http.delete("/api/v1/sessions")
        self._http.cookie = self._http.csrf = None

    # --- users ---

    @operation("list_users")
    def get_users(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[User]:
        """Users that you may see."""
        return self._list(User, "/api/v1/users", sort=sort, limit=limit, where=where)

    @operation("get_user")
    def get_user(self, user: Ref) -> User:
        """One user."""
        return User.from_json(self._http.get(f"/api/v1/users/{id_of(user)}"))

    @operation("create_user")
    def create_user(self, name: str, *, password: str | Unset = UNSET, full_name: str | None | Unset = UNSET,
                    email: str | None | Unset = UNSET, key: str | None = None) -> User:
        """Makes a local user, who may do nothing before joining a group."""
        body = given(name=name, password=password, full_name=full_name, email=email)
        return User.from_json(self._http.create("/api/v1/users", body, key))

    @operation("change_user")
    def change_user(self, user: Ref, *, name: str | Unset = UNSET, password: str | Unset = UNSET, full_name: str | None | Unset = UNSET,
                    email: str | None | Unset = UNSET, disabled: bool | Unset = UNSET) -> User:
        """Changes a user; who is disabled is logged out."""
        return self._change(User, "/api/v1/users", user,
                            given(name=name, password=password, full_name=full_name, email=email, disabled=disabled))

    @operation("delete_user")
    def delete_user(self, user: Ref) -> None:
        """Removes a user."""
        self._http.delete(f"/api/v1/users/{id_of(user)}")

    # --- groups ---

    @operation("list_groups")
    def get_groups(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Group]:
        """Groups that you may see."""
        return self._list(Group, "/api/v1/groups", sort=sort, limit=limit, where=where)

    @operation("get_group")
    def get_group(self, group: Ref) -> Group:
        """One group."""
        return Group.from_json(self._http.get(f"/api/v1/groups/{id_of(group)}"))

    def _group(self, quota_bytes: Size | Unset, quota_duration: Duration | Unset, retention: Duration | Unset,
               **values: Any) -> dict[str, Any]:
        body = given(**values)
        if retention is not UNSET:
            body["retention_s"] = to_seconds(retention, "retention")
        if quota_bytes is not UNSET:
            body["quota_bytes"] = to_bytes(quota_bytes, "quota_bytes")
        if quota_duration is not UNSET:
            body["quota_duration_s"] = to_seconds(quota_duration, "quota_duration")
        return body

    @operation("create_group")
    def create_group(self, name: str, *, rights: Sequence[Right] | Unset = UNSET, all_links: bool | Unset = UNSET,
                     quota_bytes: Size | Unset = UNSET, quota_jobs: int | Unset = UNSET, quota_duration: Duration | Unset = UNSET,
                     quota_priority: Priority | Unset = UNSET, retention: Duration | Unset = UNSET,
                     forced_filter: str | None | Unset = UNSET,
                     ldap_group: str | None | Unset = UNSET, description: str | None | Unset = UNSET, key: str | None = None) -> Group:
        """Makes a group. Quotas: stored bytes, jobs at once, longest job, highest priority; 0 is no limit. retention: how
        long its datasets are kept; 0 is for ever."""
        body = self._group(quota_bytes, quota_duration, retention, name=name, rights=rights, all_links=all_links, quota_jobs=quota_jobs,
                           quota_priority=quota_priority, forced_filter=forced_filter, ldap_group=ldap_group, description=description)
        return Group.from_json(self._http.create("/api/v1/groups", body, key))

    @operation("change_group")
    def change_group(self, group: Ref, *, name: str | Unset = UNSET, rights: Sequence[Right] | Unset = UNSET,
                     all_links: bool | Unset = UNSET, quota_bytes: Size | Unset = UNSET, quota_jobs: int | Unset = UNSET,
                     quota_duration: Duration | Unset = UNSET, quota_priority: Priority | Unset = UNSET,
                     retention: Duration | Unset = UNSET, forced_filter: str | None | Unset = UNSET, ldap_group: str | None | Unset = UNSET,
                     description: str | None | Unset = UNSET) -> Group:
        """Changes a group."""
        body = self._group(quota_bytes, quota_duration, retention, name=name, rights=rights, all_links=all_links, quota_jobs=quota_jobs,
                           quota_priority=quota_priority, forced_filter=forced_filter, ldap_group=ldap_group, description=description)
        return self._change(Group, "/api/v1/groups", group, body)

    @operation("delete_group")
    def delete_group(self, group: Ref) -> None:
        """Removes a group."""
        self._http.delete(f"/api/v1/groups/{id_of(group)}")

    @operation("list_members")
    def get_members(self, group: Ref) -> Iterator[Member]:
        """Who is in the group."""
        return self._list(Member, f"/api/v1/groups/{id_of(group)}/members", sort=None, limit=None, where={})

    @operation("join_group")
    def join_group(self, group: Ref, user: Ref) -> None:
        """A user joins the group."""
        self._http.put(f"/api/v1/groups/{id_of(group)}/members/{id_of(user, 'user')}")

    @operation("leave_group")
    def leave_group(self, group: Ref, user: Ref) -> None:
        """A user leaves the group."""
        self._http.delete(f"/api/v1/groups/{id_of(group)}/members/{id_of(user, 'user')}")

    @operation("allow_link")
    def allow_link(self, group: Ref, link: Ref) -> None:
        """The group may use the link."""
        self._http.put(f"/api/v1/groups/{id_of(group)}/links/{id_of(link, 'link')}")

    @operation("disallow_link")
    def disallow_link(self, group: Ref, link: Ref) -> None:
        """The group may not use the link any more."""
        self._http.delete(f"/api/v1/groups/{id_of(group)}/links/{id_of(link, 'link')}")

    # --- tokens ---

    @operation("list_tokens")
    def get_tokens(self, *, sort: str | None = None, limit: int | None = None, **where: Any) -> Iterator[Token]:
        """Tokens that you may see; never the secrets."""
        return self._list(Token, "/api/v1/tokens", sort=sort, limit=limit, where=where)

    @operation("get_token")
    def get_token(self, token: Ref) -> Token:
        """One token; never its secret."""
        return Token.from_json(self._http.get(f"/api/v1/tokens/{id_of(token)}"))

    @operation("create_token")
    def create_token(self, name: str, *, rights: Sequence[Right], expires: Time, key: str | None = None) -> NewToken:
        """Makes a token for a program, with at most my own rights. Its secret is shown this once."""
        body = {"name": name, "rights": list(rights), "expires": to_time(expires, "expires")}
        return NewToken.from_json(self._http.create("/api/v1/tokens", body, key))

    @operation("delete_token")
    def delete_token(self, token: Ref) -> None:
        """Revokes a token."""
        self._http.delete(f"/api/v1/tokens/{id_of(token)}")
