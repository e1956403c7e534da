"""What is measured: each row is one kind of request, with the bars that this proxy has to clear.

Knows neither servers nor load generators. Sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

# What a browser sends for an image of a page: 15 fields beside Host, cookies among them.
BROWSER: tuple[tuple[str, str], ...] = (
    ("Connection", "keep-alive"),
    ("sec-ch-ua", '"Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"'),
    ("sec-ch-ua-mobile", "?0"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 "
        "Safari/537.36",
    ),
    ("sec-ch-ua-platform", '"Linux"'),
    ("Accept", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "no-cors"),
    ("Sec-Fetch-Dest", "image"),
    ("Referer", "https://www.example.com/products/overview.html"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7"),
    (
        "Cookie",
        "session=0123456789abcdef0123456789abcdef; theme=dark; consent=1; _ga=GA1.1.1234567890.1700000000",
    ),
    ("Priority", "i"),
    ("DNT", "1"),
)
SITE = "bench.example"  # the Host of every request and the name in the certificate
BROWSER_BAR = 0.85  # of the same row with the bare head

Head = Literal["bare", "browser"]
KiB = 1024
MiB = 1024 * KiB


@dataclass(frozen=True, slots=True)
class Zipf:
    """`count` names asked for in proportion to rank^-exponent."""

    count: int
    exponent: float


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of request.

    `kind`: `store` may be stored, `pass` may not. `unique`: no name is asked for twice. A row of hits is one
    where the origin must see nothing; otherwise it must see every request.
    """

    id: str
    title: str
    kind: Literal["store", "pass"]
    size: int  # of the body at the origin
    fields: tuple[tuple[str, str], ...] = ()
    status: int = 200
    expect: int | None = None  # bytes of the body that is answered; None: `size`
    unique: bool = False
    zipf: Zipf | None = None
    tls: bool = False
    connections: int = 64
    store_mib: int = 1024
    heads: tuple[Head, ...] = ("bare", "browser")
    bar_best: float | None = None  # against the best peer, round by round
    bar_limit: float | None = None
    without: dict[str, str] = field(default_factory=dict)  # peer: why it has no figure in this row

    @property
    def hits(self) -> bool:
        return self.kind == "store" and not self.unique

    @property
    def body(self) -> int:
        """Bytes of the body that is answered."""
        return self.size if self.expect is None else self.expect

    def prefix(self, tag: str) -> str:
        """Targets of this row are the prefix and a name."""
        return f"/{self.kind}/{self.size}/{tag}"

    def all_fields(self, head: Head) -> tuple[tuple[str, str], ...]:
        """The fields sent beside Host; a field of the row replaces the browser's of that name."""
        if head == "bare":
            return self.fields
        own = {name.lower() for name, _ in self.fields}
        return tuple(f for f in BROWSER if f[0].lower() not in own) + self.fields


_NO_CACHE_HERE = {"limit": "stores and fetches nothing"}

ROWS: tuple[Row, ...] = (
    Row("hit-1k", "hit 1 KiB", "store", KiB, bar_best=1.0, bar_limit=0.9),
    Row("hit-100k", "hit 100 KiB", "store", 100 * KiB, connections=32, bar_best=0.97, bar_limit=0.95),
    Row("hit-10m", "hit 10 MiB", "store", 10 * MiB, connections=8, bar_best=1.0, bar_limit=0.85),
    Row(
        "range",
        "range of 64 KiB of a stored 10 MiB",
        "store",
        10 * MiB,
        fields=(("Range", "bytes=1048576-1114111"),),
        status=206,
        expect=64 * KiB,
        connections=32,
        bar_best=1.2,
    ),
    Row(
        "not-modified",
        "304 for a hit",
        "store",
        KiB,
        fields=(("If-None-Match", '"bench"'),),
        status=304,
        expect=0,
        bar_best=1.0,
        without={"haproxy": "its 304 has a Content-Length, and wrk waits for a body of that length"},
    ),
    Row("zipf", "hits, Zipf 0.9 over 100k × 4 KiB", "store", 4 * KiB, zipf=Zipf(100_000, 0.9), bar_best=1.0),
    Row(
        "miss-1k",
        "miss and store 1 KiB",
        "store",
        KiB,
        unique=True,
        store_mib=256,
        heads=("bare",),
        bar_best=1.1,
        without=_NO_CACHE_HERE,
    ),
    Row(
        "miss-100k",
        "miss and store 100 KiB",
        "store",
        100 * KiB,
        unique=True,
        connections=32,
        store_mib=256,
        heads=("bare",),
        bar_best=1.0,
        without=_NO_CACHE_HERE,
    ),
    Row("pass-1k", "pass 1 KiB", "pass", KiB, heads=("bare",), bar_best=1.0, without=_NO_CACHE_HERE),
    Row(
        "pass-100k",
        "pass 100 KiB",
        "pass",
        100 * KiB,
        connections=32,
        heads=("bare",),
        bar_best=1.0,
        without=_NO_CACHE_HERE,
    ),
    Row(
        "tls",
        "hit 1 KiB over TLS 1.3",
        "store",
        KiB,
        tls=True,
        bar_best=1.0,
        without={"limit": "speaks no TLS", "varnish": "speaks no TLS"},
    ),
    Row(
        "close",
        "hit 1 KiB, Connection: close",
        "store",
        KiB,
        fields=(("Connection", "close"),),
        bar_best=1.0,
    ),
)


def chosen(ids: list[str]) -> tuple[Row, ...]:
    """The rows with these ids in their usual order; ValueError names an unknown one. None given: all."""
    known = {row.id for row in ROWS}
    for wanted in ids:
        if wanted not in known:
            raise ValueError(f"no row is called {wanted!r}; there are {', '.join(row.id for row in ROWS)}")
    return tuple(row for row in ROWS if not ids or row.id in ids)
