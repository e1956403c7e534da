"""RFC 9111 to the letter, through real sockets: short dialogues, each step with what the origin would say,
whether it is asked, and what the client gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate

import pytest

from tests.harness import Origin, Reply, Request, reply, site
from tests.harness.proxy import Proxy


@dataclass
class Step:
    """`says`: the origin's answer as `status | field | field`, where {n} is a date n seconds from now."""

    asked: bool  # is the origin asked?
    says: str = "200"
    asks: str = ""  # the client's fields, parted by " | "
    after: float = 0  # seconds since the step before
    method: str = "GET"
    status: int | None = None  # the client's; default: the origin's, or 200
    has: str = ""  # fields of the client's answer
    lacks: str = ""  # names, parted by blanks
    sent: str = ""  # fields of the request to the origin
    path: str = ""  # behind the dialogue's own
    same: bool | None = None  # is the body that of the step before?


def twice(says: str, *, stored: bool, asks: str = "", **more: object) -> list[Step]:
    return [Step(True, says, asks), Step(not stored, says, asks, **more)]  # type: ignore[arg-type]


FRESH = "200 | Cache-Control: max-age=60"
TAGGED = FRESH + ' | ETag: "a"'

DIALOGUES: dict[str, list[Step]] = {
    # --- storing: every final status with a lifetime (§3)
    **{
        f"status-{status}": twice(f"{status} | Cache-Control: max-age=60", stored=True, status=status)
        for status in (
            200,
            203,
            204,
            299,
            301,
            302,
            303,
            307,
            308,
            400,
            404,
            405,
            410,
            418,
            451,
            499,
            500,
            501,
            503,
            599,
        )
    },
    **{
        f"status-{status}-must-understand": twice(
            f"{status} | Cache-Control: max-age=60, no-store, must-understand", stored=stored, status=status
        )
        for status, stored in ((200, True), (404, True), (299, False), (499, False), (599, False))
    },
    **{
        f"heuristic-{status}": twice(f"{status} | Last-Modified: {{-100000}}", stored=stored, status=status)
        for status, stored in (
            *((s, True) for s in (200, 203, 204, 300, 301, 308, 404, 410)),
            *((s, False) for s in (201, 202, 302, 307, 400, 403, 405, 414, 500, 501, 502, 503, 504, 599)),
        )
    },
    "heuristic-public": twice("403 | Cache-Control: public | Last-Modified: {-100000}", stored=True),
    # --- freshness (§4.2)
    "expires": [Step(True, "200 | Expires: {+60}"), Step(False, after=50), Step(True, after=20)],
    "expires-rfc850-case": twice("200 | Expires: thursday, 18-aug-50 02:01:18 gmt", stored=True),
    "expires-utc": twice("200 | Expires: Thu, 18 Aug 2050 02:01:18 UTC", stored=False),
    "expires-0": twice("200 | Expires: 0", stored=False),
    "expires-no-date": twice("200 | Expires: {+60}", stored=True),
    "expires-old-date": [
        Step(True, "200 | Date: {-30} | Expires: {+60}"),
        Step(False, after=55),
        Step(True, after=10),
    ],
    "max-age-over-expires": twice(FRESH + " | Expires: {-60}", stored=True),
    "max-age-0-over-expires": twice("200 | Cache-Control: max-age=0 | Expires: {+60}", stored=False),
    "s-maxage": [
        Step(True, "200 | Cache-Control: max-age=5, s-maxage=60"),
        Step(False, after=50),
        Step(True, after=11),
    ],
    "s-maxage-0": twice("200 | Cache-Control: max-age=60, s-maxage=0", stored=False),
    "max-age-case": twice("200 | Cache-Control: MaX-aGe=60", stored=True),
    "max-age-overflow": twice("200 | Cache-Control: max-age=99999999999", stored=True),
    "max-age-quoted": twice('200 | Cache-Control: max-age="60"', stored=True),
    "max-age-decimal": twice("200 | Cache-Control: max-age=60.5", stored=False),
    "max-age-negative": twice("200 | Cache-Control: max-age=-60", stored=False),
    "max-age-in-a-string": twice('200 | Cache-Control: x="max-age=60", max-age=0', stored=False),
    "age-larger": twice(FRESH + " | Age: 120", stored=False),
    "age-smaller": [
        Step(True, FRESH + " | Age: 30"),
        Step(False, after=29, has="Age: 59"),
        Step(True, after=2),
    ],
    "age-bad": [Step(True, FRESH + " | Age: 120a"), Step(False, has="Age: 0")],
    "age-negative": [Step(True, FRESH + " | Age: -5"), Step(False, has="Age: 0")],
    "age-first": [Step(True, FRESH + " | Age: 7, 120"), Step(False, has="Age: 7")],
    "age-two-lines": [Step(True, FRESH + " | Age: 7 | Age: 120"), Step(False, has="Age: 7")],
    "age-overflow": twice(FRESH + " | Age: 99999999999", stored=False),
    "age-from-date": [
        Step(True, FRESH + " | Date: {-20}"),
        Step(False, after=10, has="Age: 30 | Date: {-20}"),
    ],
    "age-on-a-miss": [Step(True, FRESH + " | Age: 30", has="Age: 30")],
    "date-replayed": [Step(True, FRESH + " | Date: {0}"), Step(False, after=9, has="Date: {0} | Age: 9")],
    "date-future": [
        Step(True, FRESH + " | Date: {+500}"),
        Step(False, after=59, has="Date: {+500} | Age: 59"),
    ],
    "date-added": [Step(True, FRESH), Step(False, after=9, has="Date: {0} | Age: 9")],
    # --- fields (§3.1)
    "fields-replayed": [
        Step(
            True,
            FRESH + " | X-A: 1 | Content-Foo: 2 | Set-Cookie2: 3 | Content-Type: a/b "
            "| Content-MD5: x | Cache-Status: o; hit",
        ),
        Step(False, has="X-A: 1 | Content-Foo: 2 | Set-Cookie2: 3 | Content-Type: a/b | Content-MD5: x"),
    ],
    "connection-listed": [
        Step(
            True,
            FRESH
            + " | Connection: X-Gone, close | X-Gone: 1 | X-Kept: 2 | Keep-Alive: x | Proxy-Authenticate: x",
            has="X-Kept: 2",
            lacks="x-gone keep-alive proxy-authenticate",
        ),
        Step(False, has="X-Kept: 2", lacks="x-gone keep-alive proxy-authenticate"),
    ],
    "no-cache-fields": [
        Step(
            True,
            '200 | Cache-Control: max-age=60, no-cache="x-a, x-b" | X-A: 1 | X-B: 2 | X-C: 3',
            has="X-C: 3",
        ),
        Step(False, has="X-C: 3", lacks="x-a x-b"),
    ],
    "private-fields": [
        Step(True, '200 | Cache-Control: max-age=60, private="x-a" | X-A: 1 | X-C: 3'),
        Step(False, has="X-C: 3", lacks="x-a"),
    ],
    # --- use (§4, §5.2.1)
    "no-cache-validates": [
        Step(True, '200 | Cache-Control: no-cache, max-age=60 | ETag: "a"'),
        Step(True, '304 | ETag: "a"', sent='If-None-Match: "a"', status=200, same=True),
    ],
    "must-revalidate-error": [
        Step(True, '200 | Cache-Control: max-age=5, must-revalidate | ETag: "a"'),
        Step(True, "503", after=9, status=503),
    ],
    "stale-on-503": [
        Step(True, "200 | Cache-Control: max-age=5"),
        Step(True, "503", after=9, status=200, same=True),
    ],
    "stale-not-on-404": [
        Step(True, "200 | Cache-Control: max-age=5"),
        Step(True, "404", after=9, status=404),
    ],
    "stale-if-error-over": [
        Step(True, "200 | Cache-Control: max-age=5, stale-if-error=5"),
        Step(True, "503", after=11, status=503),
    ],
    "s-maxage-503": [Step(True, "200 | Cache-Control: s-maxage=5"), Step(True, "503", after=9, status=503)],
    "only-if-cached-miss": [Step(False, asks="Cache-Control: only-if-cached", status=504)],
    "only-if-cached-hit": [Step(True, FRESH), Step(False, asks="Cache-Control: only-if-cached", same=True)],
    "pragma": [Step(True, FRESH), Step(True, FRESH, asks="Pragma: no-cache")],
    "request-max-age": [
        Step(True, FRESH),
        Step(False, asks="Cache-Control: max-age=20", after=10),
        Step(True, FRESH, asks="Cache-Control: max-age=20", after=15),
        Step(False),
    ],
    "request-min-fresh": [Step(True, FRESH), Step(True, FRESH, asks="Cache-Control: min-fresh=70")],
    "request-max-stale-ignored": [
        Step(True, "200 | Cache-Control: max-age=5"),
        Step(True, FRESH, asks="Cache-Control: max-stale=60", after=9),
    ],
    "request-no-store": [Step(True, FRESH, asks="Cache-Control: no-store"), Step(True, FRESH), Step(False)],
    "authorization": [
        Step(True, FRESH, asks="Authorization: x"),
        Step(True, FRESH),
        Step(False, asks="Authorization: x"),
    ],
    "set-cookie": twice(FRESH + " | Set-Cookie: a=b", stored=False),
    "set-cookie-public": twice(
        "200 | Cache-Control: public, max-age=60 | Set-Cookie: a=b", stored=True, has="Set-Cookie: a=b"
    ),
    # --- validation (§4.3)
    "304-updates": [
        Step(
            True,
            '200 | Cache-Control: max-age=5 | ETag: "a" | X-A: old | X-B: kept '
            "| Content-Encoding: x | Content-Type: a/b",
        ),
        Step(
            True,
            '304 | Cache-Control: max-age=50 | ETag: "a" | X-A: new '
            "| Content-Encoding: y | Content-Type: c/d",
            after=9,
            status=200,
            same=True,
            has="X-A: new | X-B: kept | Content-Encoding: x | Content-Type: c/d",
        ),
        Step(False, after=40, same=True, has="X-A: new | X-B: kept | Content-Encoding: x | Age: 40"),
    ],
    "304-of-something-else": [
        Step(True, '200 | Cache-Control: max-age=5 | ETag: "a"'),
        Step(True, '200 | Cache-Control: max-age=50 | ETag: "b"', after=9, same=False),
        Step(False, has='ETag: "b"', same=True),
    ],
    "lm-validates": [
        Step(True, "200 | Cache-Control: max-age=5 | Last-Modified: {-100}"),
        Step(True, "304", after=9, status=200, same=True, sent="If-Modified-Since: {-100}"),
    ],
    "conditional-etag-hit": [
        Step(True, TAGGED + " | Content-Type: a/b"),
        Step(
            False,
            asks='If-None-Match: "x", W/"a"',
            status=304,
            has='ETag: "a"',
            lacks="content-type content-length",
        ),
        Step(False, asks='If-None-Match: "x"'),
        Step(False, asks='If-None-Match: "a" | If-Modified-Since: {-99999}', status=304),
        Step(False, asks="If-None-Match: *", status=304),
    ],
    "conditional-lm-hit": [
        Step(True, FRESH + " | Last-Modified: {-100}"),
        Step(False, asks="If-Modified-Since: {-100}", status=304),
        Step(False, asks="If-Modified-Since: {-101}"),
        Step(False, asks="If-Modified-Since: nonsense"),
        Step(False, asks='If-None-Match: "x" | If-Modified-Since: {0}'),
    ],
    "conditional-date-hit": [
        Step(True, FRESH + " | Date: {-10}"),
        Step(False, asks="If-Modified-Since: {-10}", status=304),
        Step(False, asks="If-Modified-Since: {-11}"),
    ],
    "if-match-is-the-origins": [
        Step(True, TAGGED),
        Step(True, "412", asks='If-Match: "b"', status=412),
        Step(False),
    ],
    "head-from-get": [Step(True, FRESH), Step(False, method="HEAD", has="Content-Length: 9")],
    "head-updates": [
        Step(True, TAGGED),
        Step(
            True, '200 | Cache-Control: max-age=60 | ETag: "b" | Content-Length: 9', method="HEAD", after=61
        ),
        Step(True, TAGGED),
    ],
    # --- Vary (§4.1)
    "vary": [
        Step(True, FRESH + " | Vary: Foo", asks="Foo: 1"),
        Step(False, asks="Foo: 1"),
        Step(True, FRESH + " | Vary: Foo", asks="Foo: 2"),
        Step(False, asks="Foo: 1"),
        Step(False, asks="Foo: 2"),
        Step(True, FRESH + " | Vary: Foo"),
        Step(False),
        Step(False, asks="Foo: 1"),
    ],
    "vary-two-lines": [
        Step(True, FRESH + " | Vary: Foo | Vary: Bar", asks="Foo: 1 | Bar: 1"),
        Step(False, asks="Bar: 1 | Foo: 1"),
        Step(True, FRESH + " | Vary: Foo | Vary: Bar", asks="Foo: 1 | Bar: 2"),
    ],
    "vary-star": twice(FRESH + " | Vary: *", stored=False),
    "vary-foo-star": twice(FRESH + " | Vary: Foo, *", stored=False, asks="Foo: 1"),
    "vary-combined": [
        Step(True, FRESH + " | Vary: Foo", asks="Foo: 1 | Foo: 2"),
        Step(False, asks="Foo: 1,2"),
        Step(False, asks="Foo: 1 ,  2"),
    ],
    "vary-language": [
        Step(True, FRESH + " | Vary: Accept-Language", asks="Accept-Language: en, de"),
        Step(False, asks="Accept-Language: de,EN"),
        Step(True, FRESH + " | Vary: Accept-Language", asks="Accept-Language: fr"),
    ],
    # --- invalidation (§4.4)
    **{
        f"invalidate-{method}": [Step(True, FRESH), Step(True, "200", method=method), Step(True, FRESH)]
        for method in ("POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "UNHEARD-OF")
    },
    "invalidate-not-on-error": [Step(True, FRESH), Step(True, "500", method="POST", status=500), Step(False)],
    "invalidate-location": [
        Step(True, FRESH, path="/x"),
        Step(True, "201 | Location: {path}/x", method="POST"),
        Step(True, FRESH, path="/x"),
    ],
    "invalidate-content-location": [
        Step(True, FRESH, path="/x"),
        Step(True, "200 | Content-Location: {path}/x", method="POST"),
        Step(True, FRESH, path="/x"),
    ],
    "invalidate-not-elsewhere": [
        Step(True, FRESH, path="/x"),
        Step(True, "201 | Location: http://b.example{path}/x", method="POST"),
        Step(False, path="/x"),
    ],
    # --- POST (RFC 9110 §9.3.3)
    "post-elsewhere": [
        Step(True, FRESH + " | Content-Location: /elsewhere", method="POST"),
        Step(True, FRESH),
    ],
    # --- targeted control (RFC 9213)
    "cdn-max-age": twice(
        "200 | CDN-Cache-Control: max-age=60 | Cache-Control: no-store",
        stored=True,
        has="CDN-Cache-Control: max-age=60 | Cache-Control: no-store",
    ),
    "cdn-no-store": twice("200 | CDN-Cache-Control: no-store | Cache-Control: max-age=60", stored=False),
    "cdn-invalid": twice("200 | CDN-Cache-Control: max-age=60& | Cache-Control: no-store", stored=False),
    "cdn-capitals": twice("200 | CDN-Cache-Control: MaX-aGe=0 | Cache-Control: max-age=60", stored=True),
    "cdn-expires": twice("200 | CDN-Cache-Control: max-age=60 | Expires: {-10}", stored=True),
    "cdn-no-cache": [
        Step(True, '200 | CDN-Cache-Control: no-cache | Cache-Control: max-age=60 | ETag: "a"'),
        Step(True, '304 | ETag: "a"', status=200, sent='If-None-Match: "a"', same=True),
    ],
    # --- ranges (RFC 9110 §14)
    "ranges": [
        Step(True, TAGGED),
        Step(
            False, asks="Range: bytes=0-1", status=206, has="Content-Range: bytes 0-1/9 | Content-Length: 2"
        ),
        Step(False, asks="Range: bytes=-2", status=206, has="Content-Range: bytes 7-8/9"),
        Step(False, asks="Range: bytes=5-", status=206, has="Content-Range: bytes 5-8/9"),
        Step(False, asks="Range: bytes=9-", status=416, has="Content-Range: bytes */9"),
        Step(False, asks='Range: bytes=0-1 | If-Range: "a"', status=206),
        Step(False, asks='Range: bytes=0-1 | If-Range: "b"', status=200),
        Step(False, asks="Range: lines=0-1", status=200),
    ],
    # --- RFC 8246
    "conditional-forwarded": [
        Step(True, '304 | ETag: "a"', asks='If-None-Match: "a"', sent='If-None-Match: "a"', status=304),
        Step(True, "304", asks="If-Modified-Since: {-5}", sent="If-Modified-Since: {-5}", status=304),
        Step(True, TAGGED, asks='If-None-Match: "b"', sent='If-None-Match: "b"'),
        Step(False, same=True),
    ],
    "vary-304-variant": [
        Step(True, '200 | Cache-Control: max-age=60 | Vary: Foo | ETag: "a"', asks="Foo: 1"),
        Step(
            True,
            '304 | Vary: Foo | ETag: "a"',
            asks="Foo: 2",
            status=200,
            same=True,
            sent='If-None-Match: "a"',
        ),
    ],
    "post-content-location": [
        Step(True, FRESH + " | Content-Location: {path}", method="POST"),
        Step(False, same=True),
    ],
    "immutable": [
        Step(True, '200 | Cache-Control: max-age=60, immutable | ETag: "a"'),
        Step(False, asks="Cache-Control: max-age=0", after=1),
        Step(True, '304 | ETag: "a"', asks="Cache-Control: no-cache", status=200),
    ],
}


@dataclass
class Stage:
    """One origin and one proxy for all dialogues; each has a path of its own."""

    origin: Origin
    proxy: Proxy
    says: dict[str, str] = field(default_factory=dict)


def _lines(text: str, now: int, path: str) -> list[tuple[str, str]]:
    out = []
    for line in text.split(" | ") if text else []:
        line = line.replace("{path}", path)
        while "{" in line:
            start, end = line.index("{"), line.index("}")
            line = line[:start] + formatdate(now + int(line[start + 1 : end]), usegmt=True) + line[end + 1 :]
        name, _, value = line.partition(":")
        out.append((name, value.strip()))
    return out


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    made: Stage

    def rule(request: Request) -> Reply:
        status, _, fields = made.says[request.target].partition(" | ")
        body = b"body %04d" % (made.origin.count() % 10_000)
        bodiless = int(status) in (204, 304) or request.method == "HEAD"
        lines = _lines(fields, made.proxy.now(), "")
        return reply(int(status), lines, b"" if bodiless else body)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        made = Stage(origin, proxy)
        yield made


@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogue(stage: Stage, name: str) -> None:
    base = f"/{name}"
    start = stage.proxy.now()
    body: bytes | None = None
    for number, step in enumerate(DIALOGUES[name]):
        where = f"{name}, step {number}"
        target = base + step.path
        stage.proxy.advance(step.after)
        begun = start if "{0}" in step.has or "{-" in step.has or "{+" in step.has else stage.proxy.now()
        stage.says[target] = step.says.replace("{path}", base)
        before = stage.origin.count()
        answer = stage.proxy.ask(step.method, target, _lines(step.asks, start, base))
        assert (stage.origin.count() > before) is step.asked, f"{where}: {answer}"
        told = int(step.says.partition(" | ")[0]) if step.asked else None
        wanted = step.status or told
        assert wanted is None or answer.status == wanted, f"{where}: {answer}"
        for field_name, value in _lines(step.has, begun, base):
            assert value in answer.all(field_name.lower()), (
                f"{where}: {field_name}: {answer.all(field_name.lower())}"
            )
        for field_name in step.lacks.split():
            assert field_name not in answer, f"{where}: {field_name}"
        if step.asked:
            for field_name, value in _lines(step.sent, start, base):
                assert stage.origin.last[field_name.lower()] == value, f"{where}: {field_name}"
        if step.same is not None:
            assert (answer.body == body) is step.same, f"{where}: {answer.body!r} after {body!r}"
        if answer.status == 200 and step.method != "HEAD":
            body = answer.body
