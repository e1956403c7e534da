"""Messages from one-line texts, at a fixed moment: what every table in this folder is written with."""

from __future__ import annotations

from cdn.config.values import CachePolicy
from cdn.rules.dates import format_date
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.outcome import NoStoreReason
from cdn.rules.storing import DontStore, Store, decide_store

NOW_S = 1_800_000_000
NOW = NOW_S * 1000
SECOND = 1000
DAY_S = 86_400

POLICY = CachePolicy()
# No stale answers but those that a response names itself.
STRICT = CachePolicy(stale_if_error=0)


def date(offset_s: int = 0) -> str:
    return format_date(NOW_S + offset_s)


def fields(*lines: str) -> Fields:
    pairs = [line.partition(":") for line in lines]
    return Fields((name, value.strip(" \t")) for name, _, value in pairs)


def request(
    *lines: str,
    method: str = "GET",
    path: str = "/p",
    query: str | None = None,
    scheme: str = "http",
    authority: str = "a.example",
    version: tuple[int, int] = (1, 1),
) -> RequestHead:
    return RequestHead(method, scheme, authority, path, query, fields(*lines), version)


def response(*lines: str, status: int = 200, version: tuple[int, int] = (1, 1)) -> ResponseHead:
    return ResponseHead(status, fields(*lines), "OK" if status == 200 else "", version)


def decided(
    *lines: str,
    status: int = 200,
    asked: RequestHead | None = None,
    policy: CachePolicy | None = POLICY,
    delay: int = 0,
) -> Store | DontStore:
    """What becomes of a response that arrives at NOW, `delay` ms after its request left."""
    return decide_store(
        asked or request(),
        response(*lines, status=status),
        policy,
        request_time=NOW - delay,
        response_time=NOW,
    )


def stored(
    *lines: str,
    status: int = 200,
    asked: RequestHead | None = None,
    policy: CachePolicy = POLICY,
    delay: int = 0,
) -> Store:
    made = decided(*lines, status=status, asked=asked, policy=policy, delay=delay)
    assert isinstance(made, Store), made
    return made


def reason(made: Store | DontStore) -> NoStoreReason | None:
    return made.reason if isinstance(made, DontStore) else None


def substitute(line: str) -> str:
    """`{+60}` and `{-60}` in a table's line become the HTTP-date that many seconds from NOW; `{0}` is NOW."""
    out = line
    while "{" in out:
        start, end = out.index("{"), out.index("}")
        out = out[:start] + date(int(out[start + 1 : end])) + out[end + 1 :]
    return out


def lines_of(text: str) -> list[str]:
    """A table's cell: field lines parted by ` | `."""
    return [substitute(line) for line in text.split(" | ") if line]
