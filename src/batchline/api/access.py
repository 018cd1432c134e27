"""Who may send a request: the host that it names, the page that sent it, its API key.

This is the one place that decides, for the router and for the fast path. It decides before the body
is read.
"""

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum

from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchline.access_errors import Forbidden, Unauthorized
from batchline.api import problems
from batchline.api.browsers import check_origin
from batchline.api.fields import field
from batchline.api.hosts import Hosts
from batchline.api.keys import OF_SCOPE, WHILE_OPEN
from batchline.api.roles import Open, RouteNeeds, routes_of
from batchline.api.shared_state import SharedState
from batchline.api_keys import PREFIX, Role, digest
from batchline.db.cruds.keys import ApiKey
from batchline.request_errors import InvalidRequest

REALM = 'Bearer realm="batchline"'

BEARER = b"bearer "

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

ALLOWED = {role: frozenset(each for each in Role if role.includes(each)) for role in Role}

Fields = dict[bytes, bytes]

FIELDS = frozenset({b"authorization", b"content-type", b"host", b"origin", b"sec-fetch-site"})
"""The header fields that decide. None of them may be sent twice."""


class Auth(StrEnum):
    """When a key is required: once one exists, always, or never."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings about access."""

    auth: Auth
    hosts: Hosts
    origins: Set[str]


class Access:
    """An ASGI application that passes requests to another one if they are allowed."""

    def __init__(self, inner: ASGIApp, app: FastAPI, rules: Rules) -> None:
        self._inner = inner
        self._app = app
        self._rules = rules
        self._needs = RouteNeeds(routes_of(app))
        self._requires_keys = rules.auth is Auth.ON

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                key = await self._check(scope)
            except Exception as error:
                response = await problems.respond(Request({**scope, "app": self._app}), error)
                await response(scope, receive, send)
                return
            if key is not None and key.is_limited:
                send = self._telling_limits(key, send)
        await self._inner(scope, receive, send)

    async def _check(self, scope: Scope) -> ApiKey | None:
        """Return the key of a request, which is also added to its scope, or None if it needs none.

        Raises:
            BatchlineError: the request is not allowed.
        """
        need = self._needs.of(scope["method"], scope["path"])
        if need is Open.HEALTH:
            return None
        fields = _fields(scope)
        state: SharedState = self._app.state.api
        if not self._requires_keys and self._rules.auth is Auth.AUTO:
            exist = state.keys.known_to_exist()
            # From then on, whatever happens to it.
            self._requires_keys = await state.keys.exist() if exist is None else exist
        is_open = not self._requires_keys
        if is_open:
            self._rules.hosts.check(fields.get(b"host", b""), scope["server"])
        if scope["method"] not in SAFE_METHODS:
            check_origin(fields, self._rules.origins)
        if is_open and self._rules.auth is Auth.AUTO:
            scope[WHILE_OPEN] = state.keys.check_none_exists
        if is_open or isinstance(need, Open):
            return None
        sha256 = _sha256(fields.get(b"authorization"), scope)
        key = state.keys.known(sha256) or await state.keys.find(sha256)
        if key is None:
            unknown = "the API key is unknown or has been revoked"
            raise _unauthorized(unknown, ', error="invalid_token"')
        is_allowed = need is key.role or need in ALLOWED[key.role]
        registers = is_allowed and need is Role.WRITE
        # A request with an Idempotency-Key may be stored already, and so may lines of an upload.
        is_new = scope["path"] == "/predict" and field(scope, b"idempotency-key") is None
        state.quotas.admit(key, registers=registers and is_new)
        if not is_allowed:
            raise _forbidden(key, need)
        scope[OF_SCOPE] = key
        return key

    def _telling_limits(self, key: ApiKey, send: Send) -> Send:
        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                headers.update(self._app.state.api.quotas.fields(key))
                message = {**message, "headers": headers.raw}
            await send(message)

        return send_with_limits


def _fields(scope: Scope) -> Fields:
    fields: Fields = {}
    for name, value in scope["headers"]:
        if name in FIELDS:
            if name in fields:
                raise InvalidRequest(
                    f"the request has the header field {name.decode().title()} twice",
                    hint="send it once",
                )
            fields[name] = value
    return fields


def _sha256(sent: bytes | None, scope: Scope) -> str:
    """Return the hash of the API key of a request.

    Raises:
        Unauthorized: the request has no key.
    """
    if sent is None:
        in_url = ", except in its URL, which is logged on the way" if _in_url(scope) else ""
        raise _unauthorized(f"the request has no API key{in_url}")
    if sent[: len(BEARER)].lower() != BEARER:
        raise _unauthorized("the header field Authorization must be: Bearer KEY")
    return digest(sent[len(BEARER) :].strip(b" \t").decode("latin-1"))


def _in_url(scope: Scope) -> bool:
    return PREFIX.encode() in scope["query_string"]


def _unauthorized(detail: str, more: str = "") -> Unauthorized:
    headers = {"WWW-Authenticate": REALM + more}
    return Unauthorized(detail, hint="send the header Authorization: Bearer KEY", headers=headers)


def _forbidden(key: ApiKey, need: Role) -> Forbidden:
    challenge = f'{REALM}, error="insufficient_scope", scope="{need}"'
    return Forbidden(
        f"the API key has the role {key.role}, and this needs {need}",
        hint=f"use a key with the role {need}",
        headers={"WWW-Authenticate": challenge},
    )
