"""When a stored response answers and when the origin is asked (RFC 9111 §4, §5.2; RFC 5861, RFC 8246)."""

from __future__ import annotations

from .dialogue import Step, Steps, general, hit, miss

FRESH = "200 | Cache-Control: max-age=60"
TAGGED = FRESH + ' | ETag: "a"'
SHORT = "200 | Cache-Control: max-age=5"


def down(**more: object) -> Step:
    return Step(True, gone=True, **{"after": 9, **more})  # type: ignore[arg-type]


def error(answer: int, **more: object) -> Step:
    return Step(True, str(answer), **{"after": 9, **more})  # type: ignore[arg-type]


FORBIDDING = ("must-revalidate", "proxy-revalidate", "no-cache")

REQUIRED: dict[str, Steps] = {
    # §5.2.2.4
    "5.2.2.4-no-cache": [
        miss('200 | Cache-Control: no-cache, max-age=60 | ETag: "a"'),
        miss('304 | ETag: "a"', sent='If-None-Match: "a"', status=200, same=True),
    ],
    "5.2.2.4-no-cache-case": [
        miss('200 | Cache-Control: No-CaChE, max-age=60 | ETag: "a"'),
        miss('304 | ETag: "a"', sent='If-None-Match: "a"', status=200, same=True),
    ],
    "5.2.2.4-no-cache-without-validator": [miss("200 | Cache-Control: no-cache, max-age=60"), miss()],
    "5.2.2.4-no-cache-expires": [miss("200 | Cache-Control: no-cache | Expires: {+60} | ETag: x"), miss()],
    "5.2.2.4-no-cache-s-maxage": [miss("200 | Cache-Control: no-cache, s-maxage=60"), miss()],
    # stale use that is forbidden (§4.2.4)
    **{
        f"4.2.4-{name}-disconnected": [
            miss(f"200 | Cache-Control: max-age=5, {name}"),
            down(),
            miss(FRESH, same=False),
        ]
        for name in FORBIDDING
    },
    **{
        f"4.2.4-{name}-{status}": [
            miss(f'200 | Cache-Control: max-age=5, {name} | ETag: "a"'),
            error(status, status=status, same=False),
        ]
        for name in (*FORBIDDING, "s-maxage=5")
        for status in (500, 502, 503, 504)
    },
    "4.2.4-s-maxage-disconnected": [miss("200 | Cache-Control: s-maxage=5"), down(status=502)],
    "5.2.2.2-must-revalidate-disconnected": [
        miss("200 | Cache-Control: max-age=5, must-revalidate"),
        down(status=502),
    ],
    "5.2.2.2-must-revalidate-while": [
        miss("200 | Cache-Control: max-age=5, must-revalidate, stale-while-revalidate=60"),
        miss(after=9, same=False),
    ],
    "4.2.4-stale-404": [miss(SHORT), error(404, status=404)],
    "4.2.4-stale-403": [miss(SHORT), error(403, status=403)],
    "4.2.4-a-stale-error-is-no-better": [
        miss("503 | Cache-Control: max-age=5"),
        error(503, status=503, same=False),
    ],
    "4.2.4-a-stale-error-beside-another": [
        miss("500 | Cache-Control: max-age=5"),
        error(503, status=503, same=False),
    ],
    "5861-4-window-over": [
        miss("200 | Cache-Control: max-age=5, stale-if-error=5"),
        error(503, after=11, status=503),
    ],
    "5861-4-zero": [miss("200 | Cache-Control: max-age=5, stale-if-error=0"), error(503, status=503)],
    "5861-3-window-over": [
        miss("200 | Cache-Control: max-age=5, stale-while-revalidate=5"),
        miss(after=11, same=False),
    ],
    "5861-3-zero": [
        miss("200 | Cache-Control: max-age=5, stale-while-revalidate=0"),
        miss(after=9, same=False),
    ],
    # what clients ask (§5.2.1)
    "5.2.1.4-no-cache": [
        miss(TAGGED),
        miss('304 | ETag: "a"', "Cache-Control: no-cache", status=200, same=True, sent='If-None-Match: "a"'),
        hit(same=True),
    ],
    "5.2.1.4-no-cache-renewed": [miss(TAGGED), miss(FRESH, "Cache-Control: no-cache"), hit(same=True)],
    "5.2.1.4-no-cache-lm": [
        miss(FRESH + " | Last-Modified: {-9}"),
        miss("304", "Cache-Control: No-Cache", status=200, sent="If-Modified-Since: {-9}"),
    ],
    "5.2.1.4-no-cache-without-validator": [
        miss(FRESH),
        miss(FRESH, "Cache-Control: no-cache"),
        hit(same=True),
    ],
    "5.2.1.1-max-age-0": [miss(FRESH), miss(FRESH, "Cache-Control: max-age=0", same=False)],
    "5.2.1.1-max-age": [
        miss(FRESH),
        general("Cache-Control: max-age=20", after=10),
        miss(FRESH, "Cache-Control: max-age=20", after=15),
        hit(),
    ],
    "5.2.1.1-max-age-of-an-old-one": [
        miss("200 | Cache-Control: max-age=600 | Age: 100"),
        miss(FRESH, "Cache-Control: max-age=50"),
    ],
    "5.2.1.1-max-age-larger-than-stored": [miss(SHORT), miss(FRESH, "Cache-Control: max-age=600", after=9)],
    "5.2.1.3-min-fresh": [miss(FRESH), miss(FRESH, "Cache-Control: min-fresh=70")],
    "5.2.1.3-min-fresh-aged": [
        miss("200 | Cache-Control: max-age=600 | Age: 100"),
        miss(FRESH, "Cache-Control: min-fresh=550"),
    ],
    "5.2.1.5-no-store": [miss(FRESH, "Cache-Control: no-store"), miss(FRESH), hit(same=True)],
    "5.2.1.5-no-store-case": [miss(FRESH, "Cache-Control: NO-STORE"), miss(FRESH)],
    "5.2.1.7-only-if-cached": [Step(False, asks="Cache-Control: only-if-cached", status=504, lane="general")],
    "5.2.1.7-only-if-cached-stale": [
        miss(SHORT),
        Step(False, asks="Cache-Control: only-if-cached", status=504, after=9, lane="general"),
    ],
    "5.4-pragma": [miss(FRESH), miss(FRESH, "Pragma: no-cache")],
    # age of what was validated (§4.2.3, §4.3.4)
    "4.3.4-age-starts-again": [
        miss(TAGGED),
        miss('304 | ETag: "a" | Cache-Control: max-age=60', after=61, status=200, same=True),
        hit(after=10, has="Age: 10", same=True),
        hit(after=49),
        miss(after=2),
    ],
    "4.3.4-age-of-the-304": [
        miss(TAGGED),
        miss('304 | ETag: "a" | Age: 30', after=61, status=200),
        hit(after=29, has="Age: 59"),
        miss(after=2),
    ],
    # RFC 8246
    "8246-2-no-cache": [
        miss('200 | Cache-Control: max-age=60, immutable | ETag: "a"'),
        miss('304 | ETag: "a"', "Cache-Control: no-cache", status=200),
    ],
    "8246-2-stale": [
        miss('200 | Cache-Control: max-age=5, immutable | ETag: "a"'),
        miss('304 | ETag: "a"', after=9, status=200, sent='If-None-Match: "a"'),
    ],
}

