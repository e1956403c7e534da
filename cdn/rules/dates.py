"""HTTP dates as whole seconds since the epoch (RFC 9110 §5.6.7); the parsing itself is a leaf of `_core`.

`now_s` only resolves two-digit years; nothing here reads a clock.
"""

from __future__ import annotations

from cdn import _core

EARLIEST = -62_135_596_800  # the years 1 to 9999 are all that the format can say
LATEST = 253_402_300_799


def parse_date(value: str, now_s: int) -> int | None:
    """Seconds since the epoch, or None when `value` is no HTTP-date.

    A cache reads names of days, months and the zone in any case (RFC 9111 §4.2); any zone but GMT is invalid.
    """
    seconds = _core.parse_http_date(value.encode("latin-1"), now_s)
    if seconds is None and value.isascii():
        folded = value.title()
        if folded.endswith(" Gmt"):
            folded = folded[:-4] + " GMT"
        if folded != value:
            seconds = _core.parse_http_date(folded.encode("latin-1"), now_s)
    return seconds


def format_date(seconds: int) -> str:
    """IMF-fixdate."""
    return _core.format_http_date(min(max(seconds, EARLIEST), LATEST))
