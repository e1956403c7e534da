"""The tier on disk through the running proxy: warm after a start, behind a small memory, and never wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from cdn.store.disk import notes
from tests.harness import HOST, Origin, Reply, Request, Tree, eventually, fresh, reply, site
from tests.harness.proxy import Proxy, is_hit, ours


def on_disk(origin: Origin, path: Path, memory: str = "16 MiB", cache: Any = None, **disk: Any) -> Tree:
    tier = {"path": str(path / "cache"), "size": "256 MiB", "write_delay": "50ms", **disk}
    return site(origin, cache, store={"memory": memory, "disk": tier})


def flush(proxy: Proxy) -> None:
    """What is stored by now is on disk behind this."""
    assert proxy._worker._shared.disk.flush(10)


def disk_stats(proxy: Proxy) -> dict[str, int]:
    return dict(proxy.stats()["disk"])


def purge(
    proxy: Proxy, urls: list[str] | None = None, all: bool = False, soft: bool = False, **named: Any
) -> None:
    async def run() -> None:
        proxy._worker.purge(urls or [], all, soft, **named)

    assert proxy._loop is not None
    asyncio.run_coroutine_threadsafe(run(), proxy._loop).result(5)


def counted(request: Request) -> Reply:
    """Says which path it is for, and can be validated."""
    if request["if-none-match"] == f'"{request.target}"':
        return reply(304, {"ETag": f'"{request.target}"', "Cache-Control": "max-age=60"})
    return fresh(
        60, request.target.encode() * 50, etag=f'"{request.target}"', cache_tag="all,t" + request.target[1:]
    )


def test_warm_after_a_start(tmp_path: Path) -> None:
    with Origin(counted) as origin:
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            bodies = {f"/{i}": proxy.get(f"/{i}").body for i in range(50)}
            flush(proxy)
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            for target, body in bodies.items():
                got = proxy.get(target)
                assert is_hit(got)
                assert got.body == body
                assert int(got["age"] or 0) <= 5
            with proxy.lanes(hit=1):  # from then on it is a record like any other
                assert is_hit(proxy.get("/7"))
            assert disk_stats(proxy)["brought"] == 50
        assert origin.count() == 50


def test_without_a_stop_in_between(tmp_path: Path) -> None:
    """As after a kill: the folder as it lies there, while the first node still has it."""
    with Origin(counted) as origin, Proxy(on_disk(origin, tmp_path)) as proxy:
        for i in range(20):
            proxy.get(f"/{i}")
        flush(proxy)
        shutil.copytree(tmp_path / "cache", tmp_path / "b" / "cache")
        with Proxy(on_disk(origin, tmp_path / "b")) as other:
            assert all(is_hit(other.get(f"/{i}")) for i in range(20))
        assert origin.count() == 20


def test_what_memory_has_no_room_for_comes_from_disk(tmp_path: Path) -> None:
    def big(request: Request) -> Reply:
        return fresh(60, request.target.encode() * 20_000)

    with Origin(big) as origin, Proxy(on_disk(origin, tmp_path, "2 MiB")) as proxy:
        targets = [f"/{i:02}" for i in range(80)]  # 60 KB each
        for target in targets:
            proxy.get(target)
            flush(proxy)
        assert proxy.stats()["store"]["evictions"] > 40
        with proxy.outcomes(hit=80):
            for target in targets:
                assert proxy.get(target).body == target.encode() * 20_000
        assert origin.count() == 80
        assert disk_stats(proxy)["brought"] >= 40


def test_every_variant_comes_back(tmp_path: Path) -> None:
    def varied(request: Request) -> Reply:
        language = request["accept-language"]
        return fresh(60, f"in {language}".encode(), vary="Accept-Language")

    with Origin(varied) as origin:
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            for language in ("de", "fr", "el"):
                proxy.get("/", {"Accept-Language": language})
            flush(proxy)
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            for language in ("fr", "el", "de"):
                got = proxy.get("/", {"Accept-Language": language})
                assert is_hit(got)
                assert got.body == f"in {language}".encode()
            assert not is_hit(proxy.get("/", {"Accept-Language": "it"}))


def test_a_stale_one_is_validated_and_the_result_is_on_disk(tmp_path: Path) -> None:
    with Origin(counted) as origin:
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            body = proxy.get("/a").body
            flush(proxy)
            proxy.advance(100)
            assert "fwd-status" in ours(proxy.get("/a"))
            flush(proxy)
        later = Proxy(on_disk(origin, tmp_path))
        later.advance(110)
        with later as proxy:
            got = proxy.get("/a")
            assert is_hit(got)
            assert got.body == body
            assert 10 <= int(got["age"] or 0) < 60  # the machine may have been slow
        assert origin.count() == 2
        assert [request["if-none-match"] for request in origin.requests] == [None, '"/a"']


LONG = 6 << 20


def long_one(request: Request) -> Reply:
    if request["if-none-match"] == '"long"':
        return reply(304, {"ETag": '"long"', "Cache-Control": "max-age=60"})
    return fresh(60, (b"%07d " * (LONG // 8)) % tuple(range(LONG // 8)), etag='"long"')


def test_a_long_body_is_read_from_disk_while_it_is_sent(tmp_path: Path) -> None:
    with Origin(long_one) as origin:
        with Proxy(on_disk(origin, tmp_path, "32 MiB")) as proxy:
            whole = proxy.get("/").body
            flush(proxy)
        with Proxy(on_disk(origin, tmp_path, "32 MiB")) as proxy:
            got = proxy.get("/")
            assert is_hit(got)
            assert got.body == whole
            part = proxy.get("/", {"Range": "bytes=5000001-5000100"})
            assert part.status == 206
            assert part.body == whole[5_000_001:5_000_101]
            assert proxy.get("/", {"If-None-Match": '"long"'}).status == 304
            assert disk_stats(proxy)["brought"] == 0
            assert proxy.stats()["store"]["objects"] == 0
            proxy.advance(100)  # it has to be validated, which needs memory
            got = proxy.get("/")
            assert "fwd-status" in ours(got)
            assert got.body == whole
        assert origin.count() == 2


def test_a_bad_block_behind_a_sent_head_cuts_the_client_and_goes(tmp_path: Path) -> None:
    with Origin(long_one) as origin:
        with Proxy(on_disk(origin, tmp_path, "32 MiB")) as proxy:
            whole = proxy.get("/").body
            flush(proxy)
        damage(tmp_path, 5_000_000)
        with Proxy(on_disk(origin, tmp_path, "32 MiB")) as proxy:
            with proxy.client() as client:
                client.request("GET", "/")
                cut = client.read_response(tolerate_abort=True)
            assert is_hit(cut)
            assert cut.aborted
            assert whole.startswith(cut.body)
            assert 4_000_000 < len(cut.body) < 5_000_000
            assert disk_stats(proxy)["bad_blocks"] == 1
            got = proxy.get("/")
            assert not is_hit(got)
            assert got.body == whole


def damage(path: Path, offset: int) -> None:
    """Change a byte so far behind the beginning of the first entry."""
    name = next(name for name in sorted(os.listdir(path / "cache")) if name.endswith(".data"))
    with open(path / "cache" / name, "r+b") as file:
        file.seek(4096 + offset)
        byte = file.read(1)
        file.seek(4096 + offset)
        file.write(bytes([byte[0] ^ 1]))


def test_a_damaged_entry_is_a_miss_and_goes(tmp_path: Path) -> None:
    with Origin(counted) as origin:
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            body = proxy.get("/a").body
            flush(proxy)
        damage(tmp_path, 400)
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            got = proxy.get("/a")
            assert not is_hit(got)
            assert got.body == body
            assert disk_stats(proxy)["bad_blocks"] == 1
            assert is_hit(proxy.get("/a"))


# -- purges -----------------------------------------------------------------------------------------------------------

PURGES: dict[str, Any] = {
    "url": {"urls": [f"http://{HOST}/1"]},
    "all": {"all": True},
    "tag": {"tags": ["t1"]},
    "prefix": {"prefixes": [f"http://{HOST}/1"]},
    "host": {"hosts": [HOST]},
}


@pytest.mark.parametrize("how", PURGES)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_a_purge_reaches_what_is_only_on_disk_and_holds_after_a_start(
    tmp_path: Path, how: str, soft: bool
) -> None:
    everything = how in ("all", "host")
    with Origin(counted) as origin:
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            for target in ("/1", "/2"):
                proxy.get(target)
            flush(proxy)
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            purge(proxy, soft=soft, **PURGES[how])  # neither of them is in memory
            flush(proxy)
            shutil.copytree(tmp_path / "cache", tmp_path / "killed" / "cache")
            assert not is_hit(proxy.get("/1"))
            assert is_hit(proxy.get("/2")) != everything
        with Proxy(on_disk(origin, tmp_path / "killed")) as proxy:
            got = proxy.get("/1")
            assert not is_hit(got)
            assert ("fwd-status" in ours(got)) == soft  # what was purged softly is validated
            assert is_hit(proxy.get("/2")) != everything
            assert is_hit(proxy.get("/1"))
            flush(proxy)
        with Proxy(
            on_disk(origin, tmp_path / "killed")
        ) as proxy:  # stored after the purge: not reached by it
            assert is_hit(proxy.get("/1"))


def test_an_unsafe_request_reaches_what_is_on_disk(tmp_path: Path) -> None:
    with Origin(counted) as origin:
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            proxy.get("/1")
            flush(proxy)
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            proxy.ask("POST", "/1")
            flush(proxy)
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            assert not is_hit(proxy.get("/1"))


@pytest.mark.parametrize("damage", ["gone", "flipped"])
def test_where_purges_may_be_missing_everything_is_validated(tmp_path: Path, damage: str) -> None:
    with Origin(counted) as origin:
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            proxy.get("/1")
            purge(proxy, tags=["another"])
            flush(proxy)
        purges = tmp_path / "cache" / "purges"
        if damage == "gone":
            purges.unlink()
        else:
            data = bytearray(purges.read_bytes())
            data[-3] ^= 4
            purges.write_bytes(data)
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            got = proxy.get("/1")
            assert not is_hit(got)
            assert "fwd-status" in ours(got)
            assert is_hit(proxy.get("/1"))
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            assert is_hit(proxy.get("/1"))
        assert origin.count() == 2


def test_where_a_segment_is_missing_nothing_of_before_comes_back(tmp_path: Path) -> None:
    """Removed with its log, it took with it that a POST had invalidated what an older segment holds."""
    with Origin(counted) as origin:
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            proxy.get("/1")
            proxy.get("/2")
            flush(proxy)
        older = {path.name for path in (tmp_path / "cache").iterdir()}
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            assert is_hit(proxy.get("/1"))
            proxy.ask("POST", "/1")
            flush(proxy)
        newer = [path for path in (tmp_path / "cache").iterdir() if path.name not in older]
        assert {path.suffix for path in newer} == {".log", ".data"}
        for path in newer:
            path.unlink()
        asked = origin.count()
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            assert not is_hit(proxy.get("/1"))
            assert origin.count() == asked + 1
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            assert is_hit(proxy.get("/1"))
            assert not is_hit(proxy.get("/2"))  # also at the start after the next


def test_purges_cut_at_any_record_bring_nothing_back(tmp_path: Path) -> None:
    """The file ends where a purge ends, or before the first: sound in itself, and the purge behind it is missing."""
    with Origin(counted) as origin:
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            for i in range(4):
                proxy.get(f"/{i}")
            flush(proxy)
            purge(proxy, urls=[f"http://{HOST}/1"])
            purge(proxy, tags=["t2"])
            purge(proxy, prefixes=[f"http://{HOST}/3"])
            flush(proxy)
            shutil.copytree(tmp_path / "cache", tmp_path / "killed" / "cache")
        data = (tmp_path / "killed" / "cache" / "purges").read_bytes()
        ends, at = [], notes.HEAD
        while at < len(data):
            ends.append(at)
            at += 8 + int.from_bytes(data[at : at + 4], "little")
        assert (at, len(ends)) == (len(data), 3)
        for end in ends:
            left = tmp_path / f"cut {end}"
            shutil.copytree(tmp_path / "killed", left)
            os.truncate(left / "cache" / "purges", end)
            with Proxy(on_disk(origin, left)) as proxy:
                for i in range(4):
                    assert not is_hit(proxy.get(f"/{i}")), (end, i)
                    assert is_hit(proxy.get(f"/{i}"))


def test_another_configuration_decides_again(tmp_path: Path) -> None:
    with Origin(counted) as origin:
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            proxy.get("/1")
            flush(proxy)
        with Proxy(on_disk(origin, tmp_path, cache={"override_ttl": "0s"})) as proxy:
            assert not is_hit(proxy.get("/1"))


def test_without_room_in_the_queue_serving_goes_on(tmp_path: Path) -> None:
    """A disk that takes nothing: every request is answered, the log says so once."""
    with Origin(counted) as origin, Proxy(on_disk(origin, tmp_path)) as proxy:
        proxy.get("/before")
        flush(proxy)
        shutil.rmtree(tmp_path / "cache")
        for i in range(30):
            assert proxy.get(f"/{i}").status == 200
            time.sleep(0.01)
        assert all(is_hit(proxy.get(f"/{i}")) for i in range(30))
        eventually(lambda: disk_stats(proxy)["queue"] == 0, "the queue is worked off")


def test_explain_says_that_it_is_on_disk(tmp_path: Path) -> None:
    with Origin(counted) as origin:
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            proxy.get("/1")
            flush(proxy)
        with Proxy(on_disk(origin, tmp_path)) as proxy:
            told = proxy._worker.explain(f"http://{HOST}/1", [])
            assert told["stored"] is None
            assert told["on_disk"] is True
            assert proxy._worker.explain(f"http://{HOST}/2", [])["on_disk"] is False


BIG = (b"%07d " * (4 << 17)) % tuple(range(4 << 17))  # 4 MiB


def in_ranges(request: Request) -> Reply:
    wanted = request["range"]
    fields = {"ETag": '"big"', "Cache-Control": "max-age=60", "Accept-Ranges": "bytes"}
    if not wanted:
        return reply(200, fields, BIG)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    end = min(int(last or len(BIG)), len(BIG) - 1)
    fields["Content-Range"] = f"bytes {first}-{end}/{len(BIG)}"
    return reply(206, fields, BIG[int(first) : end + 1])


@pytest.mark.parametrize("cache", [None, {"slices": False}], ids=["slices", "parts"])
def test_stored_ranges_come_back(tmp_path: Path, cache: Any) -> None:
    with Origin(in_ranges) as origin:
        with Proxy(on_disk(origin, tmp_path, "32 MiB", cache)) as proxy:
            assert proxy.get("/", {"Range": "bytes=100-1999999"}).body == BIG[100:2_000_000]
            eventually(
                lambda: disk_stats(proxy)["queue"] > 0 or disk_stats(proxy)["written"] > 1, "it is stored"
            )
            flush(proxy)
        asked = origin.count()
        with Proxy(on_disk(origin, tmp_path, "32 MiB", cache)) as proxy:
            got = proxy.get("/", {"Range": "bytes=1000000-1500000"})
            assert got.status == 206
            assert is_hit(got)
            assert got.body == BIG[1_000_000:1_500_001]
        assert origin.count() == asked
