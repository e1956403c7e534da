"""The admin listener: purge, explain, counters, health, the dashboard. Its own port, never the public one.

Without a token it answers loopback only. A page in somebody's browser must not reach it: the Host has to be
this listener's own (DNS rebinding), a POST has to be JSON (a form cannot send that without being asked
first), and no CORS field is ever sent.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import resources
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from aiohttp import web

from cdn import __version__
from cdn.config.values import Admin
from cdn.control import metrics
from cdn.control.log import NodeLog, describe, one_line
from cdn.control.node import Reached, UnavailableError
from cdn.control.preflight import admin_token, is_loopback
from cdn.control.purge_request import LISTS, ONE, PurgeRequest, purge_problem

BODY = 1 << 20  # bytes of a purge request
DEADLINE = 15.0  # seconds for a whole request

CONNECTIONS = 100  # at once; the next ones are told so

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_OPEN = frozenset(("/", "/healthz", "/readyz"))  # say nothing worth a token


class NodeView(Protocol):
    """What the admin listener may ask of the node."""

    @property
    def name(self) -> str: ...

    @property
    def ready(self) -> bool:
        """False while starting and draining: a balancer should send nothing new."""
        ...

    async def stats(self) -> Mapping[str, Any]: ...
    async def purge(self, wanted: PurgeRequest) -> Reached: ...
    async def explain(self, url: str, fields: list[tuple[str, str]]) -> Mapping[str, Any]: ...


class AdminServer:
    """Serves `node` on sockets that listen already, which it closes at its end."""

    def __init__(self, config: Admin, node: NodeView, log: NodeLog) -> None:
        self._config = config
        self._node = node
        self._log = log
        token = admin_token(config)
        self._token = token.encode("ascii") if token is not None else None
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.AbstractServer] = []
        self._page, self._policy = dashboard()
        self._wild = config.address.host in ("", "0.0.0.0", "::")
        self._names = {config.address.host.lower(), "localhost"}
        if self._wild:
            self._names |= {socket.gethostname().lower(), node.name.lower()}

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        app = web.Application(client_max_size=BODY, middlewares=[self._guard])
        app.router.add_get("/", self._dashboard)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/v1/stats", self._stats)
        app.router.add_get("/v1/explain", self._explain)
        app.router.add_post("/v1/purge", self._purge)
        # keepalive_timeout is the only deadline aiohttp has for a request's head.
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=DEADLINE, handle_signals=False, shutdown_timeout=1.0
        )
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        for sock in sockets:
            self._servers.append(await loop.create_server(self._connection, sock=sock))

    def _connection(self) -> asyncio.BaseProtocol:
        assert self._runner is not None
        assert self._runner.server is not None
        if len(self._runner.server.connections) >= CONNECTIONS:
            self._log.event("admin-connections", f"admin: more than {CONNECTIONS} connections", "warning")
            return _Full()
        return self._runner.server()

    async def stop(self) -> None:
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # What every request has to pass

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            refusal = self._refusal(request)
            if refusal is None:
                response = await asyncio.wait_for(handler(request), DEADLINE)
            else:
                response = refusal
        except web.HTTPException as error:
            response = _error(error.status, error.reason)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except UnavailableError as error:
            response = _error(503, str(error))
        except TimeoutError:
            response = _error(408, f"the request took longer than {DEADLINE:.0f} s")
        except Exception as error:  # a fault of ours must not end the admin listener, nor show its inside
            self._log.event("admin", f"admin: {request.method} {request.path}: {describe(error)}", "error")
            response = _error(500, "internal error; the node's log names it")
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if response.status >= 400:
            response.force_close()  # whatever is left of the body is not read
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        if not self._host_is_ours(request.host):
            return _error(421, "this Host is not the admin listener's; use its address or localhost")
        if request.method == "POST" and request.content_type != "application/json":
            return _error(415, "send the body with Content-Type: application/json")
        if self._token is not None and request.path not in _OPEN:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            token = given.strip().encode("utf-8", "surrogateescape")
            if not (hmac.compare_digest(token, self._token) and scheme.lower() == "bearer"):
                self._log.event(
                    "admin-token", f"admin: {request.remote} came without the right token", "warning"
                )
                response = _error(401, "send the admin token as Authorization: Bearer TOKEN")
                response.headers["WWW-Authenticate"] = 'Bearer realm="cdn admin"'
                return response
        return None

    def _host_is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in self._names or is_loopback(name):
            return True
        if not self._wild:
            return False
        try:  # a literal address is never the result of a rebound name
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    # The pages

    async def _dashboard(self, _request: web.Request) -> web.Response:
        headers = {
            "Content-Security-Policy": self._policy,
            "Referrer-Policy": "no-referrer",
            "X-Frame-Options": "DENY",
        }
        return web.Response(text=self._page, content_type="text/html", headers=headers)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        ready = self._node.ready
        return web.Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        text = metrics.render(await self._node.stats(), self._node.name, __version__)
        return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _stats(self, _request: web.Request) -> web.Response:
        return _json({"node": self._node.name, "version": __version__, **await self._node.stats()})

    async def _explain(self, request: web.Request) -> web.Response:
        url = request.query.get("url", "")
        if not url:
            return _error(400, "name the URL: /v1/explain?url=http://www.example.com/")
        fields: list[tuple[str, str]] = []
        for text in request.query.getall("header", []):
            field = parse_field(text)
            if field is None:
                return _error(400, f"header has to be Name:value, got {one_line(text, 80)!r}")
            fields.append(field)
        try:
            return _json(await self._node.explain(url, fields))
        except ValueError as error:
            return _error(400, one_line(str(error), 300))

    async def _purge(self, request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
        except (ValueError, RecursionError):
            return _error(400, "the body is not JSON")
        problem = purge_problem(wanted)
        if problem is not None:
            return _error(*problem)
        purge = PurgeRequest.of(wanted)
        try:
            reached = await self._node.purge(purge)
        except ValueError as error:
            return _error(400, one_line(str(error), 300))
        kind = "soft purge" if purge.soft else "purge"
        what = "all" if purge.all else _what(wanted)
        number = "" if reached.sequence is None else f", number {reached.sequence} of all nodes"
        self._log.say(
            one_line(f"audit: {kind} of {what} by {request.remote}: {reached.count} reached{number}", 600)
        )
        given = {key: len(wanted.get(key, [])) for key in LISTS}
        answer = {"purged": reached.count, **given, "all": purge.all, "soft": purge.soft}
        return _json(answer if reached.sequence is None else {**answer, "sequence": reached.sequence})


class _Full(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)
        sentence = b'{"error": "too many connections to the admin listener"}\n'
        transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(sentence), sentence)
        )
        transport.close()


_FIELD = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]{0,8192})"
).fullmatch


def parse_field(text: str) -> tuple[str, str] | None:
    """ "Name: value" as a field; None when it is not one (RFC 9110 §5.1, §5.5)."""
    match = _FIELD(text)
    return None if match is None else (match[1], match[2].rstrip(" \t"))


def _what(wanted: Mapping[str, Any]) -> str:
    """A purge in the audit line: what there is of each kind, and the first of them."""
    parts = []
    for key in LISTS:
        names = wanted.get(key, [])
        kind = "URLs" if key == "urls" else key
        if len(names) > 1:
            parts.append(f"{len(names)} {kind}, first {names[0]}")
        elif names:
            parts.append(names[0] if key == "urls" else f"{ONE[key]} {names[0]}")
    return "; ".join(parts)


def _json(value: Mapping[str, Any], status: int = 200) -> web.Response:
    body = json.dumps(value, default=str).encode() + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")


def _error(status: int, sentence: str) -> web.Response:
    return _json({"error": sentence}, status)


def dashboard() -> tuple[str, str]:
    """The page, and a policy that lets exactly its own script and style run and nothing be loaded from
    elsewhere.
    """
    page = resources.files("cdn.control").joinpath("dashboard.html").read_text(encoding="utf-8")

    def hashes(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in found
        )

    policy = (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy
