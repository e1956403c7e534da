"""The keys under `routes`: what a request must look like, and what then happens to it and to its response."""

from __future__ import annotations

import dataclasses
from typing import Any

from cdn.config import document, fields, names
from cdn.config.checks import check_query_key
from cdn.config.kinds import BAD, Choice, Flag, FlagOr, Reader, Text, duration, nullable, or_off
from cdn.config.sections import Key, ListOf, MapOf, Section
from cdn.config.values import (
    Bypass,
    CachePolicy,
    FieldEdits,
    HeaderEdits,
    KeySpec,
    Match,
    QueryKey,
    Rewrite,
    Route,
)


class OriginName(Text):
    """The name of an origin that stands elsewhere in the file."""

    def read(self, node: document.Node, path: str, reader: Reader) -> Any:
        name = super().read(node, path, reader)
        if name is not BAD:
            reader.references.append((node.line, path, name))
        return name


class Routes(ListOf):
    def read(self, node: document.Node, path: str, reader: Reader) -> Any:
        routes = super().read(node, path, reader)
        if routes is BAD:
            return BAD
        return tuple(dataclasses.replace(route, index=index) for index, route in enumerate(routes))


def _route(**values: Any) -> Route:
    return Route(index=0, **values)


MATCH = Section(
    Match,
    (
        Key(
            "host",
            ListOf(
                Text("a host", names.parse_host_pattern),
                '[www.example.com, "*.example.org"]',
                "leave it out to match every Host",
            ),
            "Hosts, exact or `*.` and a suffix (any name below it). Left out: every Host; none is unknown.",
            "hosts",
        ),
        Key(
            "path",
            Text("a path", names.parse_path_pattern),
            "A pattern of the path in its normal form; `*` is any run, `/` included.",
        ),
        Key(
            "method",
            ListOf(Text("a method", names.parse_method), "[GET, HEAD]", "leave it out to match every method"),
            "Methods. Left out: all.",
            "methods",
        ),
    ),
    "routes[].match",
)
QUERY_KEY = Section(
    QueryKey,
    (
        Key(
            "ignore",
            ListOf(Text("a parameter", names.parse_parameter_pattern), '["utm_*", fbclid]'),
            "Parameters that are not in the key; a `*` at the end is any rest.",
        ),
        Key(
            "only",
            nullable(ListOf(Text("a parameter", names.parse_parameter_pattern), "[page, lang]")),
            "The only parameters in the key (`[]`: none); `null`: all. Not beside `ignore`.",
        ),
        Key("sort", Flag(), "Whether the order of parameters is the same to the key."),
    ),
    "routes[].cache.key.query",
    check_query_key,
)
KEY = Section(
    KeySpec,
    (
        Key("query", QUERY_KEY, "Which query parameters are in the key."),
        Key(
            "headers",
            ListOf(Text("a field name", names.parse_key_field), "[X-Device]"),
            "Request fields that are in the key.",
        ),
        Key(
            "cookies",
            ListOf(Text("a cookie's name", names.parse_cookie_name), "[currency]"),
            "Cookies that are in the key.",
        ),
    ),
    "routes[].cache.key",
)
BYPASS = Section(
    Bypass,
    (
        Key(
            "cookies",
            ListOf(Text("a cookie's name", names.parse_cookie_pattern), '["session*"]'),
            "Names of cookies; a `*` at the end is any rest.",
        ),
        Key(
            "headers",
            ListOf(Text("a field name", names.parse_field_pattern), "[X-Preview]"),
            "Names of request fields, likewise.",
        ),
        Key(
            "query",
            ListOf(Text("a parameter", names.parse_parameter_pattern), "[preview]"),
            "Names of query parameters, likewise.",
        ),
    ),
    "routes[].cache.bypass",
)
CACHE = Section(
    CachePolicy,
    (
        Key(
            "ttl",
            nullable(duration("1h", "0s", "3650d")),
            "Freshness where the response says nothing; `null`: none.",
        ),
        Key(
            "override_ttl",
            nullable(duration("1h", "0s", "3650d")),
            "Freshness whatever the response says; `null`: as it says.",
        ),
        Key(
            "stale_while_revalidate",
            duration("60s", "0s", "3650d"),
            "How long a stale response is served while a new one is fetched, if the response says nothing.",
        ),
        Key(
            "stale_if_error",
            duration("1d", "0s", "3650d"),
            "How long a stale response is served when the origin fails, if the response says nothing.",
        ),
        Key(
            "heuristic",
            Flag(),
            "Without any freshness: 10 % of Date − Last-Modified, at most 1 day, for statuses that allow it.",
        ),
        Key(
            "heuristic_errors",
            Flag(),
            "Whether heuristic and `ttl` also hold for 405, 414, 501 and `public` 5xx.",
        ),
        Key(
            "store_set_cookie",
            FlagOr("public"),
            "Whether a response with Set-Cookie is stored where it names its lifetime itself; `public`: only where it "
            "says `public` or `s-maxage`.",
        ),
        Key(
            "request_directives",
            Choice(("all", "safe", "none")),
            "Which Cache-Control directives of a request count; `safe`: none that asks for stale content.",
        ),
        Key(
            "slices",
            Flag(),
            "Whether ranges of what is not stored are fetched in units of `store.slice`; else just as asked for.",
        ),
        Key(
            "targets",
            ListOf(Text("a field name", names.parse_field_name_lower), "[cdn-cache-control]"),
            "Fields of targeted cache control (RFC 9213), the most specific first.",
        ),
        Key("bypass", BYPASS, "Requests that are passed to the origin and not stored."),
        Key("key", KEY, "What is in the cache key beside scheme, host, path and query."),
        Key(
            "status_ttl",
            MapOf(
                Text("a status", names.parse_status, int),
                duration("10s", "0s", "3650d"),
                ordered=False,
            ),
            "Freshness by status where the response says nothing, such as `{404: 10s}`.",
        ),
    ),
    "routes[].cache",
)
FIELD_VALUE = Text("a field's value", fields.parse_field_value, literal=True)


