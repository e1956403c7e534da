"""Ranges and partial responses (RFC 9111 §3.3, §3.4; RFC 9110 §13.1.5, §14)."""

from __future__ import annotations

from .dialogue import Steps, general, hit, miss

FRESH = "200 | Cache-Control: max-age=60"
TAGGED = FRESH + ' | ETag: "a"'
WHOLE = b"0123456789"
PART = "206 | Cache-Control: max-age=60 | Content-Range: bytes "


def _of_whole(asks: str, status: int, body: bytes, **more: object) -> Steps:
    return [miss(TAGGED, gives=WHOLE), hit(asks, status=status, body=body, **more)]


REQUIRED: dict[str, Steps] = {
    "9110-14.2-other-unit": _of_whole("Range: lines=0-1", 200, WHOLE),
    "9110-14.2-malformed": _of_whole("Range: bytes=x", 200, WHOLE),
    "9110-14.2-backwards": _of_whole("Range: bytes=5-2", 200, WHOLE),
    "9110-13.1.5-other-tag": _of_whole('Range: bytes=0-1 | If-Range: "b"', 200, WHOLE),
    "9110-13.1.5-weak-tag": [
        miss(FRESH + ' | ETag: W/"a"', gives=WHOLE),
        general('Range: bytes=0-1 | If-Range: W/"a"', status=200, body=WHOLE),
    ],
    "9110-13.1.5-other-date": [
        miss(FRESH + " | Last-Modified: {-100}", gives=WHOLE),
        general("Range: bytes=0-1 | If-Range: {-101}", status=200, body=WHOLE),
    ],
    "9110-14.2-head": [miss(TAGGED, gives=WHOLE), hit("Range: bytes=0-1", method="HEAD", status=200)],
    "3.3-a-part-is-no-whole": [
        miss(PART + '0-4/10 | ETag: "a"', "Range: bytes=0-4", gives=b"01234"),
        miss(TAGGED, gives=WHOLE, body=WHOLE, status=200),
    ],
    "3.3-a-part-without-validator-is-no-whole": [
        miss(PART + "0-4/10", "Range: bytes=0-4", gives=b"01234"),
        miss(FRESH, gives=WHOLE, body=WHOLE, status=200, unsent="range if-range"),
    ],
    "3.3-beyond-the-part": [
        miss(PART + "0-4/10", "Range: bytes=0-4", gives=b"01234"),
        miss(PART + "6-8/10", "Range: bytes=6-8", gives=b"678", body=b"678", sent="Range: bytes=6-8"),
    ],
    "3.4-without-validator-never-together": [
        miss(PART + "0-4/10", "Range: bytes=0-4", gives=b"01234"),
        miss(PART + "5-9/10", "Range: bytes=5-9", gives=b"VWXYZ"),
        miss(PART + "3-6/10", "Range: bytes=3-6", gives=b"TUVW", body=b"TUVW"),
    ],
    "3.4-other-tag": [
        miss(PART + '0-4/10 | ETag: "a"', "Range: bytes=0-4", gives=b"01234"),
        miss(PART + '5-9/10 | ETag: "b"', "Range: bytes=5-9", gives=b"VWXYZ"),
        miss(FRESH + ' | ETag: "b"', gives=b"QRSTUVWXYZ", body=b"QRSTUVWXYZ", status=200),
    ],
    "3.3-stale-part": [
        miss(
            '206 | Cache-Control: max-age=5 | Content-Range: bytes 0-4/10 | ETag: "a"',
            "Range: bytes=0-4",
            gives=b"01234",
        ),
        miss(PART + '0-4/10 | ETag: "b"', "Range: bytes=0-4", after=9, gives=b"VWXYZ", body=b"VWXYZ"),
    ],
    "3.3-stale-part-without-validator": [
        miss(
            "206 | Cache-Control: max-age=5 | Content-Range: bytes 0-4/10", "Range: bytes=0-4", gives=b"01234"
        ),
        miss(PART + "0-4/10", "Range: bytes=0-4", after=9, gives=b"VWXYZ", body=b"VWXYZ", status=206),
    ],
    "3.3-part-no-store": [
        miss(
            "206 | Cache-Control: no-store | Content-Range: bytes 0-4/10", "Range: bytes=0-4", gives=b"01234"
        ),
        miss(PART + "0-4/10", "Range: bytes=0-4", gives=b"01234"),
    ],
    "3.3-unasked-part": [
        miss(PART + "0-4/10", gives=b"01234", status=206),
        miss(FRESH, gives=WHOLE, body=WHOLE, status=200),
    ],
    "14-passed-on": [
        miss(
            PART + "0-1/10", "Range: bytes=0-1", sent="Range: bytes=0-1", gives=b"01", status=206, body=b"01"
        ),
    ],
    "14-if-range-passed-on": [
        miss(
            PART + '0-1/10 | ETag: "a"',
            'Range: bytes=0-1 | If-Range: "a"',
            sent='Range: bytes=0-1 | If-Range: "a"',
            gives=b"01",
            status=206,
        ),
    ],
    "14-416-passed-on": [
        miss("416 | Content-Range: bytes */10", "Range: bytes=50-", status=416),
        miss(FRESH),
    ],
    "15.5.17-416-is-not-stored": [
        miss("416 | Cache-Control: max-age=60 | Content-Range: bytes */10", "Range: bytes=50-", status=416),
        miss(FRESH),
    ],
}

