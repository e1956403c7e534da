"""What is stored and what of it is replayed (RFC 9111 §3), and what comes back of it."""

from __future__ import annotations

from .dialogue import Step, Steps, hit, miss, stored, unstored

FRESH = "200 | Cache-Control: max-age=60"
OLD = "Last-Modified: {-100000}"
EXPLICIT = (
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
    402,
    403,
    404,
    405,
    406,
    409,
    410,
    413,
    414,
    418,
)
EXPLICIT += (421, 422, 429, 431, 451, 499, 500, 501, 502, 503, 504, 511, 599)
GUESSED = (200, 203, 204, 300, 301, 308, 404, 410)
NOT_GUESSED = (201, 202, 299, 302, 303, 307, 400, 401, 403, 406, 418, 429, 499, 500, 502, 503, 504, 599)

REQUIRED: dict[str, Steps] = {
    # §3: a final status that is understood, or explicit freshness; once stale it is not used unasked
    **{
        f"3-status-{status}-stale": [
            miss(f"{status} | Cache-Control: max-age=5"),
            miss(f"{status} | Cache-Control: max-age=5", after=9, same=status == 204, status=status),
        ]
        for status in EXPLICIT
    },
    **{f"4.2.2-{status}-not-guessed": unstored(f"{status} | {OLD}", status=status) for status in NOT_GUESSED},
    **{
        f"5.2.2.3-must-understand-{status}": unstored(
            f"{status} | Cache-Control: no-store, must-understand, max-age=60", status=status
        )
        for status in (299, 499, 599)
    },
    "5.2.2.3-must-understand-alone": unstored("299 | Cache-Control: max-age=60, must-understand", status=299),
    "3-no-store": unstored("200 | Cache-Control: no-store"),
    "3-no-store-and-max-age": unstored("200 | Cache-Control: max-age=60, no-store"),
    "3-no-store-case": unstored("200 | Cache-Control: No-StOrE, max-age=60"),
    "3-no-store-second-line": unstored(FRESH + " | Cache-Control: no-store"),
    "3-no-store-argument": unstored("200 | Cache-Control: max-age=60, no-store=0"),
    "3-no-store-expires": unstored("200 | Cache-Control: no-store | Expires: {+60}"),
    "3-no-store-tagged": [
        miss('200 | Cache-Control: no-store | ETag: "a"'),
        miss("200", unsent="if-none-match"),
    ],
    "3-private": unstored("200 | Cache-Control: private, max-age=60"),
    "3-private-case": unstored("200 | Cache-Control: PRIVATE, max-age=60"),
    "3-private-public": unstored("200 | Cache-Control: public, private, max-age=60"),
    "3-private-s-maxage": unstored("200 | Cache-Control: private, s-maxage=60"),
    "3.1-private-fields": [
        miss('200 | Cache-Control: max-age=60, private="x-a, X-B" | X-A: 1 | X-B: 2 | X-C: 3', has="X-A: 1"),
        hit(has="X-C: 3", lacks="x-a x-b", same=True),
    ],
    "3.1-no-cache-fields": [
        miss('200 | Cache-Control: max-age=60, no-cache="x-a" | X-A: 1 | X-C: 3'),
        hit(has="X-C: 3", lacks="x-a", same=True),
    ],
    "3-a-newer-no-store-ends-the-older": [
        miss(FRESH),
        miss("200 | Cache-Control: no-store", "Cache-Control: no-cache"),
        miss(FRESH),
    ],
    "3-a-newer-one-after-no-store": [miss("200 | Cache-Control: no-store"), miss(FRESH), hit(same=True)],
    "3-a-stale-one-after-no-store": [
        miss("200 | Cache-Control: max-age=5"),
        miss("200 | Cache-Control: no-store", after=9, same=False),
        miss("503", status=503),
    ],
    "3.1-hop-by-hop": [
        miss(
            FRESH
            + " | Connection: X-Gone, close | X-Gone: 1 | X-Kept: 2 | Keep-Alive: x | Proxy-Authenticate: x "
            "| Proxy-Authentication-Info: x | Proxy-Authorization: x | Proxy-Connection: x | TE: x | Upgrade: x "
            "| Trailer: x",
            has="X-Kept: 2",
            lacks="x-gone keep-alive proxy-authenticate proxy-connection te upgrade trailer",
        ),
        hit(
            has="X-Kept: 2",
            lacks="x-gone keep-alive proxy-authenticate proxy-authentication-info proxy-authorization "
            "proxy-connection te upgrade trailer",
        ),
    ],
    "3.1-fields-replayed": [
        miss(
            FRESH
            + " | Test-Field: 1 | X-A: 1 | Content-Foo: 2 | X-Content-Foo: 3 | Set-Cookie2: a=b | Content-MD5: x "
            "| Content-Type: a/b | Content-Encoding: x | Content-Location: /x | Content-Language: de "
            "| Content-Security-Policy: x | Clear-Site-Data: x | Public-Key-Pins: x | X-Frame-Options: x "
            "| X-XSS-Protection: 1 | Strict-Transport-Security: x | Expires: {+60} | Content-Range: bytes 1-2/3 "
            '| Warning: 199 - "x" | Link: <a>; rel=b | ETag: "x" | Refresh: 1 | Server: x | Retry-After: 2'
        ),
        hit(
            has="Test-Field: 1 | X-A: 1 | Content-Foo: 2 | X-Content-Foo: 3 | Set-Cookie2: a=b | Content-MD5: x "
            "| Content-Type: a/b | Content-Encoding: x | Content-Location: /x | Content-Language: de "
            "| Content-Security-Policy: x | Clear-Site-Data: x | Public-Key-Pins: x | X-Frame-Options: x "
            "| X-XSS-Protection: 1 | Strict-Transport-Security: x | Expires: {+60} | Content-Range: bytes 1-2/3 "
            '| Warning: 199 - "x" | Link: <a>; rel=b | ETag: "x" | Refresh: 1 | Server: x | Retry-After: 2 '
            "| Cache-Control: max-age=60"
        ),
    ],
    "3.1-duplicates-replayed": [
        miss(FRESH + " | X-A: 1 | X-B: 2 | x-a: 3"),
        hit(has="X-A: 1 | X-A: 3 | X-B: 2"),
    ],
    "3.1-obs-text-replayed": [miss(FRESH + " | X-A: \xe9\xff t"), hit(has="X-A: \xe9\xff t")],
    "3.1-empty-field-replayed": [miss(FRESH + " | X-A: "), hit(has="X-A: ")],
    # §3.5
    "3.5-authorization": [
        miss(FRESH, "Authorization: x"),
        miss(FRESH),
        hit("Authorization: x"),
    ],
    "3.5-authorization-expires": [miss("200 | Expires: {+60}", "Authorization: x"), miss(FRESH)],
    "3.5-authorization-proxy-revalidate": [
        miss("200 | Cache-Control: max-age=60, proxy-revalidate", "Authorization: x"),
        miss(FRESH),
    ],
    # RFC 9111 §7.3, the cookie is the origin's to keep from caches
    "7.3-set-cookie-guessed": unstored(f"200 | {OLD} | Set-Cookie: a=b"),
    # RFC 9110 §6.6.1
    "9110-6.6.1-date-replayed": [miss(FRESH + " | Date: {0}"), hit(after=9, has="Date: {0} | Age: 9")],
    "9110-6.6.1-date-added": [miss(FRESH), hit(after=9, has="Date: {0} | Age: 9")],
    # §4: a stored response belongs to its URL
    "4-query": [miss(FRESH, path="?a=1"), miss(FRESH, path="?a=2"), hit(path="?a=1"), miss(FRESH)],
    "4-query-empty": [miss(FRESH, path="?"), miss(FRESH)],
    "3-unknown-method": [miss(FRESH, method="FETCH"), miss(FRESH)],
    "3-put": [miss(FRESH, method="PUT"), miss(FRESH)],
    "3-options": [miss(FRESH, method="OPTIONS"), miss(FRESH, method="OPTIONS"), miss(FRESH)],
    "9110-9.3.3-post": [miss(FRESH, method="POST", content=b"x"), miss(FRESH, method="POST", content=b"x")],
    "9110-9.3.3-post-elsewhere": [
        miss(FRESH + " | Content-Location: /elsewhere", method="POST"),
        miss(FRESH),
    ],
    "9110-9.3.3-post-no-lifetime": [
        miss(f"200 | {OLD} | Content-Location: {{path}}", method="POST"),
        miss(FRESH),
    ],
    "9110-9.3.2-head-stores-nothing": [miss(FRESH, method="HEAD"), miss(FRESH), hit()],
    # §3.3: incomplete responses
    "3.3-truncated": [
        Step(
            True,
            raw=b"HTTP/1.1 200 OK\r\nDate: {now}\r\nCache-Control: max-age=60\r\nContent-Length: 900\r\n\r\nx",
            aborted=True,
        ),
        miss(FRESH),
    ],
    # 1xx (RFC 9110 §15.2)
    **{
        f"9110-15.2-interim-{status}": [
            Step(
                True,
                raw=b"HTTP/1.1 %d X\r\nX-I: 1\r\nCache-Control: max-age=60\r\n\r\n" % status
                + b"HTTP/1.1 200 OK\r\nDate: {now}\r\nCache-Control: max-age=60\r\nContent-Length: 1\r\n\r\nx",
                status=200,
                interim=str(status),
                body=b"x",
                lacks="x-i",
            ),
            hit(body=b"x", lacks="x-i"),
        ]
        for status in (102, 103, 199)
    },
}

