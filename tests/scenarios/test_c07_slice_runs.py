"""A reader that is faster than its slices come gets many of them with one request; each is stored by itself."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress

import pytest

from cdn.proxy.sliced_source import SlicedSource
from cdn.store import Entry
from tests.harness import Origin, Reply, Request, Signal, eventually, reply, site
from tests.harness.client import RawClient
from tests.harness.proxy import Proxy, is_hit
from tests.harness.siblings import Siblings
from tests.harness.vast import KIB, Vast, content
from tests.harness.wire import WireError

S = 64 * KIB
COUNT = 60
LENGTH = COUNT * S - 1000
TREE = {"store": {"memory": "64 MiB", "slice": "64 KiB"}}
FAR = 0.005  # seconds that the origin's first byte takes: longer than a slice takes to be read


def far(resource: Vast) -> Vast:
    resource.change_reply = lambda request, made: (time.sleep(FAR), made)[1]
    return resource


def runs(origin: Origin) -> list[range]:
    """The slices of each request."""
    out = []
    for request in origin.requests:
        first, last = (int(word) for word in (request["range"] or "").removeprefix("bytes=").split("-"))
        assert first % S == 0
        assert (last + 1) % S == 0
        out.append(range(first // S, (last + 1) // S))
    return out


def numbers(origin: Origin) -> list[int]:
    return sorted(number for run in runs(origin) for number in run)


def at_rest(proxy: Proxy) -> None:
    eventually(lambda: not proxy._worker.site.flights, "all flights to land")


def stored(proxy: Proxy) -> int:
    return sum(b"\x00slice\x08" in key for key in list(proxy._worker.memory.keys()))


def test_a_cold_body_takes_few_requests() -> None:
    """One for each slice made a reader wait for a round trip each."""
    with Origin(far(Vast(LENGTH))) as origin, Proxy(site(origin, **TREE)) as proxy:
        got = proxy.get("/a", {"Range": "bytes=0-"})
        assert got.body == content(1, 0, LENGTH - 1)
        at_rest(proxy)
        assert numbers(origin) == list(range(COUNT))
        assert len(runs(origin)) <= COUNT // 3
        assert max(map(len, runs(origin))) <= 16  # a 64th of the store
        assert stored(proxy) == COUNT
        assert proxy.stats()["origins"]["app"]["bytes"] == LENGTH
        before = origin.count()
        again = proxy.get("/a", {"Range": "bytes=12345-"})
        assert is_hit(again)
        assert again.body == content(1, 12345, LENGTH - 1)
        assert origin.count() == before
        proxy._worker.memory.audit()


def test_what_is_there_is_left_out() -> None:
    with Origin(far(Vast(LENGTH))) as origin, Proxy(site(origin, **TREE)) as proxy:
        for number in (7, 20, 21, 40):
            proxy.get("/a", {"Range": f"bytes={number * S}-{number * S + 9}"})
        at_rest(proxy)
        assert proxy.get("/a", {"Range": "bytes=0-"}).body == content(1, 0, LENGTH - 1)
        at_rest(proxy)
        assert numbers(origin) == list(range(COUNT))
        assert len(runs(origin)) < COUNT // 2


def test_a_run_ends_with_the_range() -> None:
    with Origin(far(Vast(LENGTH))) as origin, Proxy(site(origin, **TREE)) as proxy:
        got = proxy.get("/a", {"Range": f"bytes={3 * S + 5}-{19 * S}"})
        assert got.body == content(1, 3 * S + 5, 19 * S)
        at_rest(proxy)
        assert numbers(origin) == list(range(3, 20))


def test_a_client_that_leaves_ends_a_run() -> None:
    """But for the slice that is under way."""
    a = Vast(LENGTH)
    held, go = Signal("a long run"), Signal("its body")

    def before(request: Request, first: int) -> None:
        last = int((request["range"] or "").rpartition("-")[2])
        if last + 1 - first >= 8 * S:
            held.set()
            go.wait()

    far(a).before = before
    with Origin(a) as origin, Proxy(site(origin, **TREE)) as proxy:
        with RawClient(proxy.port, timeout=0.5) as client:
            client.request("GET", "/a", {"Range": "bytes=0-"})
            _, body = client.read_head()
            with suppress(WireError, OSError):  # it stands still once the run is held
                while not held.is_set():
                    body.some()
            assert held.is_set()
            begun = runs(origin)
            client.reset()
        eventually(lambda: proxy.stats()["connections"]["open"] == 0, "the client to be gone")
        go.set()
        at_rest(proxy)
        left_out = max(run.stop for run in runs(origin)) - stored(proxy)
        assert left_out >= 6, (begun, stored(proxy))
        counted = proxy._worker.memory.audit()
        assert counted["filling_runs"] == counted["filling_blocks"] == counted["pinned"] == 0
        go.set()
        assert proxy.get("/a", {"Range": "bytes=0-"}).body == content(1, 0, LENGTH - 1)


def test_a_run_that_breaks_off_goes_on_where_it_was() -> None:
    """What has come in whole stays; the slice in the middle is asked for once more, and the rest by others."""
    a = far(Vast(LENGTH))
    cut: list[int] = []

    def before(request: Request, first: int) -> None:
        last = int((request["range"] or "").rpartition("-")[2])
        if last + 1 - first >= 8 * S and not cut:
            cut.append(first // S + 2)
            a.cut_at = cut[0] * S + 1000
        else:
            a.cut_at = None

    a.before = before
    with Origin(a) as origin, Proxy(site(origin, **TREE)) as proxy:
        assert proxy.get("/a", {"Range": "bytes=0-"}).body == content(1, 0, LENGTH - 1)
        at_rest(proxy)
        assert cut
        brought = numbers(origin)
        assert set(brought) == set(range(COUNT))
        assert brought.count(cut[0] - 1) == 1
        assert brought.count(cut[0]) == 2
        assert stored(proxy) == COUNT


@pytest.mark.parametrize("most", [S, S + 100, 3 * S, 3 * S - 1])
def test_an_origin_that_gives_less_than_it_is_asked_for(most: int) -> None:
    """A 206 of the beginning of what was asked for (RFC 9110 §15.3.7): what it has in whole slices is used."""

    def rule(request: Request) -> Reply:
        time.sleep(FAR)
        first, last = (int(word) for word in (request["range"] or "").removeprefix("bytes=").split("-"))
        last = min(last, LENGTH - 1, first + most - 1)
        fields = {
            "Cache-Control": "max-age=60",
            "ETag": '"v1"',
            "Content-Range": f"bytes {first}-{last}/{LENGTH}",
        }
        return reply(206, fields, content(1, first, last))

    with Origin(rule) as origin, Proxy(site(origin, **TREE)) as proxy:
        assert proxy.get("/a", {"Range": "bytes=0-"}).body == content(1, 0, LENGTH - 1)
        at_rest(proxy)
        assert stored(proxy) == COUNT
        assert proxy.get("/a", {"Range": f"bytes={S}-"}).body == content(1, S, LENGTH - 1)


@pytest.mark.parametrize("how", ["changed", "gone", "no ranges"])
def test_an_answer_that_is_no_run_cuts_the_client(how: str) -> None:
    """No byte of another version, and nobody waits for what does not come."""
    a = far(Vast(LENGTH))
    later = a.change_reply

    def before(request: Request, first: int) -> None:
        if first > 10 * S:
            if how == "changed" and a.version == 1:
                a.change()
            elif how == "gone":
                a.status = 404
            else:
                a.ranges = False

    a.before, a.change_reply = before, later
    with Origin(a) as origin, Proxy(site(origin, **TREE)) as proxy, proxy.client() as client:
        client.request("GET", "/a", {"Range": "bytes=0-"})
        got = client.read_response(tolerate_abort=True)
        assert got.body == content(1, 0, LENGTH - 1)[: len(got.body)]
        assert got.aborted
        at_rest(proxy)
        counted = proxy._worker.memory.audit()
        assert counted["filling_runs"] == counted["filling_blocks"] == 0


def test_what_another_worker_stored_since_it_was_looked_for_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the look and the claim to fetch it somebody else's claim had ended."""
    looks: Counter[int] = Counter()
    held = SlicedSource._held

    def late(self: SlicedSource, number: int) -> Entry | None:
        looks[number] += 1
        return held(self, number) if looks[number] > 3 else None

    with Origin(far(Vast(LENGTH))) as origin, Proxy(site(origin, **TREE)) as proxy:
        proxy.get("/a", {"Range": "bytes=0-"})
        at_rest(proxy)
        before = origin.count()
        monkeypatch.setattr(SlicedSource, "_held", late)
        assert proxy.get("/a", {"Range": "bytes=9-"}).body == content(1, 9, LENGTH - 1)
        at_rest(proxy)
        assert len(looks) == COUNT
        assert origin.count() == before


