"""Names and patterns that routes use: hosts, paths, methods, header fields, cookies, query parameters.

Each function takes what was written and returns its normal form, or raises BadValueError with what to write.
Sources: RFC 9110 §5 (fields), §9 (methods), RFC 3986 (paths), RFC 6265 §4.1 (cookie names).
"""

from __future__ import annotations

import ipaddress
import re

from cdn.config.addresses import parse_host, punycode
from cdn.config.problems import BadValueError, nearest, quote

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NODE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# pchar and "/" of RFC 3986, and `*`, which is one of them too but stands for any run here.
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")

# IANA's registry of methods; CONNECT, TRACE and PRI are refused before routes are asked.
# fmt: off
METHODS = frozenset((
    "ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "DELETE", "GET", "HEAD",
    "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF",
    "MKWORKSPACE", "MOVE", "OPTIONS", "ORDERPATCH", "PATCH", "POST", "PROPFIND", "PROPPATCH", "PUT",
    "QUERY", "REBIND", "REPORT", "SEARCH", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE",
    "UPDATEREDIRECTREF", "VERSION-CONTROL",
))
# fmt: on
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE", "PRI"})


def parse_node_name(text: str) -> str:
    """A name that can stand in Via and Cache-Status: a letter, then letters, digits and `.` `_` `-`."""
    if not _NODE.fullmatch(text):
        raise BadValueError(
            f"is {quote(text)}; a node's name is a letter, then letters, digits, `.`, `_` or `-`, at most 64"
        )
    return text


def parse_origin_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise BadValueError(
            f"is {quote(text)}; an origin's name is letters, digits, `.`, `_` or `-`, at most 64"
        )
    return text


def parse_environment_name(text: str) -> str:
    """The name of an environment variable. What was written is not repeated: it may be the secret itself."""
    if not _ENVIRONMENT.fullmatch(text):
        raise BadValueError(
            "must be the name of an environment variable (letters, digits, `_`), not the token itself"
        )
    return text


