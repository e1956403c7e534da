"""What unsafe requests make invalid (RFC 9111 §4.4; RFC 9875)."""

from __future__ import annotations

from .dialogue import Steps, hit, miss

FRESH = "200 | Cache-Control: max-age=60"
UNSAFE = ("POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "MKCOL", "UNHEARD-OF", "post")

REQUIRED: dict[str, Steps] = {
    **{
        f"4.4-{method}-{status}": [miss(FRESH), miss(str(status), method=method, status=status), miss(FRESH)]
        for method in UNSAFE
        for status in (200, 204, 301, 303)
    },
    **{
        f"4.4-error-{status}": [miss(FRESH), miss(str(status), method="POST", status=status), hit()]
        for status in (400, 403, 404, 409, 500, 503)
    },
    "4.4-head-and-options-do-not": [
        miss(FRESH),
        miss("200", method="OPTIONS"),
        hit(method="HEAD"),
        hit(),
    ],
    "4.4-with-query": [miss(FRESH, path="?a"), miss(method="POST"), hit(path="?a")],
    "4.4-all-variants": [
        miss(FRESH + " | Vary: Foo", "Foo: 1"),
        miss(FRESH + " | Vary: Foo", "Foo: 2"),
        miss("200", method="POST"),
        miss(FRESH + " | Vary: Foo", "Foo: 1"),
        miss(FRESH + " | Vary: Foo", "Foo: 2"),
    ],
    "4.4-elsewhere": [
        miss(FRESH, path="/x"),
        miss("201 | Location: http://b.example{path}/x", method="POST"),
        hit(path="/x"),
    ],
    "4.4-other-port": [
        miss(FRESH, path="/x"),
        miss("201 | Location: http://site.test:8080{path}/x", method="POST"),
        hit(path="/x"),
    ],
    "4.4-other-scheme": [
        miss(FRESH, path="/x"),
        miss("201 | Location: https://site.test{path}/x", method="POST"),
        hit(path="/x"),
    ],
    "4.4-location-of-an-error": [
        miss(FRESH, path="/x"),
        miss("400 | Location: {path}/x", method="POST"),
        hit(path="/x"),
    ],
    "4.4-location-of-a-get": [
        miss(FRESH, path="/x"),
        miss("201 | Location: {path}/x"),
        hit(path="/x"),
    ],
    "9875-group": [
        miss(FRESH + ' | Cache-Groups: "a", "b"', path="/x"),
        miss(FRESH + ' | Cache-Groups: "b"', path="/y"),
        miss('200 | Cache-Group-Invalidation: "a"', method="POST"),
        miss(FRESH, path="/x"),
        hit(path="/y"),
    ],
    "9875-safe-method": [
        miss(FRESH + ' | Cache-Groups: "a"', path="/x"),
        miss('200 | Cache-Group-Invalidation: "a"'),
        hit(path="/x"),
    ],
}

OPTIMAL: dict[str, Steps] = {
    **{
        f"4.4-{field.lower()}-{name}": [
            miss(FRESH, path="/x"),
            miss(f"201 | {field}: {uri}", method="POST"),
            miss(FRESH, path="/x"),
        ]
        for field in ("Location", "Content-Location")
        for name, uri in {
            "path": "{path}/x",
            "absolute": "http://site.test{path}/x",
            "default-port": "http://site.test:80{path}/x",
            "host-case": "HTTP://SITE.test{path}/x",
            "network-path": "//site.test{path}/x",
            "fragment": "{path}/x#y",
            "dot-segments": "{path}/y/../x",
            "escape": "{path}/%78",
        }.items()
    },
    "4.4-relative": [
        miss(FRESH, path="/x"),
        miss("201 | Location: x", method="POST", path="/y"),
        miss(FRESH, path="/x"),
    ],
}
