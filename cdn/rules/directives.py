"""Cache directives as values: Cache-Control of requests and responses, Pragma, and targeted fields (RFC
9213).

Decides what the text of a field says, not what follows from it. Where text is malformed, the reading that
restricts more wins: a lifetime that is no number is zero (RFC 9111 §4.2.1), a restriction stays one whatever
hangs on it, a permission with an argument that it does not take is none. Of repeated directives the first
counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cdn.rules.fields import is_token, list_members, unquote
from cdn.rules.message import Fields
from cdn.rules.norms import DELTA_MAX, TARGET_LIST
from cdn.rules.structured import InnerList, MalformedError, parse_dictionary

_RESTRICTIONS = frozenset({"no-store", "no-cache", "private", "must-revalidate", "proxy-revalidate"})
_WORDS = re.compile(r'[\s;,"=]+')
_CACHED_LENGTH = 512  # longer values are not worth remembering

BAD = "\x00"  # the argument of a directive whose argument is malformed


@dataclass(frozen=True, slots=True)
class CacheControl:
    """The directives of one field in order: lower-case names, arguments unquoted, None without one, `BAD` if
    malformed.
    """

    directives: tuple[tuple[str, str | None], ...]

    def has(self, name: str) -> bool:
        return any(known == name for known, _ in self.directives)

    def argument(self, name: str) -> str | None:
        """The argument of the first directive of this name; None when it has none or does not occur."""
        for known, argument in self.directives:
            if known == name:
                return argument
        return None

    def flag(self, name: str) -> bool:
        """A permission: occurs, and without an argument."""
        return (name, None) in self.directives

    def seconds(self, name: str) -> int | None:
        """delta-seconds, at most 2^31; None when the directive does not occur, 0 for no valid number."""
        for known, argument in self.directives:
            if known == name:
                return delta_seconds(argument)
        return None


def delta_seconds(text: str | None) -> int:
    """RFC 9111 §1.2.2; 0 for anything but digits."""
    if not text or not text.isascii() or not text.isdigit():
        return 0
    digits = text.lstrip("0")
    return min(int(digits), DELTA_MAX) if 0 < len(digits) <= 10 else (DELTA_MAX if digits else 0)


def parse_cache_control(value: str) -> CacheControl:
    """All lines of the field as one list (RFC 9110 §5.3). Never fails."""
    return _parse_cached(value) if len(value) <= _CACHED_LENGTH else _parse(value)


def _parse(value: str) -> CacheControl:
    out: list[tuple[str, str | None]] = []
    for member in list_members(value):
        name, equals, argument = member.partition("=")
        name = name.lower()
        if is_token(name):
            if not equals:
                out.append((name, None))
                continue
            text = unquote(argument) if argument[:1] == '"' else argument
            if text is not None and (argument[:1] == '"' or is_token(text)):
                out.append((name, text))
                continue
        # Malformed: the first word keeps its meaning with a bad argument, and restrictions named anywhere
        # hold.
        words = [word for word in _WORDS.split(member.lower()) if word]
        out.extend((word, BAD if word == words[0] else None) for word in words[:1])
        out.extend((word, None) for word in words if word in _RESTRICTIONS)
    return CacheControl(tuple(out))


_parse_cached = lru_cache(maxsize=1024)(_parse)


@dataclass(frozen=True, slots=True)
class RequestDirectives:
    """RFC 9111 §5.2.1 and RFC 5861 §4; numbers are seconds, None where not said."""

    no_cache: bool = False
    no_store: bool = False
    no_transform: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    min_fresh: int | None = None
    max_stale: int | None = None  # DELTA_MAX when given without a number
    stale_if_error: int | None = None


NO_REQUEST_DIRECTIVES = RequestDirectives()


@dataclass(frozen=True, slots=True)
class ResponseDirectives:
    """RFC 9111 §5.2.2, RFC 5861, RFC 8246; numbers are seconds, None where not said.

    `no_cache` and `private` are the unqualified forms; the fields of the qualified ones are in `unstored`,
    since keeping a field out of the store satisfies both. `targeted` names the RFC 9213 field all this was
    read from, "" for Cache-Control: Cache-Control and Expires then do not count. `present` is False when
    nothing was said at all.
    """

    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    no_transform: bool = False
    immutable: bool = False
    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    unstored: frozenset[str] = frozenset()
    targeted: str = ""
    present: bool = False


NO_RESPONSE_DIRECTIVES = ResponseDirectives()


def _qualified(control: CacheControl, name: str) -> tuple[bool, frozenset[str]]:
    """(restricts everything, field names it is limited to) of `no-cache` or `private` (RFC 9111 §5.2.2.4,
    §5.2.2.7).
    """
    names: set[str] = set()
    for known, argument in control.directives:
        if known != name:
            continue
        listed = [] if argument is None else [part.lower() for part in list_members(argument)]
        if not listed or not all(is_token(part) for part in listed):
            return True, frozenset()
        names.update(listed)
    return False, frozenset(names)


def _understand(control: CacheControl, targeted: str) -> ResponseDirectives:
    no_cache, no_cache_fields = _qualified(control, "no-cache")
    private, private_fields = _qualified(control, "private")
    return ResponseDirectives(
        no_store=control.has("no-store"),
        no_cache=no_cache,
        private=private,
        public=control.flag("public"),
        must_revalidate=control.has("must-revalidate"),
        proxy_revalidate=control.has("proxy-revalidate"),
        must_understand=control.flag("must-understand"),
        no_transform=control.has("no-transform"),
        immutable=control.flag("immutable"),
        max_age=control.seconds("max-age"),
        s_maxage=control.seconds("s-maxage"),
        stale_while_revalidate=control.seconds("stale-while-revalidate"),
        stale_if_error=control.seconds("stale-if-error"),
        unstored=no_cache_fields | private_fields,
        targeted=targeted,
        present=bool(control.directives),
    )


def _remembered(read: Callable[[str], ResponseDirectives]) -> Callable[[str], ResponseDirectives]:
    cached = lru_cache(maxsize=1024)(read)
    return lambda value: cached(value) if len(value) <= _CACHED_LENGTH else read(value)


@_remembered
def _plain_response(value: str) -> ResponseDirectives:
    return _understand(parse_cache_control(value), "")


def parse_targeted(value: str) -> CacheControl | None:
    """A targeted field (RFC 9213 §2.1) as directives, or None when it is malformed or empty and so does not
    count.

    Values of a type that the directive cannot have are `BAD`; parameters and `?0` members say nothing.
    """
    try:
        members = parse_dictionary(value)
    except MalformedError:
        return None
    if not members:
        return None
    out: list[tuple[str, str | None]] = []
    for name, member in members.items():
        if isinstance(member, InnerList):
            out.append((name, BAD))
            continue
        bare = member.value
        if bare is False:
            continue
        if bare is True:
            out.append((name, None))
        elif isinstance(bare, int) or (isinstance(bare, str) and name in ("no-cache", "private")):
            out.append((name, str(bare)))
        else:
            out.append((name, BAD))
    return CacheControl(tuple(out))


def response_directives(fields: Fields, targets: Sequence[str] = TARGET_LIST) -> ResponseDirectives:
    """What governs this response: the first valid field of `targets`, else Cache-Control."""
    for name in targets:
        value = fields.get(name)
        if value is not None:
            control = parse_targeted(value)
            if control is not None:
                return _understand(control, name)
    value = fields.get("cache-control")
    return NO_RESPONSE_DIRECTIVES if value is None else _plain_response(value)


def request_directives(fields: Fields) -> RequestDirectives:
    """What the client asks of caches; `Pragma: no-cache` counts where there is no Cache-Control (RFC 9111
    §5.4).
    """
    value = fields.get("cache-control")
    if value is None:
        pragma = fields.get("pragma")
        if pragma is not None and parse_cache_control(pragma).has("no-cache"):
            return RequestDirectives(no_cache=True)
        return NO_REQUEST_DIRECTIVES
    control = parse_cache_control(value)
    max_stale: int | None = None
    if control.has("max-stale"):
        max_stale = DELTA_MAX if control.argument("max-stale") is None else control.seconds("max-stale")
    return RequestDirectives(
        no_cache=control.has("no-cache"),
        no_store=control.has("no-store"),
        no_transform=control.has("no-transform"),
        only_if_cached=control.has("only-if-cached"),
        max_age=control.seconds("max-age"),
        min_fresh=control.seconds("min-fresh"),
        max_stale=max_stale,
        stale_if_error=control.seconds("stale-if-error"),
    )
