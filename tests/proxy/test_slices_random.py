"""Nine gigabytes at random: seeks, overlapping readers, evictions, changes, purges and lapses against a model.

Every word of a body says where it lies and of which version it is (`harness.vast`), so any wrong byte shows. What the
model knows: which versions an answer may be of, and that no byte of a slice is asked for while it is there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import Crew, Origin, RawClient, Reply, Request, Response, eventually, reply, site
from tests.harness.proxy import Proxy
from tests.harness.vast import GIB, KIB, Vast, content
from tests.harness.wire import Closed

SIZE = 64 * KIB
MAX_AGE = 60


class Place:
    """An origin of one resource a path, asked through a node whose store holds a few dozen slices."""

    def __init__(self) -> None:
        self.resources: dict[str, Vast] = {}
        self.origin = Origin(self._rule)
        self.proxy = Proxy(site(self.origin, store={"memory": "3 MiB", "slice": "64 KiB"}))

    def _rule(self, request: Request) -> Reply | None:
        return reply(204) if request.method == "POST" else self.resources[request.target](request)

    def new(self) -> tuple[str, Vast]:
        path = f"/{len(self.resources)}"
        self.resources[path] = Vast(9 * GIB, MAX_AGE)
        return path, self.resources[path]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    made = Place()
    with made.origin, made.proxy:
        yield made


def read(port: int, path: str, value: str) -> Response:
    """An answer to a range; a client that is cut in the middle of it asks again."""
    for _ in range(6):
        with RawClient(port) as client:
            client.request("GET", path, {"Range": value})
            got, body = client.read_head()
            assert got.status == 206, got  # not ten gigabytes
            try:
                while data := body.some():
                    got.body += data
            except Closed:
                got.aborted = True
        verify(got)
        if not got.aborted:
            return got
    raise AssertionError("cut again and again")


def verify(got: Response) -> int:
    """The bytes are those of the version and the place that the answer names; returns the version."""
    where = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", got["content-range"] or "")
    version = re.fullmatch(r'"v(\d+)"', got["etag"] or "")
    assert got.status == 206, got
    assert where, got
    assert version, got
    first, last = int(where[1]), int(where[2])
    assert got.body == content(int(version[1]), first, last)[: len(got.body)]
    assert got.aborted or len(got.body) == last + 1 - first
    return int(version[1])


# A few places far apart, and everything around them: so that ranges meet, and are seeks all the same.
starts = st.tuples(
    st.sampled_from([0, 3 * GIB, 7 * GIB + 12_345, 9 * GIB - 9 * SIZE]), st.integers(0, 8 * SIZE)
)
lengths = st.one_of(st.integers(1, 300), st.integers(1, 4 * SIZE))
steps = st.one_of(
    st.tuples(st.just("range"), starts, lengths),
    st.tuples(st.just("range"), starts, lengths),
    st.tuples(st.just("range"), starts, lengths),
    st.tuples(st.just("suffix"), starts, lengths),
    st.tuples(st.sampled_from(["change", "longer", "shorter"]), starts, lengths),
    st.tuples(st.sampled_from(["lapse", "purge", "evict", "lose a slice"]), starts, lengths),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(script=st.lists(steps, min_size=2, max_size=16))
def test_seeks_against_a_model(place: Place, script: list[tuple[str, tuple[int, int], int]]) -> None:
    path, film = place.new()
    proxy = place.proxy
    replaced: dict[int, int] = {}  # version: second at which it was the origin's for the last time
    purged = 0
    for kind, (base, more), n in script:
        first = base + more
        if kind in ("change", "longer", "shorter"):
            replaced[film.version] = proxy.now()
            film.change(film.length + {"change": 0, "longer": 777, "shorter": -777}[kind])
        elif kind == "lapse":
            proxy.advance(MAX_AGE + 1)
        elif kind == "purge":
            proxy.ask("POST", path, body=b"x")
            purged = film.version
        elif kind == "evict":
            other, _ = place.new()
            read(proxy.port, other, f"bytes=0-{40 * SIZE}")
        elif kind == "lose a slice":
            lose(proxy, first // SIZE)
        else:
            value = f"bytes={first}-{first + n - 1}" if kind == "range" else f"bytes=-{n}"
            got = read(proxy.port, path, value)
            version = verify(got)
            assert version >= purged
            assert proxy.now() - replaced.get(version, proxy.now()) <= MAX_AGE
            length = int((got["content-range"] or "").partition("/")[2])
            begin = first if kind == "range" else length - n
            assert (got["content-range"] or "").startswith(f"bytes {begin}-{min(begin + n, length) - 1}/")
    eventually(lambda: not proxy._worker.site.flights, "all flights to land")


def lose(proxy: Proxy, number: int) -> None:
    """One slice of everything goes, as by eviction."""

    def work() -> None:
        memory = proxy._worker.site.memory
        for key in list(memory.keys()):
            if key.endswith(b"\x00slice\x08\x00\x00\x00" + number.to_bytes(8, "little")):
                memory.remove(key)

    assert proxy._loop is not None
    proxy._loop.call_soon_threadsafe(work)


@pytest.mark.parametrize("seed", [1, 2, pytest.param(3, marks=pytest.mark.full)])
def test_many_readers_at_once(place: Place, seed: int) -> None:
    """Six readers around two places, while the origin changes, slices go, and some leave in the middle."""
    path, film = place.new()
    proxy = place.proxy

    def reader(number: int) -> int:
        choose = random.Random(seed * 10 + number)
        for _ in range(25):
            first = choose.choice((0, 5 * GIB)) + choose.randrange(6 * SIZE)
            last = first + choose.choice((0, 100, SIZE, 3 * SIZE))
            if choose.random() < 0.04:
                film.change(film.length + choose.choice((0, 5)))
            if choose.random() < 0.05:
                lose(proxy, first // SIZE)
            if choose.random() < 0.1:
                with RawClient(proxy.port) as client:
                    client.request("GET", path, {"Range": f"bytes={first}-"})
                    client.read_head()
                    client.reset()
                continue
            got = read(proxy.port, path, f"bytes={first}-{last}")
            assert (got["content-range"] or "").startswith(f"bytes {first}-{last}/")
        return number

    with Crew() as crew:
        tasks = [crew.start(reader, number) for number in range(6)]
        assert [task.result(60) for task in tasks] == list(range(6))
    eventually(lambda: not proxy._worker.site.flights, "all flights to land")
    assert proxy._worker.site.memory.audit()["filling_runs"] == 0


def test_a_reader_costs_the_origin_each_slice_once() -> None:
    """Without changes and with room: whatever the order, the union of the slices is fetched, and no byte twice."""
    film = Vast()
    store = {"memory": "16 MiB", "slice": "64 KiB"}
    with Origin(film) as origin, Proxy(site(origin, store=store)) as proxy:
        _walk(proxy, film)


def _walk(proxy: Proxy, film: Vast) -> None:
    choose = random.Random(5)
    touched: set[int] = set()
    for _ in range(40):
        first = choose.randrange(20 * SIZE)
        last = first + choose.randrange(2 * SIZE)
        verify(read(proxy.port, "/a", f"bytes={first}-{last}"))
        touched |= set(range(first // SIZE, last // SIZE + 1))
        eventually(lambda: not proxy._worker.site.flights, "all flights to land")
    assert film.sent == len(touched) * SIZE
