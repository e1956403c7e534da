"""The fields of a message as it goes on: to the origin, and back to the client.

Decides what a node adds, removes and believes: Via, CDN-Loop, X-Forwarded-*, Forwarded, Host, and the route's
edits.
"""

from __future__ import annotations

from cdn.config.values import FieldEdits, Rewrite
from cdn.rules.fields import end_to_end, is_token, list_members
from cdn.rules.message import Fields, RequestHead
from cdn.rules.norms import LOOP_LIMIT, LOOP_MEMBERS

# Fields that some servers let decide which resource or method is meant. They are not in the cache key, so
# from a peer that is not trusted they never reach an origin: the answer could be stored under another
# resource's key.
_REWRITING = frozenset(
    {"x-forwarded", "x-original-url", "x-rewrite-url", "x-original-host", "x-host", "x-original-uri"}
)
_METHOD_OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
_OWN_WORD = frozenset({"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-real-ip"})
_WRITTEN = frozenset(
    {
        "host",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "forwarded",
        "via",
        "cdn-loop",
        "cdn-edge",
    }
)


def loops(fields: Fields, node: str) -> bool:
    """Has this request been here before (RFC 8586)? Then it is refused with 508."""
    value = fields.get("cdn-loop")
    if value is None:
        return False
    names = [member.partition(";")[0].strip(" \t") for member in list_members(value)]
    return names.count(loop_id(node)) >= LOOP_LIMIT or len(names) >= LOOP_MEMBERS


def loop_id(node: str) -> str:
    """The node's cdn-id: a pseudonym made of token characters."""
    return node if is_token(node) else "".join(char if is_token(char) else "-" for char in node) or "cdn"


def origin_fields(
    request: RequestHead,
    *,
    node: str,
    peer: str,
    trusted: bool,
    host: str | None = None,
    edits: FieldEdits | None = None,
    fields: Fields | None = None,
) -> Fields:
    """The request's fields for the origin. `fields` replaces the client's (a validation or a fill); framing
    is not here.

    `peer` is the client's address, an IP literal; what it says about earlier hops counts only when `trusted`.
    """
    source = request.fields if fields is None else fields
    kept = end_to_end(source)
    believed = source if trusted else Fields()
    out = [("Host", host or request.authority)]
    out.extend(line for line in kept if not replaced(line[0].lower(), request.method, trusted=trusted))
    out.append(("X-Forwarded-For", _appended(believed.get("x-forwarded-for"), peer)))
    out.append(("X-Forwarded-Proto", _first(believed, "x-forwarded-proto") or request.scheme))
    out.append(("X-Forwarded-Host", _first(believed, "x-forwarded-host") or request.authority))
    out.append(("Forwarded", _appended(believed.get("forwarded"), forwarded_element(request, peer))))
    out.append(("Via", _appended(source.get("via"), via_member(request.version, node))))
    out.append(("CDN-Loop", _appended(source.get("cdn-loop"), loop_id(node))))
    return edit(Fields(out), edits)


def replaced(name: str, method: str, *, trusted: bool) -> bool:
    """Whether a field of the client's, `name` in lower case, does not go to the origin as it is."""
    if name in _WRITTEN:
        return True
    if trusted:
        return False
    if name in _OWN_WORD or name in _REWRITING or name.startswith("x-forwarded-"):
        return True
    return method in ("GET", "HEAD") and name in _METHOD_OVERRIDES


def continued(name: str, *, trusted: bool) -> bool:
    """Whether what we write under this name (lower case) depends on what the client sent under it."""
    return name in ("via", "cdn-loop") or (trusted and name in _WRITTEN and name != "host")


def forwarded_element(request: RequestHead, peer: str) -> str:
    """One hop for the Forwarded field (RFC 7239 §4)."""
    address = f'"[{peer}]"' if ":" in peer else peer
    host = request.authority if is_token(request.authority) else f'"{request.authority}"'
    return f"for={address};host={host};proto={request.scheme}"


def origin_path(path: str, rewrite: Rewrite) -> str:
    """The path that the origin is asked for. A prefix is stripped where it stands there as whole segments."""
    if not path.startswith("/"):
        return path  # OPTIONS *
    prefix = rewrite.strip_prefix
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        path = path[len(prefix) :] or "/"
    if not rewrite.add_prefix:
        return path
    return rewrite.add_prefix + path


def _appended(before: str | None, member: str) -> str:
    return f"{before}, {member}" if before else member


def _first(fields: Fields, name: str) -> str | None:
    lines = fields.all(name)
    return lines[0] if lines and lines[0] else None


def edit(fields: Fields, edits: FieldEdits | None) -> Fields:
    """The route's edits: remove, then set (every field of that name is replaced by the one)."""
    if edits is None or not (edits.set or edits.remove):
        return fields
    drop = [name.lower() for name in edits.remove] + [name.lower() for name, _ in edits.set]
    return fields.without(drop).plus(edits.set)


def via_member(version: tuple[int, int], node: str) -> str:
    return f"{version[0]}.{version[1]} {loop_id(node)}"


def client_fields(
    fields: Fields, *, node: str, version: tuple[int, int], edits: FieldEdits | None = None
) -> Fields:
    """A response's fields for the client: end to end, the route's edits, then our Via. `version` is the
    origin's.
    """
    return edit(end_to_end(fields), edits).plus([("Via", via_member(version, node))])
