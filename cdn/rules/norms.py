"""The whole default policy on one page: every number and list that `rules` decides by.

The other modules hold the mechanism; what a site owner may want to look up, and what a reviewer should
question, is here. Nothing here knows a request.
"""

from __future__ import annotations

# RFC 9111 §1.2.2: delta-seconds that do not fit count as this.
DELTA_MAX = 1 << 31

# RFC 9111 §4.2.2: lifetime guessed as this share of (Date - Last-Modified), never more than a day.
HEURISTIC_DIVISOR = 10
HEURISTIC_MAX_S = 86_400

# RFC 9110 §15.1: final statuses that may be stored without being told so.
HEURISTIC_STATUSES = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})

# Answers that one odd request can provoke and that would then be everybody's (cache-poisoned denial of
# service): stored only with a lifetime that the origin or the configuration names. Every 5xx is treated the
# same.
EXPLICIT_ONLY_STATUSES = frozenset({400, 405, 413, 414, 431, 501})

# Statuses whose caching requirements are understood, for must-understand (RFC 9111 §5.2.2.3).
UNDERSTOOD_STATUSES = frozenset(
    {200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 307, 308}
    | {
        400,
        401,
        402,
        403,
        404,
        405,
        406,
        408,
        409,
        410,
        411,
        413,
        414,
        415,
        421,
        422,
        423,
        424,
        425,
        426,
        428,
        429,
    }
    | {431, 451, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511}
)

# RFC 5861 §4: what counts as an error for stale-if-error, beside an origin that cannot be reached.
ERROR_STATUSES = frozenset({500, 502, 503, 504})

# RFC 9111 §3.5: with one of these a response to a request with Authorization may be stored: public, s-maxage,
# must-revalidate. Our own bar for a response with Set-Cookie (`storing._may_share_cookie`) is a lifetime that it
# names itself: RFC 9111 §7.3 has none, and a cookie shared by mistake is a stolen session.

# RFC 9213 §2.2: targeted fields, most specific first.
TARGET_LIST = ("cdn-cache-control",)

# RFC 9110 §13.1, §14.2: fields that ask for another answer than the plain one.
CONDITIONALS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range")

# Statuses that answer a field which is not part of the cache key: never stored when that field was sent.
ANSWERS_TO_FIELDS = {
    304: ("if-none-match", "if-modified-since"),
    412: ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"),
    416: ("range",),
    417: ("expect",),
}
NEVER_STORED = frozenset({304, 407})

# Ranges of one request: more than this many are refused, and so are sets that overlap (RFC 9110 §14.2).
MAX_RANGES = 16

# RFC 8586: a request that has passed this node this many times before is a loop.
LOOP_LIMIT = 1
LOOP_MEMBERS = 32

# Content codings: a body shorter than this gains nothing (it still fills a packet), and these have none of their own.
CODED_FROM = 1 << 10
NEVER_CODED = frozenset({204, 205, 206, 304})

# Media types that shrink, beside text/* and what ends like COMPRESSIBLE_SUFFIXES. Images, audio, video, archives and
# woff2 are compressed already.
COMPRESSIBLE_SUFFIXES = ("+json", "+xml", "+yaml", "+text")
COMPRESSIBLE_TYPES = frozenset(
    {
        "application/dart",
        "application/ecmascript",
        "application/graphql",
        "application/javascript",
        "application/json",
        "application/jsonl",
        "application/ndjson",
        "application/postscript",
        "application/rtf",
        "application/sql",
        "application/toml",
        "application/vnd.apple.mpegurl",
        "application/vnd.ms-fontobject",
        "application/wasm",
        "application/x-font-opentype",
        "application/x-font-otf",
        "application/x-font-truetype",
        "application/x-font-ttf",
        "application/x-javascript",
        "application/x-json",
        "application/x-mpegurl",
        "application/x-ndjson",
        "application/x-sh",
        "application/x-tex",
        "application/x-yaml",
        "application/xml",
        "application/yaml",
        "font/collection",
        "font/otf",
        "font/sfnt",
        "font/ttf",
        "image/bmp",
        "image/vnd.microsoft.icon",
        "image/x-icon",
        "image/x-ms-bmp",
    }
)
UNCODED_TEXT = frozenset({"text/event-stream"})  # its events must not wait for each other
