"""Python face of the leaves; the C face is `_core.pxd`. Bytes in, values out; hostile input raises HeadError
at most."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

FIELD_IDS: dict[bytes, int]
"""Lower-case field name to its bit number in a head's `present` word."""
SCAN_ERRORS: dict[str, int]
"""Every name that a HeadError of a head or target can carry, to its HTTP status: a closed label set."""
REASON_PHRASES: dict[int, bytes]

class HeadError(Exception):
    """A message head, target or chunked body that is refused."""

    status: int
    """HTTP status for a client: 400, 414, 431, 501 or 505 (a bad response head is a 502 whatever it says)."""
    name: str
    """Short name for log and metrics: a key of SCAN_ERRORS, or "chunked"."""
    def __init__(self, status: int, name: str) -> None: ...

class RequestHeadView(NamedTuple):
    method: str
    target: bytes
    minor: int
    fields: list[tuple[str, str]]
    content_length: int | None
    chunked: bool
    close: bool
    keep_alive: bool
    upgrade: bool
    length: int
    """Bytes of the head, its final empty line included."""

class ResponseHeadView(NamedTuple):
    status: int
    reason: str
    minor: int
    fields: list[tuple[str, str]]
    content_length: int | None
    chunked: bool
    close: bool
    keep_alive: bool
    upgrade: bool
    length: int

def scan_request_head(data: bytes, max_head: int = 32768, max_fields: int = 128) -> RequestHeadView | None:
    """The request head that `data` begins with, or None while it is incomplete (RFC 9112 §2–6). Raises
    HeadError."""

def scan_response_head(data: bytes, max_head: int = 32768, max_fields: int = 128) -> ResponseHeadView | None:
    """The response head that `data` begins with, or None while it is incomplete. Raises HeadError."""

class HeadScanner:
    """One head that arrives in pieces; the work is linear in its bytes, however they are cut."""

    buffer: bytes
    def __init__(self, response: bool = False, max_head: int = 32768, max_fields: int = 128) -> None: ...
    def feed(self, piece: bytes) -> RequestHeadView | ResponseHeadView | None:
        """The view once the head is complete, None before. Raises HeadError."""

class ChunkedDecoder:
    """De-frames a chunked body (RFC 9112 §7.1) fed in pieces."""

    done: bool
    rest: bytes
    """Once done: what came behind the message."""
    def __init__(self) -> None: ...
    def feed(self, piece: bytes) -> list[bytes]:
        """The body bytes in it. Raises HeadError(400, "chunked")."""

def normal_path(path: bytes) -> str:
    """The normal form of a path without query (RFC 3986 §6.2.2); "" is "/". Raises HeadError(400, "path")."""

def normal_authority(authority: bytes, https: bool = False) -> str:
    """host[:port] in lower case, no default port, no trailing dot. Raises HeadError(400, "authority")."""

def split_target(
    target: bytes, https: bool, host: bytes | None, method: str = "GET"
) -> tuple[str, str, str | None]:
    """(authority, path, query) of a request target (RFC 9112 §3.2), normalised.

    `host` is the Host value, None where an HTTP/1.0 request has none (authority "", or the target's own). The
    path is "*" for `OPTIONS *` and "" for CONNECT. Raises HeadError.
    """

def split_head(data: bytes, https: bool) -> tuple[str, tuple[str, str, str | None]]:
    """`split_target` of a complete request head: (form, (authority, path, query)).

    The form is "plain" (origin-form with a Host), "absolute", "asterisk", "authority" or "no-host". Raises
    HeadError, or ValueError when the head is incomplete.
    """

class NamePatterns:
    """Names, or prefixes written `name*`; case matters. Raises ValueError for an empty or long pattern."""

    texts: tuple[str, ...]
    def __init__(self, texts: Iterable[str] = ()) -> None: ...
    def __bool__(self) -> bool: ...
    def __contains__(self, name: bytes) -> bool: ...
    def in_query(self, query: bytes) -> bool:
        """Some parameter of the query has a name (with %XX decoded) that matches."""

class QueryFilter:
    """Which parameters of a query stay, and whether they are sorted by name (stable)."""

    active: bool
    """False: a query passes through unchanged."""
    def __init__(
        self, ignore: Iterable[str] = (), only: Iterable[str] | None = None, sort: bool = False
    ) -> None: ...
    def filter(self, query: bytes) -> bytes | None:
        """The kept query, or None when no parameter is left."""

def query_parameters(query: bytes) -> list[tuple[bytes, bytes]]:
    """Every parameter in order: (name with %XX decoded, raw bytes with its "=" and value)."""

def cache_key(
    https: bool, authority: bytes, path: bytes, query: bytes | None = None, extras: Iterable[bytes] = ()
) -> bytes:
    """The key of normalised parts, then chosen field values; every part length-prefixed."""

def key_hash(secret: bytes, key: bytes) -> tuple[int, int]:
    """SipHash-2-4-128 of a key under a secret of 16 bytes (else ValueError), as two 64-bit numbers."""

def rendezvous_score(key: int, seed: int, weight: float = 1.0) -> float:
    """How strongly the place whose name hashes to `seed` claims the key that hashes to `key`: the highest claim has it.
    `weight` > 0 is its share beside the others'."""

def etag_list_matches(value: bytes, etag: bytes, weak: bool = True) -> bool:
    """An If-None-Match or If-Match value holds `etag` (RFC 9110 §8.8.3.2), or is `*`."""

def parse_range(
    value: bytes, length: int
) -> tuple[Literal["ignore", "one", "many", "unsatisfiable"], int, int]:
    """(kind, first, last) of a Range value on `length` >= 0 bytes; positions count for "one" only (RFC 9110
    §14.2)."""

def parse_ranges(value: bytes, length: int) -> list[tuple[int, int]] | None:
    """Every satisfiable (first, last) in the field's order; [] when none is; None when the field is to be
    ignored."""

def parse_http_date(value: bytes, now: int) -> int | None:
    """Seconds since the epoch (RFC 9110 §5.6.7, all three forms), or None; `now` (seconds) resolves two-digit
    years."""

def format_http_date(seconds: int) -> str:
    """IMF-fixdate of seconds since the epoch; ValueError outside the years 1 to 9999."""

def lru_choice(
    candidates: Sequence[tuple[int, int, int, int, int]], clock: int, serial: int, now: int
) -> int:
    """Who is evicted among (stamp of the last use, serial, weight, expires, useful_until): an index, -1 for an
    empty sequence."""

def sized_choice(candidates: Sequence[tuple[int, int, int, int, int]], clock: int, now: int) -> int:
    """The same by worth; the first number is clock << 4 | uses, the second plays no part."""

def reason_phrase(status: int) -> str:
    """The registered reason phrase, "" when unknown."""

def field_id(name: bytes) -> int:
    """The number of a field name given in any case (a value of FIELD_IDS), 0 for any other token."""

def list_has_token(value: bytes, token: bytes) -> bool:
    """A comma list (Connection, Vary, ...) holds this token, case ignored (RFC 9110 §5.6.1)."""

def hmac_sha256(secret: bytes, message: bytes) -> bytes:
    """The code of a message, 32 bytes (RFC 2104)."""

def format_uint(value: int) -> bytes:
    """Decimal digits of 0 <= value < 2**64 (else OverflowError)."""

def format_field(name: bytes, value: bytes) -> bytes:
    """One field line with its CRLF; nothing is checked."""

def status_line(status: int) -> bytes:
    """The HTTP/1.1 status line with its CRLF; ValueError outside 100 to 999."""