REQUIRED |= {
    "5.2.1.7-only-if-cached-and-no-cache": [
        miss(FRESH),
        Step(False, asks="Cache-Control: only-if-cached, no-cache", status=504, lane="general"),
    ],
    "5.2.1.7-only-if-cached-no-cache-response": [
        miss("200 | Cache-Control: no-cache | ETag: x"),
        Step(False, asks="Cache-Control: only-if-cached", status=504, lane="general"),
    ],
    "5.2.1.1-max-age-quoted": [miss(FRESH), miss(FRESH, 'Cache-Control: max-age="0"')],
    "5.2.1-several-lines": [miss(FRESH), miss(FRESH, "Cache-Control: foo | Cache-Control: no-cache")],
    "5.2.1.4-no-cache-new-full-response": [
        miss(TAGGED),
        miss(FRESH + ' | ETag: "b"', "Cache-Control: no-cache", same=False),
        hit(has='ETag: "b"', same=True),
    ],
    "5861-4-after-an-error-the-stale-one-is-not-renewed": [
        miss("200 | Cache-Control: max-age=5"),
        error(503, status=200, same=True, has="Age: 9"),
        error(503, status=200, same=True, has="Age: 18"),
        miss(FRESH, same=False),
    ],
    "4.3.3-error-that-may-be-stored": [
        miss("200 | Cache-Control: max-age=5, must-revalidate"),
        miss("503 | Cache-Control: max-age=60", after=9, status=503),
        hit(status=503),
    ],
    "4-head-of-a-stale-one": [
        miss('200 | Cache-Control: max-age=5 | ETag: "a"'),
        miss('200 | Cache-Control: max-age=5 | ETag: "a" | Content-Length: 9', method="HEAD", after=9),
    ],
    "10008-2.7-content": [
        miss(FRESH, "Content-Type: a/b", method="QUERY", content=b"q"),
        general("Content-Type: a/b", method="QUERY", content=b"q", same=True),
        miss(FRESH, "Content-Type: a/b", method="QUERY", content=b"r"),
        miss(FRESH, "Content-Type: a/c", method="QUERY", content=b"q"),
        miss(FRESH),
    ],
    "10008-2-query-invalidates-nothing": [miss(FRESH), miss(FRESH, method="QUERY", content=b"q"), hit()],
    "10008-2.7-query-invalidated": [
        miss(FRESH, method="QUERY", content=b"q"),
        miss("204", method="POST"),
        miss(FRESH, method="QUERY", content=b"q"),
    ],
}

