"""A response too long for the store in one piece: what is kept of it in slices, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cdn.proxy import slice_elsewhere
from cdn.proxy.lookup import Found
from cdn.proxy.slice_asking import Asker, joined
from cdn.proxy.slice_flight import Arriving
from cdn.proxy.slice_tee import kept_in_slices
from cdn.proxy.source import FillError
from cdn.proxy.stored_slices import find
from cdn.proxy.verdicts import Asked
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.stored import Stored
from cdn.rules.storing import decide_store
from cdn.tier import OriginResponse
from tests.harness import Origin, reply, site
from tests.harness.proxy import Proxy
from tests.harness.vast import GIB, KIB, MIB, Vast, content

KEY = b"a key"
SIZE = 64 * KIB
LENGTH = 5 * SIZE + 100
REQUEST = RequestHead("GET", "http", "site.test", "/a", None, Fields())


class Body(OriginResponse):
    """A 200 whose body comes in pieces of odd sizes, and may end too early."""

    def __init__(
        self, length: int, fields: dict[str, str], end: int | None = None, piece: int = 50_001
    ) -> None:
        lines = {"Cache-Control": "max-age=60", "ETag": '"v1"'} | fields
        self.head = ResponseHead(200, Fields((name, value) for name, value in lines.items() if value))
        self.length = length
        self.delimited_by_close = False
        self.server, self.connect_ms, self.first_byte_ms = "", 0.0, 0.0
        self.end, self.piece, self.at, self.aborted = length if end is None else end, piece, 0, False

    @property
    def complete(self) -> bool:
        return self.at == self.length

    async def read(self) -> bytes:
        n = min(self.piece, self.end - self.at)
        data = content(1, self.at, self.at + n - 1) if n else b""
        self.at += n
        return data

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture(scope="module")
def running() -> Iterator[Proxy]:
    store = {"memory": "4 MiB", "slice": "64 KiB"}
    with Origin(reply(204)) as origin, Proxy(site(origin, store=store, limits={"object": "1 MiB"})) as proxy:
        yield proxy


def on_its_loop(proxy: Proxy, work: Callable[[Any], Any]) -> Any:
    async def run() -> Any:
        return await work(proxy._worker.site)

    assert proxy._loop is not None
    return asyncio.run_coroutine_threadsafe(run(), proxy._loop).result(10)


def passed(
    proxy: Proxy, body: Body, *, before_end: Callable[[Any], object] = lambda site: None
) -> tuple[bytes, list[int]]:
    """What the client gets, and the slices that are stored then."""

    async def work(here: Any) -> tuple[bytes, list[int]]:
        here.memory.purge(KEY)
        route, now = here.routes[0], here.clock.now()
        made = decide_store(REQUEST, body.head, route.cache, request_time=now, response_time=now)
        assert isinstance(made, Stored)
        asked = Asked(REQUEST, KEY, None, Fields(), None, [], (), "", False)
        fill, _ = here.memory.begin_fill(KEY)
        kept = kept_in_slices(here, route, asked, fill, made, body)
        fill.abort("too-large")
        response = body if kept is None else kept
        data = b""
        while piece := await response.read():
            data += piece
            if len(data) > 2 * SIZE + 1000:
                before_end(here)
        response.abort()
        held = find(here.memory, Found(KEY, KEY, None), REQUEST, here.slice)
        if held is None:
            return data, []
        there = [n for n in held.numbers((0, held.length - 1)) if held.slice(here.memory, n) is not None]
        for number in there:
            entry = held.slice(here.memory, number)
            assert entry is not None
            assert entry.read() == content(1, number * SIZE, number * SIZE + entry.body_length - 1)
        return data, there

    data, there = on_its_loop(proxy, work)
    return data, there


@pytest.mark.parametrize("piece", [1009, SIZE - 1, SIZE, SIZE + 1, LENGTH])
def test_every_slice_of_it_is_kept(running: Proxy, piece: int) -> None:
    data, there = passed(running, Body(LENGTH, {}, piece=piece))
    assert data == content(1, 0, LENGTH - 1)
    assert there == [0, 1, 2, 3, 4, 5]


def test_what_breaks_off_leaves_the_slices_before(running: Proxy) -> None:
    body = Body(LENGTH, {}, end=2 * SIZE + 500)
    _, there = passed(running, body)
    assert there == [0, 1]
    assert body.aborted
    assert on_its_loop(running, _audited)["filling_runs"] == 0


async def _audited(here: Any) -> dict[str, int]:
    return dict(here.memory.audit())


NOT_KEPT: dict[str, tuple[int, dict[str, str]]] = {
    "longer than an object may be": (MIB + 1, {}),
    "no validator": (LENGTH, {"ETag": ""}),
    "a weak one": (LENGTH, {"ETag": 'W/"v1"'}),
    "a date of our own": (LENGTH, {"ETag": "", "Last-Modified": "Thu, 01 Jan 2015 00:00:00 GMT"}),
    "no ranges to complete it with": (LENGTH, {"Accept-Ranges": "none"}),
}


@pytest.mark.parametrize(("length", "fields"), NOT_KEPT.values(), ids=NOT_KEPT)
def test_what_is_not_kept(running: Proxy, length: int, fields: dict[str, str]) -> None:
    data, there = passed(running, Body(length, fields))
    assert data == content(1, 0, length - 1)
    assert there == []


def test_what_would_drive_out_everything_else_is_not_kept(running: Proxy) -> None:
    async def work(here: Any) -> Any:
        limits = here.config.limits
        here.config = replace(here.config, limits=replace(limits, object=GIB))
        return limits

    async def back(here: Any) -> None:
        here.config = replace(here.config, limits=limits)

    limits = on_its_loop(running, work)
    try:
        assert passed(running, Body(2 * MIB + 1, {}))[1] == []
        assert len(passed(running, Body(2 * MIB, {}))[1]) > 16
    finally:
        on_its_loop(running, back)


@pytest.mark.parametrize("named", [False, True])
def test_a_purge_on_the_way_ends_what_is_kept(running: Proxy, named: bool) -> None:
    def purge(here: Any) -> None:
        if named:
            here.purges.purge([], ["http://site.test/"], [], False, here.clock.now())
        else:
            here.memory.purge(KEY)

    data, there = passed(running, Body(LENGTH, {}), before_end=purge)
    assert data == content(1, 0, LENGTH - 1)
    if named:

        async def stamps(here: Any) -> list[int]:
            held = find(here.memory, Found(KEY, KEY, None), REQUEST, here.slice)
            return [] if held is None else [held.shown.stamp, here.memory.stamp]

        listed = on_its_loop(running, stamps)
        assert not listed or listed[0] < listed[1]  # older than the purge: decided again, and gone
        assert there in ([], [0, 1])
    else:
        assert there == []


@pytest.mark.parametrize("stands_still", [False, True])
def test_a_slice_is_followed_while_it_comes(
    running: Proxy, stands_still: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not come at the pace of its client is theirs who want it; the plain GET goes on."""
    monkeypatch.setattr(slice_elsewhere, "PATIENCE", 0.05 if stands_still else 30.0)

    async def work(here: Any) -> None:
        here.memory.purge(KEY)
        body, route, now = Body(LENGTH, {}), here.routes[0], here.clock.now()
        made = decide_store(REQUEST, body.head, route.cache, request_time=now, response_time=now)
        assert isinstance(made, Stored)
        fill, _ = here.memory.begin_fill(KEY)
        plain = kept_in_slices(
            here, route, Asked(REQUEST, KEY, None, Fields(), None, [], (), "", False), fill, made, body
        )
        fill.abort("too-large")
        assert plain is not None
        await plain.read()
        asker = Asker(here, route, REQUEST, KEY, KEY, None, (), "", False)
        flight, leads = asker.board(0, None)
        assert not leads
        await flight.decided.wait()
        assert isinstance(flight.landed, Arriving)
        sliced = flight.landed.sliced
        assert (sliced.length, sliced.validator, sliced.stored.etag) == (LENGTH, '"v1"', '"v1"')
        source = joined(flight, sliced)
        assert await source.read(1, 50_000) == content(1, 1, 50_000)
        if stands_still:
            with pytest.raises(FillError):
                await source.read(50_001, 100)
        rest = b""
        while data := await plain.read():
            rest += data
        assert rest == content(1, 50_001, LENGTH - 1)
        if not stands_still:
            assert await source.read(50_001, SIZE) == content(1, 50_001, SIZE - 1)
        source.close()
        flight.left(source)
        held = find(here.memory, Found(KEY, KEY, None), REQUEST, here.slice)
        assert held is not None
        assert (held.slice(here.memory, 0) is None) == stands_still
        assert held.slice(here.memory, 1) is not None
        await asyncio.sleep(0.01)
        assert not here.flights

    on_its_loop(running, work)
    assert on_its_loop(running, _audited)["filling_runs"] == 0


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_film_of_230_mib_through_a_whole_node() -> None:
    """Longer than any one record: kept in slices while it passes, then read from them, also as a whole."""
    length = 230 * MIB + 12_345
    a = Vast(length=length)
    with Origin(a) as origin, Proxy(site(origin, store={"memory": "640 MiB", "slice": "4 MiB"})) as proxy:
        for number in range(2):
            with proxy.client(timeout=60) as client:
                client.request("GET", "/film")
                _, body = client.read_head()
                at = 0
                while data := body.some():
                    assert data == content(1, at, at + len(data) - 1)
                    at += len(data)
                assert at == length
            assert origin.count() == 1, number
        got = proxy.get("/film", {"Range": f"bytes={200 * MIB}-{200 * MIB + 99}"})
        assert got.body == content(1, 200 * MIB, 200 * MIB + 99)
        assert origin.count() == 1
