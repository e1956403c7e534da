"""Selecting among variants (RFC 9111 §4.1)."""

from __future__ import annotations

from .dialogue import Steps, hit, miss, unstored

FRESH = "200 | Cache-Control: max-age=60"
FOO = FRESH + " | Vary: Foo"

SAME = {
    # field, one request's value, another's that means the same
    "spaces": ("Foo", "1,2", "1 ,\t2"),
    "lang-order": ("Accept-Language", "en, de", "de, en"),
    "lang-case": ("Accept-Language", "en, de", "eN, De"),
    "lang-space": ("Accept-Language", "en, de", "en,de"),
    "lang-quality": ("Accept-Language", "en;q=0.5, de", "de, en; q=0.50"),
    "lang-quality-1": ("Accept-Language", "en;q=1.0", "en"),
    "encoding-order": ("Accept-Encoding", "gzip, br", "br, gzip"),
    "encoding-case": ("Accept-Encoding", "GZIP", "gzip"),
    "encoding-alias": ("Accept-Encoding", "x-gzip", "gzip"),
    "accept-order": ("Accept", "text/html, a/b;q=0.5", "a/b;q=0.5, text/html"),
    "accept-case": ("Accept", "Text/HTML", "text/html"),
    "empty-members": ("Foo", "1,,2", "1,2"),
}
OTHER = {
    "value": ("Foo", "1", "2"),
    "case": ("Foo", "a", "A"),
    "order": ("Foo", "1, 2", "2, 1"),
    "lang": ("Accept-Language", "en", "de"),
    "lang-quality": ("Accept-Language", "en, de;q=0.5", "de, en;q=0.5"),
    "lang-subtag": ("Accept-Language", "en", "en-GB"),
    "user-agent-space": ("User-Agent", "a, b", "a,b"),
    "cookie": ("Cookie", "a=1", "a=2"),
    "prefix": ("Foo", "1", "11"),
}

REQUIRED: dict[str, Steps] = {
    **{
        f"4.1-differs-{name}": [
            miss(f"{FRESH} | Vary: {field}", f"{field}: {one}"),
            miss(f"{FRESH} | Vary: {field}", f"{field}: {two}"),
        ]
        for name, (field, one, two) in OTHER.items()
    },
    "4.1-match": [miss(FOO, "Foo: 1"), hit("Foo: 1", same=True)],
    "4.1-missing-then-there": [miss(FOO), miss(FOO, "Foo: 1")],
    "4.1-there-then-missing": [miss(FOO, "Foo: 1"), miss(FOO)],
    "4.1-empty-is-not-missing": [miss(FOO, "Foo: "), miss(FOO)],
    "4.1-both-missing": [miss(FOO), hit(same=True)],
    "4.1-two-names": [
        miss(FRESH + " | Vary: Foo, Bar", "Foo: 1 | Bar: 1"),
        hit("Bar: 1 | Foo: 1", same=True),
        miss(FRESH + " | Vary: Foo, Bar", "Foo: 1 | Bar: 2"),
        miss(FRESH + " | Vary: Foo, Bar", "Foo: 1"),
    ],
    "4.1-two-lines": [
        miss(FRESH + " | Vary: Foo | Vary: Bar", "Foo: 1 | Bar: 1"),
        hit("Foo: 1 | Bar: 1"),
        miss(FRESH + " | Vary: Foo | Vary: Bar", "Foo: 1 | Bar: 2"),
    ],
    "4.1-three-names": [
        miss(FRESH + " | Vary: Foo, Bar, Baz", "Foo: 1 | Bar: 1 | Baz: 1"),
        hit("Baz: 1 | Foo: 1 | Bar: 1", same=True),
        miss(FRESH + " | Vary: Foo, Bar, Baz", "Foo: 1 | Bar: 1 | Baz: 2"),
    ],
    "4.1-name-case": [miss(FRESH + " | Vary: fOO", "Foo: 1"), hit("FOO: 1", same=True), miss(FOO, "Foo: 2")],
    "4.1-other-fields-do-not-matter": [miss(FOO, "Foo: 1 | Other: 1"), hit("Foo: 1 | Other: 2", same=True)],
    **{
        f"4.1-star-{name}": [
            miss(f"{FRESH} | Vary: {text}", "Foo: 1"),
            miss(f"{FRESH} | Vary: {text}", "Foo: 1"),
        ]
        for name, text in {
            "alone": "*",
            "twice": "*, *",
            "behind": "Foo, *",
            "before": "*, Foo",
            "behind-nothing": ", *",
            "spaces": "Foo ,  * ",
            "two-lines": "Foo | Vary: *",
            "empty-line": " | Vary: *",
            "star-lines": "* | Vary: *",
        }.items()
    },
    "4.1-not-a-name": unstored(FRESH + " | Vary: Foo;bar"),
    "4.1-stale-variant": [
        miss("200 | Cache-Control: max-age=5 | Vary: Foo", "Foo: 1"),
        miss(FOO, "Foo: 2"),
        miss(FOO, "Foo: 1", after=9),
        hit("Foo: 2"),
    ],
    "4.1-one-without-vary": [
        miss(FOO, "Foo: 1"),
        miss(FRESH, "Foo: 2"),
        hit("Foo: 2", same=True),
    ],
    "4.3.1-variants-validated": [
        miss(FOO + ' | ETag: "a"', "Foo: 1"),
        miss(FOO + ' | ETag: "b"', "Foo: 2", sent='If-None-Match: "a"'),
        hit("Foo: 1", has='ETag: "a"'),
        hit("Foo: 2", has='ETag: "b"'),
    ],
}

OPTIMAL: dict[str, Steps] = {
    **{
        f"4.1-equal-{name}": [
            miss(f"{FRESH} | Vary: {field}", f"{field}: {one}"),
            hit(f"{field}: {two}", same=True),
        ]
        for name, (field, one, two) in SAME.items()
    },
    "4.1-lines-are-one-list": [miss(FOO, "Foo: 1 | Foo: 2"), hit("Foo: 1, 2", same=True)],
    "4.1-list-is-lines": [miss(FOO, "Foo: 1, 2"), hit("Foo: 1 | Foo: 2", same=True)],
    "4.1-several-kept": [
        miss(FOO, "Foo: 1"),
        miss(FOO, "Foo: 2"),
        miss(FOO),
        hit("Foo: 1"),
        hit("Foo: 2"),
        hit(),
    ],
    "4.1-empty-vary": [miss(FRESH + " | Vary: "), hit("Foo: 1", same=True)],
    "4.1-empty-members": [miss(FRESH + " | Vary: ,, Foo,", "Foo: 1"), hit("Foo: 1", same=True)],
    "4.3.4-a-304-selects": [
        miss(FOO + ' | ETag: "a"', "Foo: 1"),
        miss('304 | Vary: Foo | ETag: "a"', "Foo: 2", status=200, same=True, sent='If-None-Match: "a"'),
        hit("Foo: 2", same=True),
    ],
    "4.3.2-condition-of-a-variant": [
        miss(FOO + ' | ETag: "a"', "Foo: 1"),
        hit('Foo: 1 | If-None-Match: "a"', status=304),
    ],
}