def _edits(title: str, set_name: Text) -> Section:
    return Section(
        FieldEdits,
        (
            Key(
                "set",
                MapOf(set_name, FIELD_VALUE, str.lower, show_pair=fields.shown_value),
                "Fields that are there afterwards with this value and no other.",
            ),
            Key(
                "remove",
                ListOf(Text("a field name", fields.parse_removed_field), "[Server]"),
                "Fields that are taken out; before `set`.",
            ),
        ),
        title,
    )


HEADERS = Section(
    HeaderEdits,
    (
        Key(
            "request",
            _edits("routes[].headers.request", Text("a field name", fields.parse_set_request_field)),
            "Edits of the request to the origin.",
        ),
        Key(
            "response",
            _edits("routes[].headers.response", Text("a field name", fields.parse_set_response_field)),
            "Edits of the response to the client.",
        ),
    ),
    "routes[].headers",
)
REWRITE = Section(
    Rewrite,
    (
        Key(
            "strip_prefix",
            Text("a path such as /shop", names.parse_prefix),
            "Taken off the front of the path, where it is there as whole segments; first.",
        ),
        Key(
            "add_prefix",
            Text("a path such as /v2", names.parse_prefix),
            "Put in front of what is left.",
        ),
    ),
    "routes[].rewrite",
)
ROUTE = Section(
    _route,
    (
        Key("match", MATCH, "Which requests take this route."),
        Key("origin", OriginName("the name of an origin"), "Where its responses come from."),
        Key("cache", or_off(CACHE), "What may be stored and for how long; `off`: nothing is."),
        Key(
            "rewrite",
            REWRITE,
            "The path that the origin sees; key and `match` go by the client's. See [origins](origins.md).",
        ),
        Key("headers", HEADERS, "Edits of header fields."),
        Key(
            "compress",
            ListOf(Choice(("br", "gzip", "zstd")), "[br, gzip]"),
            "Content codings that stored responses get, the preferred first; see [caching](caching.md).",
        ),
        Key("shield", Flag(), "Whether what is cached here goes through the shields, where there are any."),
    ),
    "routes[]",
    defaults={
        "cache": CachePolicy(),
        "headers": HeaderEdits(),
        "compress": (),
        "rewrite": Rewrite(),
        "shield": True,
    },
)
ROUTES = Routes(
    ROUTE,
    "[{match: {path: /*}, origin: NAME}]",
    "write at least one, such as {match: {path: /*}, origin: NAME}",
    same=None,  # one that repeats another is never reached, which is a warning
)
