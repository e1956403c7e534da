"""The demo's origin: a small web site whose every page shows one thing that a cache does or must not do.

Runs in a process of its own (`python -m cdn.cli.demo_origin`): prints the port it got, and ends when its
standard input does, so that it never outlives the demo.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import re
import signal
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from importlib import resources

from aiohttp import web

from cdn.cli.demo_pages import entity_tag, html, png

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LARGE = 20_000_000  # bytes of /large
SLOW = 2.0  # seconds that /slow takes
STARTED = int(time.time())


def fresh(request: web.Request, body: bytes, kind: str, cache: str, **fields: str) -> web.Response:
    """200 with an entity-tag, or 304 where the request has it already."""
    etag = entity_tag(body)
    headers = {"Cache-Control": cache, "ETag": etag, "Last-Modified": formatdate(STARTED, usegmt=True)}
    headers |= {name.replace("_", "-"): value for name, value in fields.items()}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]
    if etag in known or "*" in known:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers={**headers, "Content-Type": kind})


class Site:
    """The pages. `asked` counts the requests that reached the origin: what the cache spared is not in it."""

    def __init__(self) -> None:
        self.asked = 0
        self._flaky = itertools.count(1)
        package = resources.files("cdn.cli")
        self._page = package.joinpath("demo.html").read_bytes()
        self._style = package.joinpath("demo.css").read_bytes()
        self._script = package.joinpath("demo.js").read_bytes()
        pattern = b"".join(struct.pack(">I", n) for n in range(256))
        self._large = (pattern * (LARGE // len(pattern) + 1))[:LARGE]
        self._pictures: dict[int, bytes] = {}

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._count], client_max_size=1 << 20)
        app.add_routes(
            [
                web.get("/", self.page),
                web.get("/styles.css", self.style),
                web.get("/app.js", self.script),
                web.get(r"/pages/{n:[1-9]\d{0,3}}", self.numbered),
                web.get(r"/images/{n:[1-9]\d{0,3}}.png", self.picture),
                web.get("/api/time", self.clock),
                web.post("/api/echo", self.echo),
                web.get("/slow", self.slow),
                web.get("/large", self.large),
                web.get("/private", self.private),
                web.get("/swr", self.stale_while_revalidate),
                web.get("/flaky", self.flaky),
                web.get("/check", self.always_check),
                web.get("/language", self.language),
            ]
        )
        return app

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked += 1
        response = await handler(request)
        response.headers["X-Origin-Requests"] = str(self.asked)
        return response

    async def page(self, request: web.Request) -> web.Response:
        return fresh(request, self._page, "text/html; charset=utf-8", "max-age=60")

    async def style(self, request: web.Request) -> web.Response:
        return fresh(request, self._style, "text/css; charset=utf-8", "public, max-age=3600")

    async def script(self, request: web.Request) -> web.Response:
        return fresh(request, self._script, "text/javascript; charset=utf-8", "public, max-age=3600")

    async def numbered(self, request: web.Request) -> web.Response:
        n = int(request.match_info["n"])
        body = html(f"Page {n}", "Cached for a minute: max-age=60.")
        return fresh(request, body, "text/html; charset=utf-8", "max-age=60")

    async def picture(self, request: web.Request) -> web.Response:
        n = int(request.match_info["n"]) % 30
        if n not in self._pictures:
            self._pictures[n] = png(n)
        return fresh(request, self._pictures[n], "image/png", "public, max-age=86400, immutable")

    async def clock(self, _request: web.Request) -> web.Response:
        return web.json_response({"time": time.time()}, headers={"Cache-Control": "no-store"})

    async def echo(self, request: web.Request) -> web.Response:
        body = await request.read()
        return web.json_response({"bytes": len(body)}, headers={"Cache-Control": "no-store"})

    async def slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(SLOW)
        body = html("Slow", f"The origin thinks for {SLOW:g} s. Nobody waits again for a minute.")
        return fresh(request, body, "text/html; charset=utf-8", "max-age=60")

    async def large(self, request: web.Request) -> web.Response:
        etag = '"large-1"'
        headers = {"Cache-Control": "max-age=3600", "ETag": etag, "Accept-Ranges": "bytes"}
        headers["Content-Type"] = "application/octet-stream"
        if etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        wanted = re.fullmatch(r"bytes=(\d{1,15})-(\d{0,15})", request.headers.get("Range", ""))
        if wanted is None or request.headers.get("If-Range", etag) != etag:
            return web.Response(body=self._large, headers=headers)
        first, last = int(wanted[1]), min(int(wanted[2] or LARGE), LARGE - 1)
        if first >= LARGE or last < first:
            return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{LARGE}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{LARGE}"
        return web.Response(status=206, body=self._large[first : last + 1], headers=headers)

    async def private(self, _request: web.Request) -> web.Response:
        response = web.Response(body=html("Private", "For you alone."), content_type="text/html")
        response.headers["Cache-Control"] = "private, max-age=60"
        response.set_cookie("session", hashlib.sha256(str(time.time()).encode()).hexdigest()[:12])
        return response

    async def stale_while_revalidate(self, request: web.Request) -> web.Response:
        body = html("Stale while revalidate", f"Made at {time.strftime('%H:%M:%S')}. Fresh for 2 s.")
        return fresh(request, body, "text/html; charset=utf-8", "max-age=2, stale-while-revalidate=60")

    async def flaky(self, request: web.Request) -> web.Response:
        if next(self._flaky) % 2 == 0:
            return web.Response(status=500, text="the origin has a bad moment\n")
        body = html("Flaky", "Every second answer of the origin is a 500; nobody sees it.")
        return fresh(request, body, "text/html; charset=utf-8", "max-age=1, stale-if-error=600")

    async def always_check(self, request: web.Request) -> web.Response:
        body = html("Checked each time", "no-cache: stored, and validated with the origin before each use.")
        return fresh(request, body, "text/html; charset=utf-8", "no-cache")

    async def language(self, request: web.Request) -> web.Response:
        german = request.headers.get("Accept-Language", "").lower().startswith("de")
        text = "Guten Tag" if german else "Good day"
        body = html(text, "One URL, a stored answer for each language: Vary.")
        return fresh(request, body, "text/html; charset=utf-8", "max-age=60", Vary="Accept-Language")


def listener(port: int) -> socket.socket:
    """A socket on `port` of localhost, or on a free one when that is taken."""
    for candidate in (port, 0):
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind(("127.0.0.1", candidate))
            made.listen(128)
        except OSError:
            made.close()
            continue
        return made
    raise OSError("no free port on 127.0.0.1")


async def serve(sock: socket.socket) -> None:
    """Until standard input ends."""
    runner = web.AppRunner(Site().app(), access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    print(sock.getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    await runner.cleanup()


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m cdn.cli.demo_origin", description=__doc__)
    arguments.add_argument("--port", type=int, default=9000)
    port = arguments.parse_args().port
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the demo, and that ends this
    asyncio.run(serve(listener(port)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