REQUIRED |= {
    "14-stale-whole-changed": [
        miss('200 | Cache-Control: max-age=5 | ETag: "a"', gives=WHOLE),
        miss(
            '200 | Cache-Control: max-age=60 | ETag: "b"',
            "Range: bytes=0-1",
            after=9,
            gives=b"ABCDEFGHIJ",
            sent='If-None-Match: "a"',
            unsent="range",
            status=(200, 206),  # a body of unknown length is not cut while it arrives
        ),
        hit(status=200, body=b"ABCDEFGHIJ"),
    ],
    "14-stale-whole-error": [
        miss('200 | Cache-Control: max-age=5, must-revalidate | ETag: "a"', gives=WHOLE),
        miss("503", "Range: bytes=0-1", after=9, status=503),
    ],
    "13.1.5-stale-whole-changed": [
        miss('200 | Cache-Control: max-age=5 | ETag: "a"', gives=WHOLE),
        miss(
            '200 | Cache-Control: max-age=60 | ETag: "b"',
            'Range: bytes=0-1 | If-Range: "a"',
            after=9,
            gives=b"ABCDEFGHIJ",
            status=200,
            body=b"ABCDEFGHIJ",
        ),
    ],
    "14.2-empty-body": [
        miss(TAGGED, gives=b""),
        general("Range: bytes=0-", status=416, has="Content-Range: bytes */0"),
    ],
    "14.2-no-content": [
        miss("204 | Cache-Control: max-age=60"),
        general("Range: bytes=0-1", status=204, lacks="content-range content-length"),
    ],
    "14.2-of-an-error": [
        miss("404 | Cache-Control: max-age=60", gives=WHOLE),
        general("Range: bytes=0-1", status=404, body=WHOLE, lacks="content-range"),
    ],
    "4.4-parts-invalidated": [
        miss(PART + '0-4/10 | ETag: "a"', "Range: bytes=0-4", gives=b"01234"),
        miss("204", method="PUT"),
        miss(PART + '0-4/10 | ETag: "a"', "Range: bytes=0-4", gives=b"VWXYZ", body=b"VWXYZ"),
    ],
    "4.1-parts-of-variants": [
        miss(PART + '0-4/10 | ETag: "a" | Vary: Foo', "Foo: 1 | Range: bytes=0-4", gives=b"01234"),
        miss(
            PART + '0-4/10 | ETag: "b" | Vary: Foo',
            "Foo: 2 | Range: bytes=0-4",
            gives=b"VWXYZ",
            body=b"VWXYZ",
        ),
        general("Foo: 1 | Range: bytes=0-4", status=206, body=b"01234"),
        general("Foo: 2 | Range: bytes=1-2", status=206, body=b"WX"),
    ],
    "5.2.1.5-part-no-store": [
        miss(PART + '0-4/10 | ETag: "a"', "Range: bytes=0-4 | Cache-Control: no-store", gives=b"01234"),
        miss(PART + '0-4/10 | ETag: "a"', "Range: bytes=0-4", gives=b"01234"),
    ],
    "3.5-part-authorization": [
        miss(PART + '0-4/10 | ETag: "a"', "Range: bytes=0-4 | Authorization: x", gives=b"01234"),
        miss(PART + '0-4/10 | ETag: "a"', "Range: bytes=0-4", gives=b"01234"),
    ],
}

