"""Targeted control: CDN-Cache-Control (RFC 9213)."""

from __future__ import annotations

from .dialogue import Steps, hit, miss, stored, unstored

# Values that count: what Cache-Control beside them says does not.
FRESH = {
    "plain": "max-age=60",
    "spaces": "  max-age=60  ",
    "unknown": "foo, max-age=60",
    "unknown-parameters": "foo;a=b, max-age=60",
    "unknown-inner-list": "foo=(a b), max-age=60",
    "unknown-string": 'foo="max-age=0", max-age=60',
    "parameters": "max-age=60;a=b;c",
    "last-of-two": "max-age=0, max-age=60",
    "zeros": "max-age=060",
    "largest": "max-age=2147483648",
    "larger": "max-age=99999999999",
    "s-maxage": "s-maxage=60, max-age=0",
    "two-lines": "foo | CDN-Cache-Control: max-age=60",
    "public": "public, max-age=60",
    "no-store-not": "no-store=?0, max-age=60",
}
STALE = {
    "zero": "max-age=0",
    "no-store": "no-store",
    "no-store-and-max-age": "max-age=60, no-store",
    "no-cache": "max-age=60, no-cache",
    "private": "max-age=60, private",
    "string": 'max-age="60"',
    "token": "max-age=x",
    "decimal": "max-age=60.5",
    "negative": "max-age=-60",
    "boolean": "max-age",
    "inner-list": "max-age=(60)",
    "unknown-only": "foo",
}
# No structured fields: as if they were not there.
INVALID = {
    "garbage": "max-age=60, &&&&&",
    "trailing-comma": "max-age=60,",
    "space-before-equals": "max-age =60",
    "space-after-equals": "max-age= 60",
    "capitals": "Max-Age=60",
    "empty": "",
    "semicolons": "public; max-age 60",
    "too-many-digits": "max-age=1234567890123456",
    "open-string": 'foo="a, max-age=60',
    "number-first": "60, max-age=60",
}

REQUIRED: dict[str, Steps] = {
    **{
        f"9213-2.1-{name}": unstored(
            f"200 | CDN-Cache-Control: {text} | Cache-Control: max-age=600 | Expires: {{+99}}"
        )
        for name, text in STALE.items()
    },
    **{
        f"9213-2.1-invalid-{name}": unstored(f"200 | CDN-Cache-Control: {text} | Cache-Control: no-store")
        for name, text in INVALID.items()
    },
    "9213-2.2-shorter": [
        miss("200 | CDN-Cache-Control: max-age=60 | Cache-Control: max-age=600"),
        hit(after=59),
        miss(after=2),
    ],
    "9213-2.2-age": unstored("200 | CDN-Cache-Control: max-age=60 | Age: 61"),
    "9213-2.2-zero-expires": unstored("200 | CDN-Cache-Control: max-age=0 | Expires: {+60}"),
    "9213-2.2-no-cache": [
        miss('200 | CDN-Cache-Control: no-cache | Cache-Control: max-age=60 | ETag: "a"'),
        miss('304 | ETag: "a"', status=200, sent='If-None-Match: "a"', same=True),
    ],
    "9213-2.2-must-revalidate": [
        miss("200 | CDN-Cache-Control: max-age=5, must-revalidate | Cache-Control: max-age=5"),
        miss("503", after=9, status=503),
    ],
    "9213-2-passed-on": [
        miss(
            "200 | CDN-Cache-Control: max-age=60 | Cache-Control: max-age=5",
            has="CDN-Cache-Control: max-age=60 | Cache-Control: max-age=5",
        ),
        hit(after=9, has="CDN-Cache-Control: max-age=60 | Cache-Control: max-age=5"),
    ],
}

OPTIMAL: dict[str, Steps] = {
    **{
        f"9213-2.1-{name}": stored(f"200 | CDN-Cache-Control: {text} | Cache-Control: no-store | Expires: 0")
        for name, text in FRESH.items()
    },
    **{
        f"9213-2.1-invalid-{name}-fresh": stored(
            f"200 | CDN-Cache-Control: {text} | Cache-Control: max-age=60"
        )
        for name, text in INVALID.items()
    },
    "9213-2.2-longer": [
        miss("200 | CDN-Cache-Control: max-age=60 | Cache-Control: max-age=5"),
        hit(after=59, same=True),
    ],
    "9213-2.2-private-elsewhere": stored("200 | CDN-Cache-Control: max-age=60 | Cache-Control: private"),
    "9213-2.2-updated-by-304": [
        miss('200 | CDN-Cache-Control: max-age=5 | ETag: "a"'),
        miss('304 | CDN-Cache-Control: max-age=60 | ETag: "a"', after=9, status=200),
        hit(after=59, same=True),
    ],
}
