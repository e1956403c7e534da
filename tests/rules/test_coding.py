"""Which coding a response gets, and what its head then says (RFC 9110 §8.4, §12.5.3; RFC 9111 §5.2)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn.proxy.lookup import normal_value
from cdn.rules.coding import (
    Plan,
    accepted,
    alone,
    compressible,
    fits,
    negotiated,
    normal_encoding,
    not_modified,
    outdated,
    plan,
    varying,
)
from cdn.rules.conditional import if_range_passes
from cdn.rules.message import Fields
from cdn.rules.outcome import NoStoreReason
from cdn.rules.stored import Flag, Stored
from cdn.rules.storing import DontStore, Store
from cdn.rules.validation import (
    HeadUpdate,
    freshen,
    head_update,
    selects,
    validation_request,
    variants_request,
)
from cdn.rules.vary import key_extras
from tests.rules.make import NOW, NOW_S, POLICY, date, decided, fields, request, response

ALL = ("zstd", "br", "gzip")
TWO = ("br", "gzip")
CODED = Flag.NEGOTIATED | Flag.CODED

# Accept-Encoding → of (br, gzip), the best first
ACCEPTED = {
    None: "",
    "": "",
    "gzip": "gzip",
    "br": "br",
    "gzip, br": "br gzip",
    "gzip, deflate, br, zstd": "br gzip",
    "GZIP, BR": "br gzip",
    "x-gzip": "gzip",
    "deflate": "",
    "identity": "",
    "*": "br gzip",
    "gzip, *;q=0": "gzip",
    "gzip;q=0, *": "br",
    "*;q=0": "",
    "br;q=0, gzip;q=0": "",
    "gzip;q=1.0, br;q=0.5": "gzip br",
    "gzip;q=0.001, br;q=0.002": "br gzip",
    "gzip;q=0.8, br;q=0.8": "br gzip",
    "gzip ; q=0.5 , br ; q=0.4": "gzip br",
    "gzip;Q=0.5, br;q=0.6": "br gzip",
    # identity is the last resort unless it is named, or `*` speaks for it (§12.5.3)
    "gzip;q=0.5, identity;q=0.5": "gzip",
    "gzip;q=0.4, identity;q=0.5": "",
    "gzip;q=0.4, identity": "",
    "gzip;q=0.5, br, identity;q=0.6": "br",
    "gzip;q=0.4, *;q=0.5": "br",
    "identity;q=0": "",
    "gzip, identity;q=0": "gzip",
    "identity;q=1, *;q=0": "",  # what browsers send for audio and video
    # what is malformed says nothing
    "gzip;q=2": "",
    "gzip;q=0.1234": "",
    "gzip;q=-1, br": "br",
    "gzip;q=, br": "br",
    "gzip;q": "",
    "gzip;level=9": "",
    "gzip;q=nan": "",
    "gzip;q=٠": "",
    "gzip br": "",
    ",, gzip ,,": "gzip",
    # of repeated ones the first counts
    "gzip;q=0, gzip": "",
    "gzip, gzip;q=0": "gzip",
}


@pytest.mark.parametrize(("value", "wanted"), ACCEPTED.items())
def test_accepted(value: str | None, wanted: str) -> None:
    assert " ".join(accepted(value, TWO)) == wanted


def test_accepted_of_a_long_value() -> None:
    assert accepted("x, " * 200 + "gzip", TWO) == ("gzip",)


NORMAL = {
    (None, TWO): "identity",
    ("deflate", TWO): "identity",
    ("gzip, deflate, br, zstd", TWO): "br, gzip",
    ("br;q=0.9, gzip;q=0.9", TWO): "br, gzip",
    ("gzip, br;q=0.2", TWO): "gzip, br;q=0.9",
    ("br;q=0.3, gzip;q=0.2, zstd;q=0.1", ALL): "br, gzip;q=0.9, zstd;q=0.8",
    ("br, gzip", ALL): "br, gzip",
    ("br, gzip", ("gzip", "br")): "gzip, br",
}


@pytest.mark.parametrize(("case", "wanted"), NORMAL.items())
def test_normal_encoding(case: tuple[str | None, tuple[str, ...]], wanted: str) -> None:
    assert normal_encoding(*case) == wanted


tokens = st.sampled_from(["br", "gzip", "zstd", "identity", "*", "deflate", "BR", "x-gzip", ""])
weights = st.sampled_from(["", ";q=0", ";q=1", ";q=0.5", ";q=0.51", " ; q=0.3", ";q=7", ";x=1"])
values = st.lists(st.tuples(tokens, weights).map("".join), max_size=6).map(", ".join)
lists = st.permutations(ALL).flatmap(lambda order: st.integers(1, 3).map(lambda n: tuple(order[:n])))


@given(values, lists)
def test_the_normal_form_says_the_same_and_is_its_own(value: str, codings: tuple[str, ...]) -> None:
    normal = normal_encoding(value, codings)
    assert accepted(normal, codings) == accepted(value, codings)
    assert normal_encoding(normal, codings) == normal


@given(values, lists)
def test_the_lane_gets_the_same_key(value: str, codings: tuple[str, ...]) -> None:
    """What the hit lane remembers is what the exchange looks up after `negotiated`."""
    asked = negotiated(request(f"Accept-Encoding: {value}"), codings)
    name = "accept-encoding\0" + ",".join(codings)
    assert normal_value(name, value) == key_extras(("accept-encoding",), asked.fields)[0]


@given(st.lists(values, max_size=60))
def test_there_are_few_variants(sent: list[str]) -> None:
    """Whatever clients send: ordered choices of three codings, and none."""
    assert len({normal_encoding(value, ALL) for value in sent}) <= 16


NEGOTIATED = {
    (): "identity",
    ("Accept-Encoding: gzip",): "gzip",
    ("Accept-Encoding: gzip", "Accept-Encoding: br"): "br, gzip",
    ("Accept-Encoding: gzip", "Cache-Control: no-transform"): "identity",
    ("Accept-Encoding: gzip", "Cache-Control: max-age=0, No-Transform"): "identity",
    ("Accept-Encoding: gzip", "Cache-Control: max-age=0"): "gzip",
}


@pytest.mark.parametrize(("lines", "wanted"), NEGOTIATED.items())
def test_negotiated(lines: tuple[str, ...], wanted: str) -> None:
    asked = negotiated(request("X-Other: kept", *lines), TWO)
    assert asked.fields.all("accept-encoding") == [wanted]
    assert asked.fields.all("x-other") == ["kept"]


def test_a_route_may_not_listen_to_requests() -> None:
    asked = negotiated(request("Accept-Encoding: br", "Cache-Control: no-transform"), TWO, directives=False)
    assert asked.fields.all("accept-encoding") == ["br"]


TYPES = {
    "text/html": True,
    "text/html; charset=utf-8": True,
    "Text/HTML": True,
    "text/css": True,
    "text/event-stream": False,
    "application/json": True,
    "application/problem+json": True,
    "application/geo+json;x=y": True,
    "application/xhtml+xml": True,
    "image/svg+xml": True,
    "application/javascript": True,
    "application/wasm": True,
    "font/ttf": True,
    "application/dart": True,
    "application/ecmascript": True,
    "application/graphql": True,
    "application/jsonl": True,
    "application/ndjson": True,
    "application/postscript": True,
    "application/rtf": True,
    "application/sql": True,
    "application/toml": True,
    "application/vnd.apple.mpegurl": True,
    "application/vnd.ms-fontobject": True,
    "application/x-font-opentype": True,
    "application/x-font-otf": True,
    "application/x-font-truetype": True,
    "application/x-font-ttf": True,
    "application/x-javascript": True,
    "application/x-json": True,
    "application/x-mpegurl": True,
    "application/x-ndjson": True,
    "application/x-sh": True,
    "application/x-tex": True,
    "application/x-yaml": True,
    "application/xml": True,
    "application/yaml": True,
    "application/vnd.api+json": True,
    "application/a+yaml": True,
    "application/a+text": True,
    "font/collection": True,
    "font/otf": True,
    "font/sfnt": True,
    "image/bmp": True,
    "image/x-icon": True,
    "image/x-ms-bmp": True,
    "image/vnd.microsoft.icon": True,
    "application/json ;charset=x": True,
    "application/json\t;charset=x": True,
    "font/woff2": False,
    "image/png": False,
    "image/jpeg": False,
    "video/mp4": False,
    "application/zip": False,
    "application/gzip": False,
    "application/octet-stream": False,
    "multipart/form-data; boundary=x": False,
    "json": False,
    "": False,
}


@pytest.mark.parametrize(("kind", "wanted"), TYPES.items())
def test_compressible(kind: str, wanted: bool) -> None:
    assert compressible(fields(f"Content-Type: {kind}")) is wanted


def test_compressible_needs_one_type() -> None:
    assert not compressible(Fields())
    assert not compressible(fields("Content-Type: text/html", "Content-Type: text/plain"))


def planned(
    *lines: str,
    status: int = 200,
    accept: str | None = "br, gzip",
    codings: tuple[str, ...] = TWO,
    available: tuple[str, ...] = ALL,
    length: int | None = 5000,
    kind: str | None = "text/html",
    targets: tuple[str, ...] = (),
) -> Plan:
    head = response(*lines, *([f"Content-Type: {kind}"] if kind else []), status=status)
    asked = request(*([f"Accept-Encoding: {accept}"] if accept else []))
    return plan(asked, head, codings, available, length, targets)


# (what is different from a text/html of 5000 bytes, for who takes br and gzip) → coding, whether Vary is added
PLANS = {
    "plain": ({}, "br", True),
    "in the client's order": ({"accept": "gzip, br;q=0.9"}, "gzip", True),
    "not known": ({"accept": "identity"}, None, True),
    "no Accept-Encoding": ({"accept": None}, None, True),
    "the best cannot be made": ({"available": ("gzip",)}, "gzip", True),
    "none can be made": ({"available": ()}, None, True),
    "zstd where it is": ({"codings": ALL, "accept": "zstd, br"}, "zstd", True),
    "zstd where it is not": ({"codings": ALL, "accept": "zstd, br", "available": TWO}, "br", True),
    "no codings on the route": ({"codings": ()}, None, False),
    "length not known": ({"length": None}, "br", True),
    "just long enough": ({"length": 1024}, "br", True),
    "too short": ({"length": 1023}, None, False),
    "empty": ({"length": 0}, None, False),
    "an image": ({"kind": "image/png"}, None, False),
    "no type": ({"kind": None}, None, False),
    "404": ({"status": 404}, "br", True),
    "500": ({"status": 500}, "br", True),
    "203": ({"status": 203}, "br", True),
    "299": ({"status": 299}, "br", True),
    "204": ({"status": 204, "length": None}, None, False),
    "205": ({"status": 205}, None, False),
    "206": ({"status": 206}, None, False),
    "304": ({"status": 304}, None, False),
}


@pytest.mark.parametrize(("options", "coding", "varies"), PLANS.values(), ids=PLANS)
def test_plan(options: dict[str, object], coding: str | None, varies: bool) -> None:
    made = planned(**options)  # type: ignore[arg-type]
    assert made.coding == coding
    assert made.head.fields.all("vary") == (["Accept-Encoding"] if varies else [])
    assert made.head.fields.all("content-encoding") == ([coding] if coding else [])
    assert made.flags == (CODED if coding else Flag.NEGOTIATED if varies else Flag(0))


# A line of the response → coding, Vary
LINES = {
    "Cache-Control: no-transform": (None, []),
    "Cache-Control: max-age=60, NO-TRANSFORM": (None, []),
    "Cache-Control: max-age=60": ("br", ["Accept-Encoding"]),
    "CDN-Cache-Control: no-transform": (None, []),
    "Content-Encoding: gzip": (None, ["Accept-Encoding"]),
    "Content-Encoding: dcb": (None, ["Accept-Encoding"]),
    "Content-Range: bytes 0-1/2": (None, []),
    "Vary: Cookie": ("br", ["Cookie, Accept-Encoding"]),
    "Vary: accept-encoding, Cookie": ("br", ["accept-encoding, Cookie"]),
    "Vary:": ("br", ["Accept-Encoding"]),
    "Vary: *": ("br", ["*"]),
}


@pytest.mark.parametrize(("line", "wanted"), LINES.items())
def test_plan_by_a_line(line: str, wanted: tuple[str | None, list[str]]) -> None:
    made = planned(line, targets=("cdn-cache-control",))
    assert (made.coding, made.head.fields.all("vary")) == wanted


def test_no_transform_counts_beside_a_targeted_field() -> None:
    lines = ("CDN-Cache-Control: max-age=60", "Cache-Control: no-transform")
    assert planned(*lines, targets=("cdn-cache-control",)).coding is None


def test_vary_is_added_to_the_last_line() -> None:
    assert varying(fields("Vary: A", "X: y", "Vary: B")) == fields(
        "Vary: A", "X: y", "Vary: B, Accept-Encoding"
    )


ETAGS = {
    '"abc"': ('W/"abc"', True),
    'W/"abc"': ('W/"abc"', False),
    "abc": ("abc", False),  # no entity-tag
}


@pytest.mark.parametrize(("sent", "wanted"), ETAGS.items())
def test_a_strong_etag_is_made_weak(sent: str, wanted: tuple[str, bool]) -> None:
    made = planned(f"ETag: {sent}")
    assert made.head.fields.all("etag") == [wanted[0]]
    assert bool(made.flags & Flag.WEAKENED) is wanted[1]


def test_an_uncoded_answer_keeps_its_etag() -> None:
    assert planned('ETag: "abc"', accept="identity").head.fields.all("etag") == ['"abc"']
    assert planned('ETag: "abc"', "Content-Encoding: br").head.fields.all("etag") == ['"abc"']


def test_what_describes_the_bytes_goes() -> None:
    made = planned(
        "Content-Length: 5000",
        "Content-MD5: x",
        "Digest: x",
        "Repr-Digest: x",
        "Content-Digest: x",
        "Accept-Ranges: bytes",
        "X-Kept: 1",
        "x-kept: 2",
    )
    assert made.head.fields == fields(
        "X-Kept: 1", "x-kept: 2", "Content-Type: text/html", "Vary: Accept-Encoding", "Content-Encoding: br"
    )


def test_the_origins_own_coding_is_left_as_it_is() -> None:
    lines = ("Content-Encoding: br", "Content-Length: 700", "Accept-Ranges: bytes", 'ETag: "x"')
    made = planned(*lines, length=700)
    assert made.head.fields == fields(*lines, "Content-Type: text/html", "Vary: Accept-Encoding")


# --- stored, and asked about again ---


def record(
    *lines: str, accept: str = "br, gzip", codings: tuple[str, ...] = TWO, length: int = 5000
) -> Store:
    asked = request(f"Accept-Encoding: {accept}")
    received = response("Cache-Control: max-age=60", "Content-Type: text/html", *lines)
    made = plan(asked, received, codings, ALL, length)
    kept = decided(*(f"{name}: {value}" for name, value in made.head.fields), asked=asked)
    assert isinstance(kept, Store)
    body = 400 if made.coding else length
    return replace(kept, flags=kept.flags | made.flags, body_length=body)


def freshened(stored: Stored, *lines: str) -> Store | DontStore:
    return freshen(
        stored,
        request("Accept-Encoding: br, gzip"),
        response(*lines, status=304),
        POLICY,
        request_time=NOW,
        response_time=NOW,
    )


def test_the_origin_is_asked_with_its_own_etag() -> None:
    stored = record('ETag: "abc"')
    assert stored.etag == 'W/"abc"'
    assert validation_request(request(), stored).all("if-none-match") == ['"abc"']
    plain = record('ETag: "abc"', accept="identity")
    asked = variants_request(request(), [stored, plain])
    assert asked.all("if-none-match") == ['"abc"']
    weak = record('ETag: W/"abc"')
    assert validation_request(request(), weak).all("if-none-match") == ['W/"abc"']


SELECTS = {
    ('ETag: "abc"', 'ETag: "abc"'): True,
    ('ETag: "abc"', 'ETag: W/"abc"'): True,
    ('ETag: "abc"', 'ETag: "abd"'): False,
    ('ETag: W/"abc"', 'ETag: "abc"'): True,
}


@pytest.mark.parametrize(("case", "wanted"), SELECTS.items())
def test_a_304_speaks_of_a_coded_response(case: tuple[str, str], wanted: bool) -> None:
    assert selects(record(case[0]), response(case[1], status=304), NOW_S) is wanted


def test_a_304_renews_a_coded_response() -> None:
    stored = record('ETag: "abc"', "Vary: Cookie")
    renewed = freshened(
        stored,
        'ETag: "abc"',
        "Cache-Control: max-age=120",
        "Vary: Cookie",
        "Repr-Digest: x",
        "Content-Encoding: gzip",
        "Content-Length: 5000",
    )
    assert isinstance(renewed, Store)
    assert renewed.lifetime == 120_000
    assert renewed.vary == stored.vary == ("accept-encoding", "cookie")
    assert renewed.flags == stored.flags
    assert renewed.etag == 'W/"abc"'
    assert renewed.fields.all("content-encoding") == ["br"]
    assert "repr-digest" not in renewed.fields
    assert renewed.body_length == stored.body_length


def test_a_304_that_brings_an_etag() -> None:
    renewed = freshened(record("Last-Modified: " + date(-100)), 'ETag: "new"')
    assert isinstance(renewed, Store)
    assert renewed.etag == 'W/"new"'


def test_a_304_that_forbids_what_was_done() -> None:
    assert freshened(record('ETag: "abc"'), "Cache-Control: no-transform, max-age=60") == DontStore(
        NoStoreReason.NO_TRANSFORM
    )
    plain = freshened(record('ETag: "abc"', accept="identity"), "Cache-Control: no-transform, max-age=60")
    assert isinstance(plain, Store)


HEADS = {
    ('ETag: "abc"', "Content-Length: 5000"): HeadUpdate.FRESHEN,
    ('ETag: "abc"',): HeadUpdate.FRESHEN,
    ('ETag: "abd"', "Content-Length: 5000"): HeadUpdate.INVALIDATE,
    ("Content-Length: 5000",): HeadUpdate.FRESHEN,
}


@pytest.mark.parametrize(("lines", "wanted"), HEADS.items())
def test_a_head_answer_beside_a_coded_response(lines: tuple[str, ...], wanted: HeadUpdate) -> None:
    assert head_update(record('ETag: "abc"'), response(*lines), NOW_S) is wanted


def test_no_part_by_date() -> None:
    """Every coding has the same Last-Modified: it cannot vouch for bytes (RFC 9110 §8.8.2.2)."""
    modified = "Last-Modified: " + date(-1000)
    asked = request("Range: bytes=0-1", "If-Range: " + date(-1000))
    assert not if_range_passes(asked, record(modified))
    assert not if_range_passes(asked, record(modified, accept="identity"))
    assert if_range_passes(asked, record(modified, codings=()))


IF_RANGES = {
    '"abc"': True,
    'W/"abc"': True,  # matches nothing, which the origin knows
    date(-1000): False,
}


@pytest.mark.parametrize(("value", "kept"), IF_RANGES.items())
def test_what_the_origin_is_asked_alone(value: str, kept: bool) -> None:
    asked = fields("Range: bytes=0-1", f"If-Range: {value}")
    assert ("range" in alone(asked, TWO)) is kept
    assert ("if-range" in alone(asked, TWO)) is kept
    assert alone(asked, ()) == asked
    assert alone(fields("Range: bytes=0-1"), TWO) == fields("Range: bytes=0-1")


# (the stored response's lines, what its request took) × what this one takes → may it answer
FITS = {
    ((), "br, gzip", "br, gzip"): True,
    ((), "br, gzip", "br"): True,
    ((), "br, gzip", "gzip"): False,
    ((), "br, gzip", "identity"): False,
    ((), "br, gzip", None): False,
    ((), "br, gzip", "*"): True,
    ((), "br, gzip", "br;q=0, *"): False,
    ((), "identity", "identity"): True,
    ((), "identity", "gzip"): False,  # it would be coded
    (("Content-Encoding: gzip",), "gzip", "gzip"): True,
    (("Content-Encoding: x-gzip",), "gzip", "gzip"): True,
    (("Content-Encoding: gzip",), "gzip", "identity"): False,
    (("Content-Encoding: br, gzip",), "gzip", "gzip"): False,
}


@pytest.mark.parametrize(("case", "wanted"), FITS.items())
def test_fits(case: tuple[tuple[str, ...], str, str | None], wanted: bool) -> None:
    lines, took, takes = case
    asked = fields(*([f"Accept-Encoding: {takes}"] if takes is not None else []))
    assert fits(record(*lines, accept=took), asked, TWO) is wanted


def test_what_nobody_coded_fits_everybody() -> None:
    assert fits(record(codings=()), fields("Accept-Encoding: gzip"), ())
    assert fits(record(length=100), fields("Accept-Encoding: gzip"), TWO)


# (the record's codings, what its request took, its length), the route's codings after a reload → fetch again
OUTDATED = {
    (TWO, "br, gzip", 5000, TWO): False,
    (TWO, "br, gzip", 5000, ("gzip", "br")): False,
    (TWO, "br, gzip", 5000, ("gzip",)): True,
    (TWO, "br, gzip", 5000, ()): True,
    (TWO, "identity", 5000, TWO): False,
    (TWO, "identity", 5000, ()): False,
    ((), "gzip", 5000, ("gzip",)): True,
    ((), "gzip", 500, ("gzip",)): False,
    ((), "gzip", 5000, ()): False,
}


@pytest.mark.parametrize(("case", "wanted"), OUTDATED.items())
def test_outdated(case: tuple[tuple[str, ...], str, int, tuple[str, ...]], wanted: bool) -> None:
    before, took, length, after = case
    assert outdated(record(codings=before, accept=took, length=length), after, ()) is wanted


RELAYED = {
    ('W/"abc"', '"abc"'): 'W/"abc"',
    ('"x", W/"abc"', '"abc"'): 'W/"abc"',
    ('"abc"', '"abc"'): '"abc"',
    ("*", '"abc"'): '"abc"',
    ('W/"abc"', 'W/"abc"'): 'W/"abc"',
    ('W/"abc"', '"other"'): '"other"',
}


@pytest.mark.parametrize(("case", "wanted"), RELAYED.items())
def test_a_relayed_304_names_what_the_client_holds(case: tuple[str, str], wanted: str) -> None:
    held, sent = case
    head = response(f"ETag: {sent}", status=304)
    shown = not_modified(request(f"If-None-Match: {held}"), head, TWO)
    assert shown.fields.all("etag") == [wanted]
    assert not_modified(request(f"If-None-Match: {held}"), head, ()) is head