OPTIMAL: dict[str, Steps] = {
    "14-stale-whole-renewed": [
        miss('200 | Cache-Control: max-age=5 | ETag: "a"', gives=WHOLE),
        miss(
            '304 | Cache-Control: max-age=60 | ETag: "a"',
            "Range: bytes=0-1",
            after=9,
            sent='If-None-Match: "a"',
            unsent="range",
            status=206,
            body=b"01",
        ),
        hit("Range: bytes=2-3", status=206, body=b"23"),
    ],
    "14-stale-whole-on-error": [
        miss('200 | Cache-Control: max-age=5 | ETag: "a"', gives=WHOLE),
        miss("503", "Range: bytes=0-1", after=9, status=206, body=b"01"),
    ],
    "13.1.5-stale-whole-renewed": [
        miss('200 | Cache-Control: max-age=5 | ETag: "a"', gives=WHOLE),
        miss(
            '304 | Cache-Control: max-age=60 | ETag: "a"',
            'Range: bytes=0-1 | If-Range: "a"',
            after=9,
            status=206,
            body=b"01",
        ),
    ],
    "3.3-stale-part-renewed": [
        miss(
            '206 | Cache-Control: max-age=5 | Content-Range: bytes 0-4/10 | ETag: "a"',
            "Range: bytes=0-4",
            gives=b"01234",
        ),
        miss(
            '304 | Cache-Control: max-age=60 | ETag: "a"',
            "Range: bytes=1-2",
            after=9,
            sent='If-None-Match: "a" | Range: bytes=1-2',
            status=206,
            body=b"12",
        ),
        general("Range: bytes=0-4", status=206, body=b"01234"),
    ],
    "3.4-head-of-parts-renews": [
        miss(
            '206 | Cache-Control: max-age=60 | Content-Range: bytes 0-4/10 | ETag: "a"',
            "Range: bytes=0-4",
            gives=b"01234",
        ),
        miss('200 | Cache-Control: max-age=60 | ETag: "a" | Content-Length: 10', method="HEAD", after=50),
        general("Range: bytes=0-4", after=50, status=206, body=b"01234"),
    ],
    "14.1-several-joined": [
        miss(TAGGED, gives=b"x" * 1000),
        general("Range: bytes=0-4, 5-9", status=206, has="Content-Range: bytes 0-9/1000"),
    ],
    "14.1-too-many": [
        miss(TAGGED, gives=b"x" * 1000),
        general("Range: bytes=" + ",".join(f"{n}-{n}" for n in range(0, 400, 4)), status=200),
    ],
    "14.1-single": _of_whole(
        "Range: bytes=2-4", 206, b"234", has="Content-Range: bytes 2-4/10 | Content-Length: 3"
    ),
    "14.1-open": _of_whole("Range: bytes=5-", 206, b"56789", has="Content-Range: bytes 5-9/10"),
    "14.1-suffix": _of_whole("Range: bytes=-3", 206, b"789", has="Content-Range: bytes 7-9/10"),
    "14.1-suffix-too-long": _of_whole("Range: bytes=-30", 206, WHOLE, has="Content-Range: bytes 0-9/10"),
    "14.1-too-long": _of_whole("Range: bytes=8-99", 206, b"89", has="Content-Range: bytes 8-9/10"),
    "14.1-unit-case": _of_whole("Range: BYTES=2-4", 206, b"234"),
    "14.1-fields": [
        miss(TAGGED + " | X-A: 1 | Content-Type: a/b | Content-Location: /x", gives=WHOLE),
        hit(
            "Range: bytes=0-0",
            status=206,
            has='X-A: 1 | Content-Type: a/b | Content-Location: /x | ETag: "a"',
        ),
    ],
    "14.1-unsatisfiable": [
        miss(TAGGED, gives=WHOLE),
        general("Range: bytes=10-", status=416, has="Content-Range: bytes */10", body=b""),
    ],
    "14.1-several": [miss(TAGGED, gives=b"x" * 1000), general("Range: bytes=0-1, 5-6", status=206)],
    "13.1.5-tag": _of_whole('Range: bytes=0-1 | If-Range: "a"', 206, b"01"),
    "13.1.5-date": [
        miss(FRESH + " | Last-Modified: {-100}", gives=WHOLE),
        general("Range: bytes=0-1 | If-Range: {-100}", status=206, body=b"01"),
    ],
    "14.1-without-validator": [miss(FRESH, gives=WHOLE), hit("Range: bytes=2-4", status=206, body=b"234")],
    "14.1-condition-first": _of_whole('Range: bytes=0-1 | If-None-Match: "a"', 304, b""),
    **{
        f"3.3-within-a-part-{name}{kind}": [
            miss(
                PART + f"2-7/10 | X-A: 1{tag}",
                "Range: bytes=2-7",
                gives=b"234567",
                status=206,
                body=b"234567",
            ),
            general(
                f"Range: bytes={asked}",
                status=206,
                body=body,
                has=f"Content-Range: bytes {span}/10 | X-A: 1 | Content-Length: {len(body)}",
            ),
        ]
        for kind, tag in {"": ' | ETag: "a"', "-without-validator": "", "-weak": ' | ETag: W/"a"'}.items()
        for name, asked, span, body in (
            ("same", "2-7", "2-7", b"234567"),
            ("inner", "3-5", "3-5", b"345"),
            ("end", "5-7", "5-7", b"567"),
        )
    },
    **{
        f"3.3-suffix-within-a-part{kind}": [
            miss(PART + f"5-9/10{tag}", "Range: bytes=-5", gives=b"56789", status=206, body=b"56789"),
            general("Range: bytes=-2", status=206, body=b"89"),
            general("Range: bytes=7-", status=206, body=b"789"),
            general("Range: bytes=6-7", status=206, body=b"67"),
        ]
        for kind, tag in {"": ' | ETag: "a"', "-without-validator": ""}.items()
    },
    **{
        f"3.3-everything-as-a-part{kind}": [
            miss(PART + f"0-9/10{tag}", "Range: bytes=0-", gives=WHOLE, status=206),
            hit("Range: bytes=3-", status=206, body=b"3456789"),
        ]
        for kind, tag in {"": ' | ETag: "a"', "-without-validator": ""}.items()
    },
    "3.3-lifetime-of-a-part": [
        miss(PART + "0-4/10", "Range: bytes=0-4", gives=b"01234"),
        general("Range: bytes=1-2", after=59, status=206, body=b"12", has="Age: 59"),
        miss(PART + "1-2/10", "Range: bytes=1-2", gives=b"BC", after=2, status=206, body=b"BC"),
    ],
    "3.4-together": [
        miss(PART + '0-4/10 | ETag: "a"', "Range: bytes=0-4", gives=b"01234"),
        miss(PART + '5-9/10 | ETag: "a"', "Range: bytes=5-9", gives=b"56789"),
        hit("Range: bytes=3-6", status=206, body=b"3456"),
    ],
    "3.4-whole-of-parts": [
        miss(PART + '0-4/10 | ETag: "a"', "Range: bytes=0-4", gives=b"01234"),
        miss(PART + '5-9/10 | ETag: "a"', "Range: bytes=5-9", gives=b"56789"),
        hit(status=200, body=WHOLE, has='ETag: "a"', lacks="content-range", lane="hit"),
    ],
    "3.4-completed": [
        miss(PART + '0-4/10 | ETag: "a"', "Range: bytes=0-4", gives=b"01234"),
        miss(
            PART + '5-9/10 | ETag: "a"',
            sent='If-Range: "a" | Range: bytes=5-9',
            gives=b"56789",
            status=200,
            body=WHOLE,
        ),
        hit(status=200, body=WHOLE),
    ],
}