def parse_stream_name(text: str) -> str:
    """The name of a stream, which begins the subjects of its messages, too."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise BadValueError(f"is {quote(text)}; a stream's name is letters, digits, `_` and `-`, at most 64")
    return text


def parse_host_pattern(text: str) -> str:
    """`www.example.com`, `*.example.org` (any name below it) or an IP literal; in lower case."""
    if not text.isascii():
        raise BadValueError(f"is {quote(text)}; a host is ASCII here: write {punycode(text.lower())}")
    if text == "*":
        raise BadValueError("is `*`; leave `host` out to match every Host")
    if "/" in text:
        raise BadValueError(f"is {quote(text)}; it is a host name, not a URL")
    literal = _ip_literal(text)
    if literal is not None:
        return literal
    if ":" in text:
        raise BadValueError(
            f"is {quote(text)}; a host is matched without its port, an IPv6 address in brackets"
        )
    name = text.removeprefix("*.")
    if "*" in name:
        near = "*." + re.sub(r"^.*\*\.?", "", text) if not text.endswith("*") else "*.example.org"
        raise BadValueError(
            f"is {quote(text)}; a `*` stands for whole labels in front: did you mean {quote(near)}?"
        )
    try:
        return text[: len(text) - len(name)].lower() + parse_host(name)
    except BadValueError as error:
        raise BadValueError(f"is {quote(text)}; {error}") from None


def _ip_literal(text: str) -> str | None:
    try:
        if text.startswith("[") and text.endswith("]"):
            return f"[{ipaddress.IPv6Address(text[1:-1])}]"
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return None


def parse_path_pattern(text: str) -> str:
    """A glob over the normal form of the path: `*` matches any run of bytes, `/` included."""
    if "://" in text:
        raise BadValueError(f"is {quote(text)}; it is a path, not a URL: hosts stand under `host`")
    if not text.startswith("/"):
        raise BadValueError(f"is {quote(text)}; a path begins with `/`: did you mean {quote('/' + text)}?")
    if "?" in text or "#" in text:
        raise BadValueError(f"is {quote(text)}; a path ends before `?` and `#`")
    if not text.isascii():
        encoded = "".join(c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode()) for c in text)
        raise BadValueError(f"is {quote(text)}; a path is ASCII: write {quote(encoded)}")
    if not _PATH.fullmatch(text):
        bad = next(c for c in text if not _PATH.fullmatch(c))
        raise BadValueError(f"is {quote(text)}; a path holds no {quote(bad)}: write `%{ord(bad):02X}`")
    if any(found[1] is None for found in _ESCAPE.finditer(text)):
        raise BadValueError(f"is {quote(text)}; a `%` is followed by two hexadecimal digits")
    if "%00" in text:
        raise BadValueError(f"is {quote(text)}; a path never holds `%00`")
    normal = _ESCAPE.sub(_normal_escape, text)
    if any(segment in {".", ".."} for segment in normal.split("/")):
        raise BadValueError(
            f"is {quote(text)}; `.` and `..` are resolved before paths are matched: leave them out"
        )
    if normal != text:
        raise BadValueError(
            f"is {quote(text)}; paths are matched in their normal form: write {quote(normal)}"
        )
    return re.sub(r"\*+", "*", text)


def parse_prefix(text: str) -> str:
    """The beginning of a path, as whole segments, in normal form: `/shop`; "" for none."""
    if not text or text == "/":
        return ""
    parse_path_pattern(text)
    if "*" in text:
        raise BadValueError(f"is {quote(text)}; a prefix is taken as it stands, without `*`")
    if text.endswith("/") or "//" in text:
        raise BadValueError(
            f"is {quote(text)}; a prefix ends without `/`: write {quote(re.sub('/+', '/', text).rstrip('/'))}"
        )
    return text


def parse_check_path(text: str) -> str:
    """A path and perhaps a query, as it is sent."""
    path, mark, query = text.partition("?")
    parse_path_pattern(path)
    if "*" in path:
        raise BadValueError(f"is {quote(text)}; a check asks for one path, without `*`")
    if mark and re.search(r"[^!-~]|#", query):
        raise BadValueError(f"is {quote(text)}; a query is ASCII without spaces or `#`")
    return text


def _normal_escape(found: re.Match[str]) -> str:
    char = chr(int(found[1], 16))
    return char if char in _UNRESERVED else found[0].upper()


def parse_method(text: str) -> str:
    if text in METHODS:
        return text
    if text in _REFUSED_METHODS:
        raise BadValueError(f"is {quote(text)}, which is refused before any route is asked")
    near = text.upper() if text.upper() in METHODS else nearest(text, sorted(METHODS))
    hint = f"; did you mean {quote(near)}?" if near else "; leave `method` out to match every method"
    raise BadValueError(f"is {quote(text)}, no registered HTTP method{hint}")


def parse_status(text: str) -> int:
    """A final status that can be stored whole."""
    if not re.fullmatch(r"[2-5][0-9][0-9]", text):
        raise BadValueError(f"is {quote(text)}; a status is a number from 200 to 599")
    if text in {"206", "304"}:
        raise BadValueError(
            f"is {quote(text)}, which takes its freshness from the response that it is a part of"
        )
    return int(text)


def parse_field_name(text: str) -> str:
    """A header field's name as written."""
    if not _TOKEN.fullmatch(text) or len(text) > 128:
        raise BadValueError(f"is {quote(text)}; a header field's name is letters, digits and `-`")
    return text


def parse_field_name_lower(text: str) -> str:
    return parse_field_name(text).lower()


def parse_key_field(text: str) -> str:
    """A request field that goes into the cache key, in lower case."""
    name = parse_field_name(text).lower()
    if name == "host":
        raise BadValueError("is `host`, which is in every cache key already")
    if name == "cookie":
        raise BadValueError("is `cookie`; name the cookies under `key.cookies`")
    return name


def parse_field_pattern(text: str) -> str:
    """A request field's name, perhaps with a `*` at its end, in lower case."""
    _only_final_star(text)
    parse_field_name(text)
    return text.lower()


def parse_cookie_name(text: str) -> str:
    if not _TOKEN.fullmatch(text) or len(text) > 128:
        raise BadValueError(f"is {quote(text)}, which no cookie can be called")
    if "*" in text:
        raise BadValueError(f"is {quote(text)}; a cookie of the cache key is named whole, without `*`")
    return text


def parse_cookie_pattern(text: str) -> str:
    """A cookie's name, perhaps with a `*` at its end; upper and lower case differ."""
    _only_final_star(text)
    if not _TOKEN.fullmatch(text) or len(text) > 128:
        raise BadValueError(f"is {quote(text)}, which no cookie can be called")
    return text


def parse_parameter_pattern(text: str) -> str:
    """A query parameter's name, perhaps with a `*` at its end; upper and lower case differ."""
    _only_final_star(text)
    if not text or len(text) > 128 or re.search(r"[^!-~]|[&=#?]", text):
        raise BadValueError(
            f"is {quote(text)}; a parameter's name is ASCII without `&`, `=`, `#`, `?` or spaces"
        )
    return text


def _only_final_star(text: str) -> None:
    if "*" in text[:-1]:
        raise BadValueError(f"is {quote(text)}; a `*` stands at the end only")
