"""The normal form: `parse` reads it as the same values; it is its own normal form and holds no secret."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.config import parse, render

NAME = st.from_regex(r"[a-z][a-z0-9_-]{0,8}[a-z0-9]", fullmatch=True)
HOST = st.from_regex(r"(\*\.)?[A-Za-z][a-z0-9]{0,5}(\.[a-z]{2,5})?", fullmatch=True)
SIZE = st.builds("{}{}".format, st.integers(1, 16), st.sampled_from([" GiB", "GiB", " GB"]))
DURATION = st.builds("{}{}".format, st.integers(10, 600), st.sampled_from(["ms", "s"])) | st.just("5m")
SERVER = st.builds(
    "{}://{}{}".format, st.sampled_from(["http", "https"]), NAME, st.sampled_from(["", ":1", ":65535"])
)
TOKEN = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True)
FIELD = st.from_regex(r"[Xx]-[BCDFGbcdfg]{1,6}", fullmatch=True)  # none that tells of a secret
PATTERN = st.builds("{}{}".format, TOKEN, st.sampled_from(["", "*"]))
VALUE = st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(str.strip)


def unique(items: st.SearchStrategy[str], least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(items, min_size=least, max_size=3, unique_by=str.lower)


def optional(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=parts)


EDITS = optional(
    set=st.lists(st.tuples(FIELD, VALUE), max_size=3, unique_by=lambda pair: pair[0].lower()).map(dict),
    remove=unique(FIELD),
)
QUERY = optional(ignore=unique(PATTERN), sort=st.booleans()) | optional(only=st.none() | unique(PATTERN))
CACHE = optional(
    ttl=st.none() | DURATION,
    override_ttl=st.none() | DURATION,
    stale_while_revalidate=DURATION,
    stale_if_error=st.just("0s") | DURATION,
    heuristic=st.booleans(),
    bypass=optional(cookies=unique(PATTERN), headers=unique(FIELD), query=unique(PATTERN)),
    key=optional(query=QUERY, headers=unique(FIELD), cookies=unique(TOKEN)),
    status_ttl=st.dictionaries(st.sampled_from(["200", "404", "503"]), DURATION),
)


def route(origins: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "match": optional(
                host=unique(HOST, 1),
                path=st.sampled_from(["/", "/*", "/a/**", "/*.css", "/a%2Fb"]),
                method=st.lists(st.sampled_from(["GET", "HEAD", "POST"]), min_size=1, unique=True),
            ),
            "origin": st.sampled_from(origins),
        },
        optional={"cache": st.just(False) | CACHE, "headers": optional(request=EDITS, response=EDITS)},
    )


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    origin = st.fixed_dictionaries(
        {
            "servers": st.lists(
                SERVER | st.fixed_dictionaries({"url": SERVER}, optional={"weight": st.integers(1, 9)}),
                min_size=1,
                max_size=1,
            )
        },
        optional={"host": st.none() | NAME, "timeouts": optional(connect=DURATION, idle=DURATION)},
    )
    origins = draw(st.dictionaries(NAME, origin, min_size=1, max_size=3))
    ports = draw(st.lists(st.integers(1, 65535), min_size=2, max_size=4, unique=True))
    document: dict[str, Any] = {
        "listen": [f"http://127.0.0.1:{port}" for port in ports[1:]],
        "origins": origins,
        "routes": draw(st.lists(route(sorted(origins)), min_size=1, max_size=3)),
    }
    return document | draw(
        optional(
            node=optional(name=NAME, tier=st.just("edge")),
            workers=st.just("auto") | st.integers(1, 9),
            busy_poll=st.sampled_from(["off", False, "20us", "7 µs", "1ms"]),
            admin=optional(token_env=st.just("TOKEN")).map(
                lambda admin: {"listen": f"http://127.0.0.1:{ports[0]}"} | admin
            ),
            trusted_proxies=st.lists(st.sampled_from(["10.0.0.0/8", "::/0", "192.0.2.1"]), unique=True),
            store=optional(memory=SIZE, eviction=st.sampled_from(["lru", "sieve", "s3fifo"])),
            limits=optional(body=SIZE, object=SIZE, fields=st.integers(1, 256)),
            timeouts=optional(head=DURATION, idle=DURATION, drain=DURATION),
            log=st.fixed_dictionaries(
                {"access": st.just(False) | optional(to=st.just("stderr"), format=st.just("combined"))}
            ),
        )
    )


@settings(max_examples=150, deadline=None)
@given(documents())
def test_the_normal_form_is_a_fixed_point(document: dict[str, Any]) -> None:
    config = parse(json.dumps(document))
    normal = render(config)
    assert parse(normal) == config
    assert render(parse(normal)) == normal


@settings(max_examples=50, deadline=None)
@given(documents())
def test_the_normal_form_keeps_what_was_written(document: dict[str, Any]) -> None:
    shown = yaml.safe_load(render(parse(json.dumps(document))))
    assert [route["origin"] for route in shown["routes"]] == [route["origin"] for route in document["routes"]]
    assert list(shown["origins"]) == list(document["origins"])
    for route, written in zip(shown["routes"], document["routes"], strict=True):
        sets = written.get("headers", {}).get("response", {}).get("set", {})
        assert route["headers"]["response"]["set"] == sets
        assert [host.lower() for host in written["match"].get("host", [])] == route["match"].get("host", [])


SECRET = """\
listen: [http://127.0.0.1:8080]
admin: {listen: http://127.0.0.1:9090, token_env: CDN_ADMIN_TOKEN}
origins:
  app: {servers: [http://127.0.0.1:9000]}
routes:
  - match: {host: [a.example]}
    origin: app
    headers: {request: {set: {Authorization: Bearer hunter2, X-Api-Key: hunter2}}}
"""


def test_no_secret_is_shown(monkeypatch: Any) -> None:
    monkeypatch.setenv("CDN_ADMIN_TOKEN", "hunter2")
    config = parse(SECRET)
    assert dict(config.routes[0].headers.request.set)["X-Api-Key"] == "hunter2"
    normal = render(config)
    assert "hunter2" not in normal
    assert "CDN_ADMIN_TOKEN" in normal
    assert render(parse(normal)) == normal
