"""Validators: those that clients send, and those that are sent to the origin (RFC 9111 §4.3, RFC 9110 §13)."""

from __future__ import annotations

from .dialogue import Step, Steps, general, hit, miss

FRESH = "200 | Cache-Control: max-age=60"
SHORT = "200 | Cache-Control: max-age=5"
TAGGED = FRESH + ' | ETag: "a"'
DATED = FRESH + " | Last-Modified: {-100}"

# Fields that a 304 changes, and those that describe the stored bytes and that it must not (§3.2).
UPDATED = {
    "Test-Field": ("1", "2"),
    "X-Test": ("1", "2"),
    "Content-Foo": ("1", "2"),
    "X-Content-Foo": ("1", "2"),
    "Content-Location": ("/1", "/2"),
    "Content-Type": ("a/b", "c/d"),
    "Content-MD5": ("eA==", "eQ=="),
    "Content-Security-Policy": ("default-src 'self'", "default-src 'none'"),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": ("1", "0"),
    "Public-Key-Pins": ("a", "b"),
    "Clear-Site-Data": ('"cookies"', '"cache"'),
    "Set-Cookie2": ("a=b", "a=c"),
    "Link": ("<a>", "<b>"),
    "Date": ("{-5}", "{+50}"),
    "Expires": ("{+5}", "{+70}"),
    "Content-Language": ("de", "fr"),
    "Content-Disposition": ("inline", "attachment"),
}
KEPT = {
    "Content-Encoding": ("x", "y"),
    "Content-Range": ("bytes 0-8/9", "bytes 0-1/9"),
}
DROPPED = ("Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "TE", "Upgrade")


def _renewed(name: str, one: str, two: str, kept: bool) -> Steps:
    stays = one if kept else two
    return [
        miss(f'{SHORT} | ETag: "a" | {name}: {one} | X-Kept: 1'),
        miss(
            f'304 | Cache-Control: max-age=60 | ETag: "a" | {name}: {two} | X-New: 1',
            after=9,
            status=200,
            same=True,
            has=f"{name}: {stays} | X-Kept: 1 | X-New: 1",
        ),
        hit(after=5, same=True, has=f"{name}: {stays} | X-Kept: 1 | X-New: 1"),
    ]


REQUIRED: dict[str, Steps] = {
    **{f"3.2-304-updates-{name}": _renewed(name, *values, kept=False) for name, values in UPDATED.items()},
    **{f"3.2-304-keeps-{name}": _renewed(name, *values, kept=True) for name, values in KEPT.items()},
    "3.2-304-keeps-Content-Length": [
        miss(f'{SHORT} | ETag: "a"', gives=b"123456789"),
        miss(
            '304 | Cache-Control: max-age=60 | ETag: "a" | Content-Length: 10',
            after=9,
            status=200,
            body=b"123456789",
            has="Content-Length: 9",
        ),
        hit(has="Content-Length: 9", same=True),
    ],
    **{
        f"3.2-304-drops-{name}": [
            miss(f'{SHORT} | ETag: "a"'),
            miss(
                f'304 | Cache-Control: max-age=60 | ETag: "a" | {name}: x-gone | X-Gone: 1'
                if name == "Connection"
                else f'304 | Cache-Control: max-age=60 | ETag: "a" | {name}: x',
                after=9,
                status=200,
                lacks=name.lower() if name != "Connection" else "x-gone",
            ),
            hit(lacks=name.lower() if name != "Connection" else "connection x-gone"),
        ]
        for name in DROPPED
    },
    "3.2-304-replaces-all-lines": [
        miss(SHORT + ' | ETag: "a" | X-A: 1 | X-A: 2'),
        miss('304 | Cache-Control: max-age=60 | ETag: "a" | X-A: 3 | X-A: 4', after=9, status=200),
        hit(has="X-A: 3 | X-A: 4"),
    ],
    "3.2-304-cache-control": [
        miss(SHORT + ' | ETag: "a"'),
        miss('304 | Cache-Control: max-age=50 | ETag: "a"', after=9, status=200),
        hit(after=49, has="Cache-Control: max-age=50"),
        miss('304 | Cache-Control: max-age=50 | ETag: "a"', after=2, status=200),
    ],
    "3.2-304-no-store": [
        miss(SHORT + ' | ETag: "a"'),
        miss('304 | Cache-Control: no-store | ETag: "a"', after=9, status=200, same=True),
        miss(FRESH),
    ],
    "4.3.4-304-of-another": [
        miss(SHORT + ' | ETag: "a"'),
        miss('200 | Cache-Control: max-age=50 | ETag: "b"', after=9, same=False),
        hit(has='ETag: "b"', same=True),
    ],
    "4.3.1-etag": [
        miss(SHORT + ' | ETag: "a"'),
        miss('304 | ETag: "a"', after=9, status=200, same=True, sent='If-None-Match: "a"'),
    ],
    "4.3.1-weak-etag": [
        miss(SHORT + ' | ETag: W/"a"'),
        miss('304 | ETag: W/"a"', after=9, status=200, same=True, sent='If-None-Match: W/"a"'),
    ],
    "4.3.1-last-modified": [
        miss(SHORT + " | Last-Modified: {-100}"),
        miss("304", after=9, status=200, same=True, sent="If-Modified-Since: {-100}", unsent="if-none-match"),
    ],
    "4.3.1-no-validator": [miss(SHORT), miss(after=9, unsent="if-none-match if-modified-since")],
    "4.3.1-not-the-clients": [
        miss(SHORT + ' | ETag: "a"'),
        miss(
            '304 | ETag: "a" | Cache-Control: max-age=60',
            'If-None-Match: "b"',
            after=9,
            status=200,
            same=True,
        ),
        hit(same=True),
    ],
    "4.3.1-the-clients-too": [
        miss(SHORT + ' | ETag: "a"'),
        miss('304 | ETag: "a" | Cache-Control: max-age=60', 'If-None-Match: "a"', after=9, status=304),
    ],
    "4.3.3-full-response": [
        miss(SHORT + ' | ETag: "a"'),
        miss(TAGGED, after=9, same=False),
        hit(same=True, after=50),
    ],
    "4.3.2-unmatched": [miss(TAGGED), hit('If-None-Match: "b"', status=200, same=True)],
    "4.3.2-precedence": [
        miss(TAGGED + " | Last-Modified: {-100}"),
        hit('If-None-Match: "b" | If-Modified-Since: {0}', status=200),
    ],
    "4.3.2-since-earlier": [miss(DATED), hit("If-Modified-Since: {-101}", status=200)],
    "4.3.2-since-bad": [miss(DATED), hit("If-Modified-Since: nonsense", status=200)],
    "4.3.2-status": [
        miss("404 | Cache-Control: max-age=60 | ETag: a"),
        general("If-None-Match: a", status=404),
    ],
    "9110-13.1.1-if-match": [
        miss(TAGGED),
        miss("412", 'If-Match: "b"', status=412, sent='If-Match: "b"'),
        hit(),
    ],
    "9110-13.1.4-if-unmodified-since": [
        miss(DATED),
        miss("412", "If-Unmodified-Since: {-200}", status=412),
        hit(),
    ],
    "4.3.2-forward-etag": [
        miss('304 | ETag: "a"', 'If-None-Match: "a"', status=304, sent='If-None-Match: "a"')
    ],
    "4.3.2-forward-unquoted": [
        miss("304 | ETag: a", "If-None-Match: a", status=304, sent="If-None-Match: a")
    ],
    "4.3.2-forward-since": [
        miss("304", "If-Modified-Since: {-5}", status=304, sent="If-Modified-Since: {-5}")
    ],
    "4.3.2-forwarded-and-stored": [
        miss(TAGGED, 'If-None-Match: "b"', sent='If-None-Match: "b"', status=200),
        hit(same=True),
    ],
    "4.3.2-a-304-of-the-clients-is-not-stored": [
        miss('304 | ETag: "a" | Cache-Control: max-age=60', 'If-None-Match: "a"', status=304),
        miss(FRESH),
    ],
    "4.3.5-head-other-etag": [
        miss(TAGGED),
        miss('200 | Cache-Control: max-age=60 | ETag: "b" | Content-Length: 9', method="HEAD", after=61),
        Step(True, TAGGED),
    ],
}

# How an If-None-Match matches a stored entity-tag (RFC 9110 §8.8.3.2): what is stored, what is asked, 304 or not
MATCHES = {
    "same": ('"a"', '"a"', True),
    "weak-of-strong": ('"a"', 'W/"a"', True),
    "strong-of-weak": ('W/"a"', '"a"', True),
    "weak-of-weak": ('W/"a"', 'W/"a"', True),
    "first": ('"a"', '"a", "b"', True),
    "second": ('"a"', '"b", "a"', True),
    "last": ('"a"', '"b", "c", W/"a"', True),
    "no-spaces": ('"a"', '"b","a"', True),
    "comma-inside": ('"a,b"', '"a,b"', True),
    "half-of-comma": ('"a,b"', '"a"', False),
    "star": ('"a"', "*", True),
    "obs-text": ('"\xe9"', '"\xe9"', True),
    "backslash": ('"a\\b"', '"a\\b"', True),
    "backslash-is-no-escape": ('"ab"', '"a\\b"', False),
    "lower-case-w": ('W/"a"', 'w/"a"', False),
    "no-slash": ('W/"a"', 'W"a"', False),
    "other-case": ('"a"', '"A"', False),
    "empty": ('""', '""', True),
    "both-unquoted": ("a", "a", True),
}

OPTIMAL: dict[str, Steps] = {
    **{
        f"9110-13.1.2-{name}": [
            miss(f"{FRESH} | ETag: {tag}"),
            hit(f"If-None-Match: {asked}", status=304 if held else 200),
        ]
        for name, (tag, asked, held) in MATCHES.items()
    },
    "4.3.2-etag": [
        miss(TAGGED + " | Content-Type: a/b | Vary: Foo | Expires: {+99} | Content-Location: /x"),
        hit(
            'If-None-Match: "a"',
            status=304,
            has='ETag: "a" | Vary: Foo | Expires: {+99} | Content-Location: /x | Cache-Control: max-age=60 | Date: {0}',
            lacks="content-type content-length",
        ),
    ],
    "4.3.2-precedence-of-a-match": [
        miss(TAGGED + " | Last-Modified: {-100}"),
        hit('If-None-Match: "a" | If-Modified-Since: {-9999}', status=304),
    ],
    "4.3.2-since-same": [miss(DATED), hit("If-Modified-Since: {-100}", status=304)],
    "4.3.2-since-later": [miss(DATED), hit("If-Modified-Since: {-50}", status=304)],
    "4.3.2-since-rfc850": [
        miss(FRESH + " | Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT"),
        hit("If-Modified-Since: Thursday, 01-Jan-15 00:00:00 GMT", status=304),
    ],
    "4.3.2-since-asctime": [
        miss(FRESH + " | Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT"),
        hit("If-Modified-Since: Thu Jan  1 00:00:00 2015", status=304),
    ],
    "4.3.2-since-the-date": [
        miss(FRESH + " | Date: {-10}"),
        hit("If-Modified-Since: {-10}", status=304),
        hit("If-Modified-Since: {-11}", status=200),
    ],
    "4.3.2-head": [miss(TAGGED), hit('If-None-Match: "a"', method="HEAD", status=304)],
    "4.3.2-several-lines": [miss(TAGGED), general('If-None-Match: "b" | If-None-Match: "a"', status=304)],
    "4.3.2-after-validation": [
        miss(SHORT + ' | ETag: "a"'),
        miss('304 | ETag: "a" | Cache-Control: max-age=60', after=9, status=200),
        hit('If-None-Match: "a"', status=304),
    ],
    "4.3.4-304-without-validators": [
        miss(SHORT + ' | ETag: "a"'),
        miss("304 | Cache-Control: max-age=60", after=9, status=200, same=True),
        hit(same=True),
    ],
    "4.3.4-304-adds-last-modified": [
        miss(SHORT + ' | ETag: "a"'),
        miss('304 | Cache-Control: max-age=60 | ETag: "a" | Last-Modified: {-50}', after=9, status=200),
        hit(has="Last-Modified: {-50}"),
    ],
    "4.3.5-head-updates": [
        miss(TAGGED + " | X-A: 1"),
        miss(
            '200 | Cache-Control: max-age=60 | ETag: "a" | X-A: 2 | Content-Length: 9',
            method="HEAD",
            after=61,
        ),
        hit(has="X-A: 2 | Age: 0", same=True),
    ],
    "4.3.5-head-updates-by-date": [
        miss(DATED + " | X-A: 1"),
        miss(DATED + " | X-A: 2", method="HEAD", after=61),
        hit(has="X-A: 2", same=True),
    ],
    "4.3.5-head-without-validators": [
        miss(FRESH + " | X-A: 1"),
        miss(FRESH + " | X-A: 2 | Content-Length: 9", method="HEAD", after=61),
        hit(has="X-A: 2", same=True),
    ],
    "4.3.5-head-other-length": [
        miss(FRESH + " | X-A: 1"),
        miss(FRESH + " | X-A: 2 | Content-Length: 10", method="HEAD", after=61),
        miss(FRESH),
    ],
}