OPTIMAL: dict[str, Steps] = {
    **{
        f"3-status-{status}-fresh": stored(f"{status} | Cache-Control: max-age=60", status=status)
        for status in EXPLICIT
    },
    **{
        f"3-status-{status}-expires": stored(f"{status} | Expires: {{+60}}", status=status)
        for status in (299, 404, 499, 599)
    },
    **{f"4.2.2-{status}-guessed": stored(f"{status} | {OLD}", status=status) for status in GUESSED},
    "4.2.2-public-guessed": stored(f"299 | {OLD} | Cache-Control: public", status=299),
    "4.2.2-not-long": [
        miss("200 | Date: {0} | Last-Modified: {-100}"),
        hit(after=9, same=True),
        miss(after=2),
    ],
    "4.2.2-at-most-a-day": [
        miss("200 | Date: {0} | Last-Modified: {-99000000}"),
        hit(after=86_399, same=True),
        miss(after=2),
    ],
    "5.2.2.3-must-understand": stored("200 | Cache-Control: no-store, must-understand, max-age=60"),
    "5.2.2.3-must-understand-404": stored(
        "404 | Cache-Control: no-store, must-understand, max-age=60", status=404
    ),
    "3.5-authorization-public": stored("200 | Cache-Control: max-age=60, public", "Authorization: x"),
    "3.5-authorization-s-maxage": stored("200 | Cache-Control: s-maxage=60", "Authorization: x"),
    "3.5-authorization-must-revalidate": stored(
        "200 | Cache-Control: max-age=60, must-revalidate", "Authorization: x"
    ),
    "3.5-authorization-others": [
        miss("200 | Cache-Control: s-maxage=60", "Authorization: x"),
        hit("Authorization: y"),
    ],
    "7.3-set-cookie": stored(FRESH + " | Set-Cookie: a=b", has="Set-Cookie: a=b"),
    "7.3-set-cookie-expires": stored("200 | Expires: {+60} | Set-Cookie: a=b", has="Set-Cookie: a=b"),
    "7.3-set-cookies": [
        miss(FRESH + " | Set-Cookie: a=b | Set-Cookie: c=d"),
        hit(has="Set-Cookie: a=b | Set-Cookie: c=d"),
    ],
    "7.3-cookie": [miss(FRESH, "Cookie: a=b"), hit("Cookie: a=c", same=True), hit(same=True)],
    "9110-9.3.3-post-for-get": [
        miss(FRESH + " | Content-Location: {path}", method="POST", content=b"x"),
        hit(same=True),
        hit(method="HEAD", has="Content-Length: 9"),
    ],
    "9110-9.3.2-head-of-a-get": [miss(FRESH), hit(method="HEAD", has="Content-Length: 9")],
    "3-expires-only": stored("200 | Expires: {+60}"),
    "3-content-disposition": stored(FRESH + " | Content-Disposition: attachment"),
    "3-content-disposition-guessed": stored(f"200 | {OLD} | Content-Disposition: attachment"),
    "3-http10": [
        Step(
            True,
            raw=b"HTTP/1.0 200 OK\r\nDate: {now}\r\nCache-Control: max-age=60\r\nContent-Length: 1\r\n\r\nx",
            body=b"x",
        ),
        hit(body=b"x"),
    ],
    "3-chunked": [
        Step(
            True,
            raw=b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\nx\r\n0\r\nX-Trailer: 1\r\n\r\n",
            body=b"x",
        ),
        hit(body=b"x", has="Content-Length: 1", lacks="x-trailer transfer-encoding trailer"),
    ],
}