def read(client: RawClient, out: list[bytes]) -> None:
    client.request("GET", "/a", {"Range": "bytes=0-"})
    out.append(client.read_response().body)


def test_each_slice_is_asked_for_once_on_the_node() -> None:
    with Origin(far(Vast(LENGTH)), patience=30) as origin, Siblings(site(origin, **TREE)) as nodes:
        bodies: list[bytes] = []
        clients = [nodes.client(number % 2, timeout=20) for number in range(6)]
        threads = [threading.Thread(target=read, args=(client, bodies)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert bodies == [content(1, 0, LENGTH - 1)] * 6
        assert numbers(origin) == list(range(COUNT))


def test_who_fetches_a_run_dies() -> None:
    """The other worker's client goes on from its own requests, under the same validator."""
    a = far(Vast(LENGTH))
    held, go = Signal("a long run"), Signal("its body")

    def before(request: Request, first: int) -> None:
        last = int((request["range"] or "").rpartition("-")[2])
        if last + 1 - first >= 8 * S and not held.is_set():
            held.set()
            request.conn.hold(go)

    a.before = before
    with Origin(a, patience=30) as origin, Siblings(site(origin, **TREE)) as nodes:
        first, second = nodes.client(0, timeout=20), nodes.client(1, timeout=20)
        first.request("GET", "/a", {"Range": "bytes=0-"})
        reader = threading.Thread(target=lambda: first.read_response(tolerate_abort=True))
        reader.start()
        held.wait()
        bodies: list[bytes] = []
        other = threading.Thread(target=read, args=(second, bodies))
        other.start()
        nodes.waiting(1, 1)
        time.sleep(0.1)
        nodes.kill(0)
        go.set()
        other.join()
        reader.join()
        assert bodies == [content(1, 0, LENGTH - 1)]
        nodes.memory.audit()
