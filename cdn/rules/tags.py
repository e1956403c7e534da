"""Names under which stored responses are invalidated together: tags for purges, and cache groups (RFC 9875).

Only reads the names; which records carry them is the store's to know. Groups belong to an origin, so two
sites may use the same name; tags belong to whoever may purge.
"""

from __future__ import annotations

from cdn.rules.fields import list_members
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.structured import Item, MalformedError, Token, parse_list
from cdn.rules.use import is_unsafe

MAX_TAGS = 256  # of one response; RFC 9875 §2 asks for at least 32 groups
MAX_LENGTH = 1024
MAX_TOTAL = 16_384  # characters of all tags of one response
_GROUP = "\x01"


def tags_of(request: RequestHead, fields: Fields) -> tuple[str, ...]:
    """What a stored response is filed under: Surrogate-Key, Cache-Tag, then its cache groups; without
    repeats. Where there are more than are kept, the groups stay first.
    """
    out = [group_tag(request, name) for name in group_names(fields, "cache-groups")]
    surrogate = fields.get("surrogate-key")
    if surrogate is not None:
        out += surrogate.replace(",", " ").split()
    listed = fields.get("cache-tag")
    if listed is not None:
        out += list_members(listed)
    return _bounded(out) if out else ()


def _bounded(tags: list[str]) -> tuple[str, ...]:
    kept: list[str] = []
    total = 0
    for tag in dict.fromkeys(tag for tag in tags if len(tag) <= MAX_LENGTH):
        total += len(tag)
        if total > MAX_TOTAL or len(kept) == MAX_TAGS:
            break
        kept.append(tag)
    return tuple(kept)


def origin_of(request: RequestHead) -> str:
    """What groups belong to (RFC 9875 §2): scheme, host and port."""
    return f"{request.scheme}://{request.authority}"


def is_group(tag: str) -> bool:
    return tag.startswith(_GROUP)


def group_tag(request: RequestHead, name: str) -> str:
    """A group as a tag: with its origin, and with bytes that no field value has, so that no tag can be
    mistaken for it.
    """
    return f"{_GROUP}{origin_of(request)}{_GROUP}{name}"


def group_names(fields: Fields, field: str) -> list[str]:
    """The strings of a Cache-Groups or Cache-Group-Invalidation field; none when it is malformed (RFC 9875
    §2, §3).
    """
    value = fields.get(field)
    if value is None:
        return []
    try:
        members = parse_list(value)
    except MalformedError:
        return []
    names: list[str] = []
    for member in members:
        if (
            not isinstance(member, Item)
            or not isinstance(member.value, str)
            or isinstance(member.value, Token)
        ):
            return []
        names.append(member.value)
    return names


def invalidated_tags(request: RequestHead, response: ResponseHead) -> list[str]:
    """The groups that a non-error response to an unsafe request makes invalid (RFC 9875 §3), as tags."""
    if not is_unsafe(request.method) or not 200 <= response.status <= 399:
        return []
    names = group_names(response.fields, "cache-group-invalidation")
    return [group_tag(request, name) for name in dict.fromkeys(names)][:MAX_TAGS]
