"""Random ranges, whole requests and HEADs of a resource that sometimes changes: every answer is of one version.

The same model for a route that asks for ranges as its clients do, and for one that fetches slices, four to a body.

An answer names its version by its entity-tag, and a version's bytes differ from every other's at every place, so that a
single byte of another version, or from another place, fails.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import Crew, Origin, Reply, Request, Response, eventually, reply, site
from tests.harness.proxy import Proxy
from tests.harness.ranged import Ranged

MAX_AGE = 60
NUMBERS = count(1)


class Place:
    """An origin with a fresh resource for every path asked for by `new`."""

    def __init__(self, memory: str, length: int, slices: bool) -> None:
        self.resources: dict[str, Ranged] = {}
        self.length = length
        self.origin = Origin(self._rule)
        store = {"memory": memory, "slice": "64 KiB"}
        self.proxy = Proxy(site(self.origin, {"slices": slices}, store=store))

    def _rule(self, request: Request) -> Reply:
        return reply(204) if request.method == "POST" else self.resources[request.target](request)

    def new(self) -> tuple[str, Ranged]:
        path = f"/{next(NUMBERS)}"
        self.resources[path] = Ranged(self.length, MAX_AGE)
        return path, self.resources[path]


@pytest.fixture(scope="module", params=["roomy", "tight", "slices", "tight slices"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    # In the tight ones hardly two whole bodies find room: parts go while others of their representation stay.
    slices = "slices" in request.param
    small = "1536 KiB" if slices else "1 MiB"
    made = Place(
        small if "tight" in request.param else "16 MiB", 200_000 if request.param != "roomy" else 400, slices
    )
    with made.origin, made.proxy:
        yield made


class Patient:
    """A client that asks again when it is cut, because a change showed in the middle of a body.

    What came so far was right.
    """

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.client = proxy.client()

    def ask(self, method: str, path: str, fields: dict[str, str], tries: int = 5) -> Response:
        self.client.request(method, path, fields)
        got = self.client.read_response(method, tolerate_abort=True)
        if not got.aborted:
            return got
        version = re.fullmatch(r'"v(\d+)"', got["etag"] or "")
        where = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", got["content-range"] or "bytes 0-0/0")
        assert version, got
        assert where, got
        first, length = int(where[1]), int(where[3]) or int(got["content-length"] or 0)
        if not (got["content-type"] or "").startswith("multipart"):
            assert got.body == body_of(int(version[1]), length)[first : first + len(got.body)]
        assert tries, "cut again and again"
        self.client.close()
        self.client = self.proxy.client()
        return self.ask(method, path, fields, tries - 1)


@lru_cache(maxsize=64)
def body_of(version: int, length: int) -> bytes:
    resource = Ranged(length)
    resource.lengths[version] = length
    return resource.body(version)


def verify(got: Response, resource: Ranged, method: str, value: str | None) -> int:
    """The answer is right for the version that it names; returns that version."""
    assert got.status in (200, 206, 304, 416), got
    if got.status == 416:
        lengths = [f"bytes */{length}" for length in resource.lengths.values()]
        assert got["content-range"] in lengths
        return resource.version if got["content-range"] == lengths[-1] else 0
    tag = re.fullmatch(r'"v(\d+)"', got["etag"] or "")
    assert tag, got
    version = int(tag[1])
    body = body_of(version, resource.lengths[version])
    if got.status == 304 or method == "HEAD":
        assert got.body == b""
        assert got.status == 304 or got["content-length"] == str(len(body))
    elif got.status == 200:
        assert got.body == body
        assert got["content-range"] is None
    elif (got["content-type"] or "").startswith("multipart/byteranges"):
        verify_several(got, body)
    else:
        where = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", got["content-range"] or "")
        assert where, got
        first, last, length = map(int, where.groups())
        assert length == len(body)
        assert got.body == body[first : last + 1]
        assert value is not None
        if "," not in value:
            assert (first, last) == wanted(value, length)
    return version


def verify_several(got: Response, body: bytes) -> None:
    boundary = (got["content-type"] or "").partition("boundary=")[2].encode()
    pieces = got.body.split(b"--" + boundary)[1:-1]
    assert pieces
    for piece in pieces:
        head, _, data = piece.partition(b"\r\n\r\n")
        where = re.search(rb"bytes (\d+)-(\d+)/(\d+)", head)
        assert where
        assert int(where[3]) == len(body)
        assert data.removesuffix(b"\r\n") == body[int(where[1]) : int(where[2]) + 1].removesuffix(b"\r\n")


def wanted(value: str, length: int) -> tuple[int, int]:
    first, _, last = value.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, length - int(last)), length - 1
    return int(first), min(int(last or length), length - 1)


PLACES = st.integers(0, 100)  # per cent of the length

steps = st.one_of(
    st.tuples(st.just("range"), PLACES, PLACES),
    st.tuples(st.just("range"), PLACES, PLACES),
    st.tuples(st.just("open"), PLACES, st.just(0)),
    st.tuples(st.just("suffix"), PLACES, st.just(0)),
    st.tuples(st.just("several"), PLACES, PLACES),
    st.tuples(st.just("if-range"), PLACES, PLACES),
    st.tuples(st.just("if-none-match"), PLACES, PLACES),
    st.tuples(st.just("no-cache"), PLACES, PLACES),
    st.tuples(
        st.sampled_from(["whole", "whole", "head", "change", "longer", "shorter"]), st.just(0), st.just(0)
    ),
    st.tuples(st.sampled_from(["advance", "expire", "purge", "lose ranges"]), st.just(0), st.just(0)),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(script=st.lists(steps, min_size=2, max_size=14))
def test_every_answer_is_of_one_version_and_none_is_too_old(
    place: Place, script: list[tuple[str, int, int]]
) -> None:
    """Nothing older is served than what the origin had within the lifetime, or since the last purge."""
    path, resource = place.new()
    proxy = place.proxy
    replaced: dict[int, int] = {}  # version: second at which it was the origin's for the last time
    purged = 0  # versions before this must not be seen again
    client = Patient(proxy)
    for kind, a, b in script:
        if kind in ("change", "longer", "shorter"):
            replaced[resource.version] = proxy.now()
            now = resource.lengths[resource.version]
            resource.change({"change": now, "longer": now + 50, "shorter": max(10, now - 50)}[kind])
        elif kind == "advance":
            proxy.advance(25)
        elif kind == "expire":
            proxy.advance(MAX_AGE + 1)
        elif kind == "purge":
            proxy.ask("POST", path, body=b"x")
            purged = resource.version
        elif kind == "lose ranges":
            resource.ranges = not resource.ranges
        else:
            method, value, fields = request_for(kind, a, b, place.length, resource)
            got = client.ask(method, path, fields)
            version = verify(got, resource, method, value)
            if version:
                assert version >= purged
                age = proxy.now() - replaced.get(version, proxy.now())
                assert age <= MAX_AGE, f"version {version} has not been the origin's for {age} s"
            if kind == "no-cache" and version:
                assert version == resource.version
    client.client.close()
    resource.ranges = True


def request_for(
    kind: str, a: int, b: int, length: int, resource: Ranged
) -> tuple[str, str | None, dict[str, str]]:
    first, last = sorted((a * length // 100, b * length // 100))
    value: str | None = f"bytes={first}-{last}"
    fields: dict[str, str] = {}
    if kind == "open":
        value = f"bytes={first}-"
    elif kind == "suffix":
        value = f"bytes=-{first + 1}"
    elif kind == "several":
        value = f"bytes={first}-{first + 3},{last}-{last + 3}"
    elif kind == "if-range":
        fields["If-Range"] = resource.etag(max(1, resource.version - a % 2))
    elif kind == "if-none-match":
        fields["If-None-Match"] = resource.etag(max(1, resource.version - a % 2))
        value = None if b % 2 else value
    elif kind == "no-cache":
        fields["Cache-Control"] = "no-cache"
        value = None if b % 2 else value
    elif kind in ("whole", "head"):
        value = None
    if value is not None:
        fields["Range"] = value
    return "HEAD" if kind == "head" else "GET", value, fields


@pytest.mark.parametrize("seed", range(4))
def test_many_clients_at_once(place: Place, seed: int) -> None:
    """The same with six clients that do not wait for each other, while the origin changes."""
    path, resource = place.new()
    proxy = place.proxy

    def client(number: int) -> int:
        choose = random.Random(seed * 100 + number)
        answers = 0
        connection = Patient(proxy)
        for _ in range(40):
            if choose.random() < 0.04:
                resource.change(resource.lengths[resource.version] + choose.choice((0, 40)))
            kind = choose.choice(("range", "range", "range", "open", "suffix", "whole", "head", "if-range"))
            method, value, fields = request_for(
                kind, choose.randrange(101), choose.randrange(101), place.length, resource
            )
            verify(connection.ask(method, path, fields), resource, method, value)
            answers += 1
        connection.client.close()
        return answers

    with Crew() as crew:
        tasks = [crew.start(client, number) for number in range(6)]
        assert [task.result(60) for task in tasks] == [40] * 6
    # A slice that was read ahead for a client that is gone comes in all the same: nothing stays after that.
    eventually(lambda: proxy._worker.site.memory.audit()["filling_runs"] == 0, "all fills to end")
