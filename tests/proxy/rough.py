"""Requests and responses as no client and no origin should write them, and what each lane makes of them.

A round is a few raw requests over one connection and, for each path, raw responses in turn, all chosen by a seed. It is
played in a proxy whose lanes are on and in one that has the general lane only: answers, what the origin was asked,
records, log lines and outcomes must be the same. Rounds know nothing about what is right.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.harness import Origin, WireError, reply, site
from tests.harness.client import RawClient
from tests.harness.proxy import Proxy

from .lanes import NOW, WARM, lines, told

STEPS = [0, 0, 0, 0, 400, 1000, 6000, 61_000]
PATHS = ["/a", "/b", "/c?x=1&y=2", "/d/e"]
TARGETS = [
    "{}",
    "{}",
    "{}",
    "{}",
    "{}",
    "{}",
    "http://site.test{}",
    "http://SITE.test:80{}",
    "http://other.test{}",
    "https://site.test{}",
    "//site.test{}",
    "/x/..{}",
    "/./{}",
    "{}?",
    "{}#f",
    "{}%41",
    "/%61",
    "/%2e%2e/a",
    "{};p=1",
    "{}?x=%zz",
    "{}?y=2&x=1&x=3",
    "{}\\",
    "{}?utm=1&keep=2",
    "*",
    "",
    "/" + '"' * 6000,
    "/l" + "x" * 20_000,
    "{}?" + "q" * 9000,
    "/q{}" + "[]" * 2000,
]
HOSTS = ["site.test"] * 12 + [
    "SITE.TEST",
    "site.test:80",
    "site.test.",
    "other.test",
    "site.test:81",
    "",
    "site.test, other.test",
    "[::1]",
    "a@site.test",
]
REQUEST_FIELDS: list[tuple[str, list[str]]] = [
    (
        "Accept-Encoding",
        [
            "gzip",
            "br, gzip",
            "gzip;q=0",
            "identity;q=0, *",
            "*",
            "",
            "GZIP;Q=0.5",
            "x" * 300,
            ",,gzip",
            "zstd",
            "gzip" + ", x" * 3000,
        ],
    ),
    ("User-Agent", ["a", "b", "c", "d" * 9000]),
    ("accept-encoding", ["br", "deflate"]),
    ("Accept-Language", ["de", "de, en;q=0.5", "EN", "*", ""]),
    ("Accept", ["*/*", "text/html"]),
    ("Cookie", ["a=b", "session=1", "theme=dark; session=2", ""]),
    ("Authorization", ["Basic YTpi", ""]),
    (
        "Cache-Control",
        [
            "no-cache",
            "max-age=0",
            "max-age=5",
            "no-store",
            "only-if-cached",
            "max-stale",
            "min-fresh=30",
            "x",
            "max-age=0, max-age=90",
            "max-age",
            "",
        ],
    ),
    ("Pragma", ["no-cache", "x"]),
    ("If-None-Match", ['"e"', 'W/"e"', "*", '"f", "e"', "e", "", '"e" "f"', '"\xe9"']),
    (
        "If-Modified-Since",
        [
            "Mon, 21 Sep 2026 14:13:20 GMT",
            "Tue, 22 Sep 2026 14:00:00 GMT",
            "once",
            "Tuesday, 22-Sep-26 14:13:20 GMT",
        ],
    ),
    ("If-Unmodified-Since", ["Mon, 21 Sep 2026 14:13:20 GMT"]),
    ("If-Match", ['"e"', "*"]),
    ("If-Range", ['"e"', 'W/"e"', "Mon, 21 Sep 2026 14:13:20 GMT", "x"]),
    (
        "Range",
        [
            "bytes=0-1",
            "bytes=-2",
            "bytes=3-",
            "bytes=0-0,2-3",
            "bytes=99999-",
            "bytes=-0",
            "bytes=5-2",
            "x=0-1",
            "bytes=0-1, 1-2",
            "Bytes=0-0",
            "bytes= 0-0",
            "bytes=00-01",
        ],
    ),
    (
        "Connection",
        [
            "keep-alive",
            "x-a",
            "close",
            "keep-alive, x-a",
            "accept-encoding",
            "cookie",
            "cache-control",
            "",
            "te",
            "vary, range",
            "host",
            "upgrade",
        ],
    ),
    ("X-A", ["1", "2", "", "a, b", "\xe9", "x" * 700]),
    ("x-a", ["1", "9"]),
    ("X-Forwarded-For", ["1.2.3.4", "evil\t1", ""]),
    ("X-Forwarded-Proto", ["https"]),
    ("X-Forwarded-Host", ["other.test"]),
    ("Forwarded", ["for=1.2.3.4", "garbage;;"]),
    ("Via", ["1.1 x", "1.0 edge-1"]),
    ("CDN-Loop", ["other", "edge-1", "other; a=b, edge-1x"]),
    ("Max-Forwards", ["0"]),
    ("TE", ["trailers", "gzip"]),
    ("Keep-Alive", ["timeout=5"]),
    ("Proxy-Connection", ["close"]),
    ("Proxy-Authorization", ["Basic YTpi"]),
    ("Trailer", ["x-a"]),
    ("Upgrade", ["h2c", "websocket"]),
    ("Expect", ["100-continue", "x"]),
    ("Content-Length", ["0", "2", "00", "+0", "0, 0", "-1"]),
    ("Transfer-Encoding", ["chunked", "identity", "chunked, chunked", "\x0bchunked"]),
    ("Date", ["Tue, 22 Sep 2026 14:13:20 GMT"]),
    ("X-Request-Id", ["mine"]),
    ("Surrogate-Key", ["a"]),
    ("Cache-Status", ["x; hit"]),
    ("Age", ["5"]),
    ("CDN-Edge", ["garbage"]),
    ("X-Preview", ["1"]),
    ("X-Long-" + "n" * 200, ["1"]),
    ("X-Null", ["a\0b"]),
    ("X-Sp ", ["1"]),
    (" X-Fold", ["1"]),
]
RESPONSE_FIELDS: list[tuple[str, list[str]]] = [
    (
        "Cache-Control",
        [
            "max-age=60",
            "max-age=60",
            "s-maxage=5, max-age=600",
            "no-store",
            "private",
            "no-cache",
            "public",
            'private="x-a"',
            'no-cache="Set-Cookie, X-B"',
            "max-age=60, max-age=10",
            "must-revalidate, max-age=5",
            "max-age=-1",
            "max-age=x",
            "max-age=99999999999999999999",
            "immutable, max-age=60",
            "no-transform, max-age=60",
            "max-age=60, must-understand, no-store",
            'max-age="60"',
            "MAX-AGE=60",
            "max-age = 60",
            'x="no-store", max-age=60',
            "proxy-revalidate, s-maxage=0",
            "stale-if-error=60, max-age=1",
            "",
        ],
    ),
    ("cache-control", ["public", "max-age=5", "no-store"]),
    ("CDN-Cache-Control", ["max-age=7", "no-store", "x("]),
    ("Expires", ["Tue, 22 Sep 2026 14:14:00 GMT", "0", "Mon, 21 Sep 2026 14:14:00 GMT", "once"]),
    (
        "Date",
        [
            "Tue, 22 Sep 2026 14:13:00 GMT",
            "Tue, 22 Sep 2026 15:13:00 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Tue, 22 Sep 2126 14:13:00 GMT",
            "x",
            "",
            "Tuesday, 22-Sep-26 14:13:10 GMT",
        ],
    ),
    ("Age", ["7", "7, 8", "-1", "0", "59", "999999999", "9999999999", "", "07"]),
    ("ETag", ['"e"', 'W/"e"', "", "e", '"e', '"\xe9"', '"' + "t" * 300 + '"', '"a" "b"']),
    (
        "Last-Modified",
        [
            "Mon, 21 Sep 2026 14:13:20 GMT",
            "Tue, 22 Sep 2026 14:13:20 GMT",
            "x",
            "Thu, 22 Sep 2050 14:13:20 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ],
    ),
    (
        "Vary",
        [
            "Accept-Encoding",
            "x-a",
            "Accept-Encoding, X-A",
            "User-Agent",
            "User-Agent",
            "*",
            "Cookie",
            "accept-encoding,accept-encoding",
            "",
            "X-A,,",
            ", ".join(f"x-{n}" for n in range(70)),
            "X-Long-" + "n" * 200,
            "a b",
            "Host",
            "Accept-Language",
            "Range",
            "Origin, *",
            "x-a , cookie",
            "Authorization",
            "Connection",
            "\xe9",
        ],
    ),
    ("vary", ["x-a", "accept-language"]),
    ("Set-Cookie", ["a=b", "", "c=d; HttpOnly"]),
    ("Content-Type", ["text/html", "image/png", "text/plain; charset=utf-8", "", "TEXT/CSS"]),
    ("Content-Encoding", ["gzip", "identity", "br", "x", "", "gzip, br"]),
    ("Content-Range", ["bytes 0-1/5", "bytes 0-4/5", "bytes */5", "x", "bytes 0-1/*", "bytes 5-1/9"]),
    ("Accept-Ranges", ["bytes", "none"]),
    ("Content-Location", ["/b", "x", "http://site.test/b"]),
    ("Location", ["/b", "http://other.test/", ""]),
    ("Surrogate-Key", ["a b", "", "x" * 500]),
    ("Cache-Tag", ["a, b", "\xe9"]),
    ("Cache-Groups", ['"g"', "g", '"g", "h"', ""]),
    ("Cache-Group-Invalidation", ['"g"']),
    ("No-Vary-Search", ["params", 'params=("x")', "x", "key-order"]),
    ("Connection", ["keep-alive", "x-a", "close", "cache-control", "keep-alive, etag", "", "vary"]),
    ("Keep-Alive", ["timeout=5", "x"]),
    ("Trailer", ["x-a"]),
    ("Via", ["1.1 x", "1.1 edge-1"]),
    ("Cache-Status", ["x; hit", "(((", ""]),
    ("X-A", ["1", "", "\xe9", "x" * 2000]),
    ("X-B", ["1"]),
    ("Server", ["s"]),
    ("Pragma", ["no-cache"]),
    ("Link", ["</x>; rel=preload"]),
    ("Warning", ["110 - x"]),
    ("Upgrade", ["h2c"]),
    ("Proxy-Authenticate", ["Basic"]),
    ("Alt-Svc", ['h2=":443"']),
    ("Strict-Transport-Security", ["max-age=1"]),
    ("X-Frame-Options", ["DENY"]),
    ("Content-Length", ["5"]),
    ("X-Null", ["a\0b"]),
    ("X-Sp ", ["1"]),
    ("Age", ["3"]),
]
ODD_REQUEST = {
    " X-Fold",
    "X-Sp ",
    "X-Null",
    "Content-Length",
    "Transfer-Encoding",
    "Upgrade",
    "Expect",
    "CDN-Edge",
    "Via",
    "CDN-Loop",
}
ODD_RESPONSE = {"X-Null", "X-Sp ", "Content-Length", "Upgrade", "Via"}
BODIES = [
    b"",
    b"x",
    b"hello",
    b"hello" * 30,
    b"0123456789" * 700,
    b"\r\n\r\nHTTP/1.1 200 OK\r\n" * 90,
    b"y" * 70_000,
]
ROUTES: list[dict[str, Any]] = [
    {},
    {},
    {},
    {"compress": ["gzip", "br"]},
    {"headers": {"response": {"set": {"X-Frame-Options": "SAMEORIGIN"}, "remove": ["Server", "X-A"]}}},
    {"headers": {"request": {"set": {"X-B": "2"}, "remove": ["Cookie"]}}},
    {"headers": {"response": {"remove": ["ETag"], "set": {"Cache-Control": "no-cache"}}}},
]
CACHES: list[Any] = [
    None,
    None,
    None,
    {"bypass": {"cookies": ["session*"], "query": ["y"], "headers": ["x-preview"]}},
    "off",
]


@dataclass
class Round:
    route: dict[str, Any]
    cache: Any
    requests: list[tuple[bytes, int, list[int]]]  # bytes, ms after it, where it is cut
    responses: dict[str, list[tuple[list[bytes], bool]]] = field(default_factory=dict)


def spelled(
    chance: random.Random, kinds: list[tuple[str, list[str]]], odd: set[str], most: int
) -> list[bytes]:
    out = []
    for _ in range(chance.randrange(most)):
        name, values = chance.choice(kinds)
        if name in odd and chance.random() < 0.7:
            continue
        space = chance.choice([" ", " ", " ", "", "  ", "\t"])
        behind = chance.choice(["", "", "", " ", "\t "])
        out.append(f"{name}:{space}{chance.choice(values)}{behind}\r\n".encode("latin-1"))
    return out


def request_of(chance: random.Random) -> bytes:
    method = chance.choice(
        ["GET"] * 14 + ["HEAD"] * 4 + ["POST", "OPTIONS", "get", "PURGE", "TRACE", "DELETE"]
    )
    target = chance.choice(TARGETS).format(chance.choice(PATHS))
    version = chance.choice(["HTTP/1.1"] * 16 + ["HTTP/1.0", "HTTP/1.0", "HTTP/2.0", "http/1.1"])
    head = f"{method} {target} {version}\r\n".encode("latin-1")
    fields = spelled(chance, REQUEST_FIELDS, ODD_REQUEST, 5)
    if chance.random() < 0.97:
        fields.insert(
            chance.randrange(len(fields) + 1), f"Host: {chance.choice(HOSTS)}\r\n".encode("latin-1")
        )
    if chance.random() < 0.01:
        fields.append(b"Host: site.test\r\n")
    end = b"\r\n" if chance.random() < 0.995 else b"\n"
    whole = head + b"".join(fields) + end
    if b"chunked" in whole:
        return whole + b"2\r\nok\r\n0\r\n\r\n"
    return whole + b"ok" if b"\r\nContent-Length:" in whole else whole


def response_of(chance: random.Random) -> tuple[list[bytes], bool]:
    """Its pieces, and whether the connection ends behind it."""
    status = chance.choice(
        [200] * 12
        + [200, 203, 204, 206, 301, 302, 304, 404, 404, 410, 412, 416, 500, 503, 299, 599, 999, 101]
    )
    version = chance.choice(["HTTP/1.1"] * 12 + ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0"])
    reason = chance.choice(["OK", "OK", "", "Not so fine", "\xe9"])
    data = f"{version} {status} {reason}\r\n".encode("latin-1")
    fields = spelled(chance, RESPONSE_FIELDS, ODD_RESPONSE, 7)
    if chance.random() < 0.6:
        fields.insert(0, b"Cache-Control: max-age=60\r\n")
    body, closes = chance.choice(BODIES), False
    kind = chance.choice(
        ["length"] * 8
        + ["chunked"] * 5
        + ["close", "short", "long", "both", "two", "same", "broken", "nothing", "extension"]
    )
    if status in (204, 304) or status < 200:
        kind = chance.choice(["nothing"] * 4 + ["length"])
        body = b"" if chance.random() < 0.8 else body[:5]
    n = len(body)
    if kind == "length":
        fields.append(b"Content-Length: %d\r\n" % n)
    elif kind in ("chunked", "extension", "broken", "both"):
        fields.append(b"Transfer-Encoding: chunked\r\n")
        if kind == "both":
            fields.append(b"Content-Length: %d\r\n" % n)
        cut = chance.randrange(n + 1)
        behind = b";a=b" if kind == "extension" else b""
        body = b"".join(
            b"%x%s\r\n%s\r\n" % (len(part), behind, part) for part in (body[:cut], body[cut:]) if part
        )
        body += b"0%s\r\n" % behind + (b"X-Trail: 1\r\n" if chance.random() < 0.3 else b"") + b"\r\n"
        if kind == "broken":
            at = chance.randrange(len(body))
            body, closes = body[:at] + chance.choice([b"", b"\0", b"\r", b"zz"]) + body[at + 1 :], True
    elif kind == "short":
        body = body[:5000]
        n = len(body)
        fields.append(b"Content-Length: %d\r\n" % max(n - 3, 0))
        closes = chance.random() < 0.5
    elif kind == "long":
        fields.append(b"Content-Length: %d\r\n" % (n + 3))
        closes = True
    elif kind == "two":
        fields += [b"Content-Length: %d\r\n" % n, b"Content-Length: %d\r\n" % (n + 1)]
        closes = True
    elif kind == "same":
        fields += [b"Content-Length: %d\r\n" % n, b"Content-Length: %d\r\n" % n]
    else:
        closes = kind == "close" or bool(body)
    chance.shuffle(fields)
    data += b"".join(fields) + b"\r\n" + body
    if chance.random() < 0.08:
        data = (
            chance.choice(
                [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n"]
            )
            + data
        )
    if kind == "short" or status in (204, 304):
        return [data], closes
    cuts = sorted(chance.sample(range(1, len(data)), min(chance.choice([0, 0, 0, 0, 1, 2]), len(data) - 1)))
    pieces = [data[first:last] for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return pieces, closes or chance.random() < 0.03


def round_of(seed: int) -> Round:
    chance = random.Random(seed)
    made = Round(chance.choice(ROUTES), chance.choice(CACHES), [])
    for _ in range(chance.randrange(3, 14)):
        data = request_of(chance)
        if made.requests and chance.random() < 0.25:
            data = made.requests[-1][0]
        cuts = sorted(chance.sample(range(1, len(data)), chance.choice([0, 0, 0, 0, 0, 1, 2])))
        made.requests.append((data, chance.choice(STEPS), cuts))
    for path in PATHS:
        made.responses[path.partition("?")[0]] = [
            response_of(chance) for _ in range(chance.choice([1, 1, 2, 4]))
        ]
    return made


def play(lanes: bool, what: Round) -> tuple[Any, ...]:
    """What was seen, as far as it must be the same in every lane; and how many the lanes have taken."""
    turns: dict[str, int] = {}

    def rule(request: Any) -> Any:
        if request.target == WARM:
            return reply(200, {"Cache-Control": "no-store"}, b"warm")
        path = request.target.partition("?")[0]
        known = what.responses.get(path) or what.responses["/a"]
        turn = turns[path] = turns.get(path, -1) + 1
        pieces, closes = known[turn % len(known)]
        if request.method == "HEAD":  # what is behind its head must not come as the next answer
            pieces = [b"".join(pieces)]
        for piece in pieces:
            request.conn.send(piece)
            if len(pieces) > 1:
                time.sleep(0.002)
        if closes:
            request.conn.close()
        return None

    with Origin(rule, patience=5) as origin, Proxy(tree_of(what, origin)) as proxy:
        proxy.clock.advance(NOW - proxy.clock.now())
        worker = proxy._worker
        worker.fill_lane.enabled = worker.lane.enabled = lanes
        answers: list[Any] = []
        client: RawClient | None = None
        for data, step, cuts in what.requests:
            ask(proxy, b"GET /warm-up HTTP/1.1\r\nHost: site.test\r\n\r\n", None, [])
            answer, client = ask(proxy, data, client, cuts)
            answers.append(answer)
            settle(proxy)
            proxy.clock.advance(step)
        if client is not None:
            client.close()
        proxy.settle()
        settle(proxy)
        memory = worker.memory
        stats = proxy.stats()
        stored = memory.keys()
        records = {key: replace(memory.lookup(key).draft(), stamp=None) for key in stored}
        bodies = {key: memory.lookup(key).read() for key in stored}
        cut = {
            data.split(b" ")[1].decode("latin-1")
            for (data, _, _), answer in zip(what.requests, answers, strict=True)
            if answer[5:6] == (True,)
        }
        log = logged(proxy, cut)
        asked = [(r.method, r.target, r.fields) for r in origin.requests if r.target != WARM]
        seen = (answers, asked, records, bodies, log, stats["outcomes"], stats["no_store"], stats["flights"])
        return *seen, stats["lanes"]


def logged(proxy: Proxy, cut: set[str]) -> list[str]:
    """All lines, once there are no more to come; of the answers for `cut` nobody knows how long they are."""

    async def flush() -> None:
        proxy._worker.flush_log()

    assert proxy._loop is not None
    asyncio.run_coroutine_threadsafe(flush(), proxy._loop).result(5)
    said = proxy.log(sum(proxy.stats()["outcomes"].values()))
    said = [line for line in said if line["target"] != WARM]
    for line in said:  # our own answers have an id in them that is not always as long
        line["bytes"] = line["bytes"] if line["outcome"] in ("hit", "miss", "pass") else 0
        if line["bytes"] and line["target"] in cut:
            line["bytes"] = -1
    return lines(said, {"duration_us", "origin", "origin_first_byte_us"})


def tree_of(what: Round, origin: Origin) -> dict[str, Any]:
    return site(
        origin, what.cache, route=what.route, origin_timeouts={"first_byte": "2s", "between_bytes": "2s"}
    )


def settle(proxy: Proxy) -> None:
    """Nothing goes on behind the last answer."""
    worker, end = proxy._worker, time.monotonic() + 5
    while (
        worker.fill_lane.active or worker.site.flights or proxy.stats()["exchanges"]
    ) and time.monotonic() < end:
        time.sleep(0.002)
    assert time.monotonic() < end, "something goes on"


def ask(proxy: Proxy, data: bytes, client: RawClient | None, cuts: list[int]) -> tuple[Any, RawClient | None]:
    """The answer to one raw request, and the connection where it can go on."""
    method = data.split(b" ", 1)[0].decode("latin-1")
    if client is None:
        client = RawClient(proxy.port, timeout=6)
    try:
        for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True):
            client.send(data[first:last])
            if cuts:
                time.sleep(0.001)
        response = client.read_response(method, tolerate_abort=True)
        if response.aborted:
            response.body = b""  # how much of it comes before the cut is a matter of time
        answer: Any = (*told(response), response.trailers, [(i.status, i.fields) for i in response.interim])
    except (WireError, OSError) as error:
        client.close()
        return ("no answer", type(error).__name__, str(error)[:60]), None
    if response.aborted or response.framing == "close" or (response["connection"] or "").lower() == "close":
        client.close()
        return answer, None
    if b"chunked" in data.lower() or b"pgrade" in data or b"xpect" in data or b"ontent-" in data:
        client.close()
        return answer, None
    return answer, client


NAMES = ("answers", "asked", "records", "bodies", "log", "outcomes", "no_store", "flights")


def difference(what: Round) -> str | None:
    """What one lane did otherwise than the other."""
    general, lane = play(False, what), play(True, what)
    told, heard = general[0], lane[0]
    broken = {
        n
        for n, pair in enumerate(zip(told, heard, strict=True))
        if pair[0] != pair[1] and all(map(is_broken, pair))
    }
    for n in broken:
        told[n] = heard[n] = "broken"
    for name, one, other in zip(NAMES, general, lane, strict=False):
        if broken and name in ("log", "outcomes", "no_store"):
            continue
        if one != other:
            if isinstance(one, list):
                pairs = [(a, b) for a, b in zip(one, other, strict=False) if a != b]
                pairs += [("-", extra) for extra in other[len(one) :]] + [
                    (extra, "-") for extra in one[len(other) :]
                ]
                return f"{name}:\n  general {str(pairs[0][0])[:1500]}\n  lanes   {str(pairs[0][1])[:1500]}"
            return f"{name}:\n  general {str(one)[:1500]}\n  lanes   {str(other)[:1500]}"
    return None


def is_broken(answer: tuple[Any, ...]) -> bool:
    """Of an answer whose origin broke off, one lane may have sent the head by then and the other not."""
    return answer[5:6] == (True,) or answer[0] == 502


def smaller(what: Round, differs: Callable[[Round], bool]) -> Round:
    """The same difference with fewer requests."""
    at = 0
    while at < len(what.requests) and len(what.requests) > 1:
        less = Round(what.route, what.cache, what.requests[:at] + what.requests[at + 1 :], what.responses)
        if differs(less):
            what = less
        else:
            at += 1
    return what
