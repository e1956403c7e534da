"""Text to numbers and back: sizes in bytes, durations in milliseconds, moments in microseconds, rates in bytes/s.

A number alone is refused: what it counts must be written beside it. Only 0 needs no unit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cdn.config.problems import BadValueError, nearest, quote

SIZES: Mapping[str, int] = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
DURATIONS: Mapping[str, int] = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
MOMENTS: Mapping[str, int] = {"us": 1, "µs": 1, "ms": 1_000}

_NUMBER = re.compile(r"([+-]?)([0-9]{1,15}) ?([A-Za-zµ]*)")
_SHOWN_SIZES = ("TiB", "GiB", "MiB", "KiB")
_SHOWN_DURATIONS = ("d", "h", "m", "s", "ms")
# What people write for a unit that goes by another name here.
_SYNONYMS = {
    "k": "KiB",
    "m": "MiB",
    "g": "GiB",
    "t": "TiB",
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "min": "m",
    "mins": "m",
    "minute": "m",
    "minutes": "m",
    "hour": "h",
    "hours": "h",
    "hr": "h",
    "day": "d",
    "days": "d",
    "msec": "ms",
    "millis": "ms",
    "byte": "B",
    "bytes": "B",
}


def parse_size(text: str, example: str = "32 KiB") -> int:
    """Bytes. Raises BadValueError."""
    return _parse(text, SIZES, "size", example)


def parse_duration(text: str, example: str = "10s") -> int:
    """Milliseconds. Raises BadValueError."""
    return _parse(text, DURATIONS, "duration", example)


def parse_moment(text: str, example: str = "20us") -> int:
    """Microseconds. Raises BadValueError."""
    return _parse(text, MOMENTS, "duration", example)


def format_moment(value: int) -> str:
    return f"{value}us"


def parse_rate(text: str, example: str = "1 KiB/s") -> int:
    """Bytes per second. Raises BadValueError."""
    size, slash, per = text.partition("/")
    if slash and per != "s":
        raise BadValueError(f"is {quote(text)}; a rate is per second, such as `{example}`")
    try:
        value = _parse(size.rstrip(), SIZES, "rate", example)
    except BadValueError:
        if not slash and re.fullmatch(_NUMBER, text) and not text.strip().isdigit():
            raise BadValueError(
                f"is {quote(text)}, which is no rate; write for example `{example}`"
            ) from None
        raise
    if not slash and value:
        raise BadValueError(f"is {quote(text)}, a size; a rate is per second: write `{format_size(value)}/s`")
    return value


def parse_percent(text: str, example: str = "25%") -> int:
    """A whole number of hundredths. Raises BadValueError."""
    number, sign, rest = text.partition("%")
    number = number.strip()
    if not sign or rest or not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise BadValueError(
            f"is {quote(text)}; it must be a percentage such as `{example}`, a whole number and `%`"
        )
    return int(number)


def format_percent(value: int) -> str:
    return f"{value}%"


def _parse(text: str, units: Mapping[str, int], what: str, example: str) -> int:
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise BadValueError(
            f"is {quote(text)}; it must be a {what} such as `{example}`, a whole number and a unit"
        )
    sign, digits, unit = found.groups()
    if sign == "-":
        raise BadValueError(f"is {quote(text)}; a {what} is never negative")
    if sign == "+":
        raise BadValueError(f"is {quote(text)}; write it without the sign")
    number = int(digits)
    if not unit:
        if number == 0:
            return 0
        raise BadValueError(
            f"is {quote(text)}, which carries no unit; write `{_with_unit(number, what, example)}`"
        )
    if unit not in units:
        raise BadValueError(f"is {quote(text)}; there is no unit {quote(unit)}{_near_unit(unit, units)}")
    return number * units[unit]


def _with_unit(number: int, what: str, example: str) -> str:
    """What a bare number most likely meant: bytes that make a round size, else the example's unit."""
    if what == "duration":
        return f"{number}{'us' if example.endswith('us') else 's'}"
    suffix = "/s" if what == "rate" else ""
    if number >= 1000:
        decimal = next((unit for unit in ("GB", "MB", "kB") if number % SIZES[unit] == 0), None)
        if decimal and number % 1024:
            return f"{number // SIZES[decimal]} {decimal}{suffix}"
        return format_size(number) + suffix
    return example.replace(re.match(r"[0-9]+", example)[0], str(number), 1)  # type: ignore[index]


def _near_unit(unit: str, units: Mapping[str, int]) -> str:
    near = _SYNONYMS.get(unit.lower())
    if near not in units:
        near = nearest(unit, [name for name in units if name != "KB"])
    return f"; did you mean `{near}`?" if near else f"; there is {' | '.join(units)}"


def format_size(value: int) -> str:
    """The shortest exact form in binary units: `32 KiB`, `1500 B`."""
    for unit in _SHOWN_SIZES:
        if value and value % SIZES[unit] == 0:
            return f"{value // SIZES[unit]} {unit}"
    return f"{value} B"


def format_duration(value: int) -> str:
    """The shortest exact form: `1d`, `75s`, `1500ms`, `0s`."""
    for unit in _SHOWN_DURATIONS:
        if value and value % DURATIONS[unit] == 0:
            return f"{value // DURATIONS[unit]}{unit}"
    return "0s"


def format_rate(value: int) -> str:
    return f"{format_size(value)}/s"