OPTIMAL: dict[str, Steps] = {
    "4.2.4-disconnected": [miss(SHORT), down(status=200, same=True)],
    **{
        f"4.2.4-stale-on-{status}": [miss(SHORT), error(status, status=200, same=True)]
        for status in (500, 502, 503, 504)
    },
    "4.2.4-stale-age": [miss(SHORT), error(503, status=200, has="Age: 9")],
    "5861-4-disconnected": [
        miss("200 | Cache-Control: max-age=5, stale-if-error=60"),
        down(status=200, same=True),
    ],
    "5861-4-503": [
        miss("200 | Cache-Control: max-age=5, stale-if-error=60"),
        error(503, status=200, same=True),
    ],
    "5861-4-s-maxage": [
        miss("200 | Cache-Control: s-maxage=5, stale-if-error=60"),
        error(503, status=200, same=True),
    ],
    "5861-3-while": [
        miss("200 | Cache-Control: max-age=5, stale-while-revalidate=60"),
        Step(None, FRESH, after=9, status=200, same=True, has="Age: 9"),
    ],
    "5.2.1.7-only-if-cached-hit": [miss(FRESH), general("Cache-Control: only-if-cached", same=True)],
    "5.2.1.1-max-age-fresh-enough": [miss(FRESH), general("Cache-Control: max-age=600", same=True)],
    "5.2.1.3-min-fresh-enough": [miss(FRESH), general("Cache-Control: min-fresh=10", same=True)],
    "5.2.1-unknown": [miss(FRESH), general("Cache-Control: foo", same=True)],
    "5.2.1-max-stale-fresh": [miss(FRESH), general("Cache-Control: max-stale=60", same=True)],
    "5.2.1-no-transform": [miss(FRESH), general("Cache-Control: no-transform", same=True)],
    "5.4-pragma-unknown": [miss(FRESH), general("Pragma: foo", same=True)],
    "5.4-pragma-beside-control": [
        miss(FRESH),
        general("Pragma: no-cache | Cache-Control: max-age=60", same=True),
    ],
    "5.2.1.5-no-store-of-a-hit": [miss(FRESH), general("Cache-Control: no-store", same=True)],
    "8246-2-reload": [
        miss('200 | Cache-Control: max-age=60, immutable | ETag: "a"'),
        general("Cache-Control: max-age=0", after=1, same=True),
    ],
    "5.2.2.2-must-revalidate-fresh": [
        miss("200 | Cache-Control: max-age=60, must-revalidate"),
        hit(after=59, same=True),
    ],
    "5.2.2.8-proxy-revalidate-fresh": [
        miss("200 | Cache-Control: max-age=60, proxy-revalidate"),
        hit(same=True),
    ],
}

# With `request_directives: all`: what clients may loosen (§5.2.1.2, RFC 5861 §4).
LOOSENED: dict[str, Steps] = {
    "5.2.1.2-max-stale": [
        miss(SHORT),
        general("Cache-Control: max-stale=60", after=9, same=True, has="Age: 9"),
    ],
    "5.2.1.2-max-stale-any": [miss(SHORT), general("Cache-Control: max-stale", after=999, same=True)],
    "5.2.1.2-max-stale-too-long": [miss(SHORT), miss(FRESH, "Cache-Control: max-stale=3", after=9)],
    "5.2.1.2-max-stale-bad": [miss(SHORT), miss(FRESH, "Cache-Control: max-stale=x", after=9)],
    "5.2.1.2-max-stale-aged": [
        miss(FRESH + " | Age: 50"),
        general("Cache-Control: max-stale=60", after=20, same=True, has="Age: 70"),
    ],
    **{
        f"5.2.1.2-max-stale-{name}": [
            miss(f"200 | Cache-Control: max-age=5, {name}"),
            miss(FRESH, "Cache-Control: max-stale=60", after=9, same=False),
        ]
        for name in ("must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=5")
    },
    "5861-4-asked": [
        miss("200 | Cache-Control: max-age=5, stale-if-error=0"),
        miss("503", "Cache-Control: stale-if-error=60", after=9, status=200, same=True),
    ],
    "5.2.1.7-only-if-cached-and-max-stale": [
        miss(SHORT),
        general("Cache-Control: only-if-cached, max-stale=60", after=9, same=True),
    ],
}

# With `heuristic_errors: true`: every status that RFC 9110 §15.1 lets a cache guess for.
GUESSED: dict[str, Steps] = {
    f"4.2.2-{status}-guessed": [
        miss(f"{status} | Last-Modified: {{-100000}}"),
        Step(False, status=status, same=True),
    ]
    for status in (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)
}
