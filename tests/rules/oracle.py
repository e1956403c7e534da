"""A second, naive reading of RFC 9111 for a shared cache, in whole seconds, straight down the sections.

Written to be obviously what the text says and to share nothing with `cdn.rules`: it takes lines of text,
keeps dates as numbers in them (`@-60` is sixty seconds before the response arrives) and knows no
configuration but the defaults.
"""

from __future__ import annotations

import re

HEURISTIC = {200, 203, 204, 300, 301, 308, 404, 410}
NEEDS_LIFETIME = {400, 405, 413, 414, 431}


def value_of(lines: list[str], name: str) -> str | None:
    found = [line.split(":", 1)[1].strip() for line in lines if line.split(":", 1)[0].lower() == name]
    return ", ".join(found) if found else None


def directives(text: str | None) -> list[tuple[str, str | None]]:
    """Well-formed Cache-Control only: tokens, or a quoted-string without escapes, as arguments."""
    out = []
    for name, quoted, token in re.findall(r'([A-Za-z-]+)(?:=(?:"([^"]*)"|([^",\s]+)))?', text or ""):
        argument = quoted or token
        out.append((name.lower(), argument or None))
    return out


def has(control: list[tuple[str, str | None]], name: str, qualified: bool = False) -> bool:
    """`no-cache` and `private` with an argument say something else (qualified); the others do not care."""
    for known, argument in control:
        if known == name and (name not in ("no-cache", "private") or (argument is not None) is qualified):
            return True
    return False


def seconds(control: list[tuple[str, str | None]], name: str) -> int | None:
    for known, argument in control:
        if known == name:
            return int(argument) if argument and re.fullmatch("[0-9]+", argument) else 0
    return None


def when(text: str | None) -> int | None:
    """`@n` → n; anything else is no date."""
    return int(text[1:]) if text and re.fullmatch(r"@-?[0-9]+", text) else None


class Response:
    """What a cache knows of a response that arrived at second 0, `delay` seconds after it was asked for."""

    def __init__(self, status: int, lines: list[str], delay: int) -> None:
        self.status = status
        self.lines = lines
        self.control = directives(value_of(lines, "cache-control"))
        # §4.2.3
        date = when(value_of(lines, "date"))
        self.date = 0 if date is None else date
        age = value_of(lines, "age")
        age_value = int(age) if age and re.fullmatch("[0-9]+", age) else 0
        self.initial_age = max(max(0, 0 - self.date), age_value + delay)
        self.modified = when(value_of(lines, "last-modified"))
        self.validator = value_of(lines, "etag") is not None or self.modified is not None

    def explicit(self) -> int | None:
        # §4.2.1
        for name in ("s-maxage", "max-age"):
            found = seconds(self.control, name)
            if found is not None:
                return found
        expires = value_of(self.lines, "expires")
        if expires is not None:
            until = when(expires)
            return 0 if until is None else max(0, until - self.date)
        return None

    def may_be_guessed(self) -> bool:
        # §4.2.2
        if self.status >= 500 or self.status in NEEDS_LIFETIME:
            return False
        return self.status in HEURISTIC or has(self.control, "public")

    def lifetime(self) -> int:
        found = self.explicit()
        if found is not None:
            return found
        if not self.may_be_guessed() or self.modified is None or self.modified >= self.date:
            return 0
        return min((self.date - self.modified) // 10, 86_400)

    def age(self, now: int) -> int:
        return self.initial_age + now

    def never_stale(self) -> bool:
        # §4.2.4
        return any(has(self.control, name) for name in ("must-revalidate", "proxy-revalidate", "no-cache"))


def storable(method: str, asked: list[str], made: Response) -> bool:
    """§3, and the two rules of our own: no cookies without a lifetime said, nothing that could never be used."""
    control = made.control
    if method != "GET" or not 200 <= made.status <= 599 or made.status in (206, 304):
        return False
    if has(control, "no-store") or has(directives(value_of(asked, "cache-control")), "no-store"):
        return False
    if has(control, "private"):
        return False
    shared = has(control, "public") or has(control, "s-maxage")
    if value_of(asked, "authorization") is not None and not (shared or has(control, "must-revalidate")):
        return False
    if value_of(made.lines, "set-cookie") is not None and not shared:
        said = seconds(control, "max-age")
        if has(control, "no-cache") or (
            value_of(made.lines, "expires") is None if said is None else said <= 0
        ):
            return False
    if made.explicit() is None and not made.may_be_guessed():
        return False
    if "*" in (value_of(made.lines, "vary") or ""):
        return False
    if made.validator:
        return True
    if has(control, "no-cache"):
        return False
    window = seconds(control, "stale-while-revalidate") or 0
    errors = seconds(control, "stale-if-error") or 0
    spare = 0 if made.never_stale() else max(window, errors)
    return made.lifetime() + spare > made.age(0)


def use(asked: list[str], made: Response, now: int) -> str:
    """§4: "serve", "background" (RFC 5861 §3), "validate", "fetch" or "timeout"; `now` is since receipt."""
    control = directives(value_of(asked, "cache-control"))
    if value_of(asked, "cache-control") is None and "no-cache" in (value_of(asked, "pragma") or ""):
        control = [("no-cache", None)]
    answer = _use(control, made, now)
    if has(control, "only-if-cached") and answer in ("validate", "fetch"):
        return "timeout"
    return answer


def _use(control: list[tuple[str, str | None]], made: Response, now: int) -> str:
    left = made.lifetime() - made.age(now)
    if has(made.control, "no-cache") or has(control, "no-cache"):
        return "validate"
    oldest = seconds(control, "max-age")
    unchanging = has(made.control, "immutable") and left > 0
    if oldest is not None and (oldest == 0 or made.age(now) > oldest) and not unchanging:
        return "validate"
    needed = seconds(control, "min-fresh")
    if needed is not None and left < needed:
        return "validate"
    if left > 0:
        return "serve"
    if has(control, "no-store"):
        return "fetch"
    window = 0 if made.never_stale() else seconds(made.control, "stale-while-revalidate") or 0
    return "background" if left + window > 0 else "validate"


def use_after_failure(made: Response, now: int) -> bool:
    """§4.2.4, RFC 5861 §4: may it be served though the origin is away? Unsaid, a day."""
    left = made.lifetime() - made.age(now)
    if has(made.control, "no-cache"):
        return False
    if left > 0:
        return True
    if made.never_stale():
        return False
    said = seconds(made.control, "stale-if-error")
    if said is None:
        said = 0 if has(made.control, "s-maxage") else 86_400
    return left + said > 0
