"""The purge log: which notes reach a record, and what happens when it forgets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from cdn._core import cache_key
from cdn.proxy.purge_log import NOT_PURGED, Grade, Kind, Place, Purged, PurgeLog
from cdn.proxy.purging import Named, named
from cdn.rules.message import Fields, RequestHead
from cdn.rules.tags import group_tag
from cdn.store import Journal
from tests.rules.make import stored


def asked(path: str = "/p", authority: str = "a.test", scheme: str = "http") -> RequestHead:
    return RequestHead("GET", scheme, authority, path, None, Fields())


class Counter:
    """A store's epochs, from 0 on: a record of epoch 0 is older than every purge."""

    stamp = 0

    def next_stamp(self) -> int:
        self.stamp += 1
        return self.stamp


class Log(PurgeLog):
    def __init__(self, *, room: int = 1000, journal: Journal | None = None, **kept: int) -> None:
        self.counter: Any = Counter()
        self.journal = journal or Journal(self.counter, room)
        super().__init__(self.journal, {Kind[kind.upper()]: most for kind, most in kept.items()})

    def find(
        self, stamp: int, request: RequestHead, tags: Iterable[str] | None, key: bytes | None = None
    ) -> Purged:
        return super().find(stamp, request, tags, key_of(request) if key is None else key)

    def grade(self, stamp: int = 0, request: RequestHead | None = None, tags: tuple[str, ...] = ()) -> Grade:
        return self.find(stamp, request or asked(), tags).grade


def key_of(request: RequestHead, extras: tuple[bytes, ...] = ()) -> bytes:
    query = None if request.query is None else request.query.encode()
    authority, path = request.authority.encode(), request.path.encode()
    return cache_key(request.scheme == "https", authority, path, query, extras)


def test_nothing_is_purged_at_first() -> None:
    assert Log().find(0, asked(), ("a",)) == NOT_PURGED


@pytest.mark.parametrize(("soft", "grade"), [(True, Grade.SOFT), (False, Grade.GONE)])
def test_a_tag_reaches_older_records_that_have_it(soft: bool, grade: Grade) -> None:
    log = Log()
    log.purge(["a"], [], [], soft, 7)
    assert log.find(0, asked(), ("b", "a")) == Purged(grade, 7)
    assert log.grade(1, tags=("a",)) is Grade.NONE
    assert log.grade(tags=("b",)) is Grade.NONE
    assert log.grade() is Grade.NONE


@pytest.mark.parametrize(
    ("authority", "reached"),
    [("a.test", True), ("a.test:8080", True), ("b.a.test", False), ("a.test.b", False), ("[::1]:80", False)],
)
def test_a_host_reaches_all_its_ports(authority: str, reached: bool) -> None:
    log = Log()
    log.purge([], [], ["a.test"], False, 7)
    assert bool(log.grade(request=asked(authority=authority))) is reached


def test_a_host_may_be_an_address() -> None:
    log = Log()
    log.purge([], [], ["[::1]"], False, 7)
    assert log.grade(request=asked(authority="[::1]:80")) is Grade.GONE


@pytest.mark.parametrize(
    ("request_", "reached"),
    [
        (asked("/im/a"), True),
        (asked("/im"), True),
        (asked("/images"), True),
        (asked("/i"), False),
        (asked("/x/im"), False),
        (asked("/im", scheme="https"), False),
        (asked("/im", "b.test"), False),
        (asked("/im", "a.test:81"), False),
        (asked("/long/enough/to/match"), True),
    ],
)
def test_a_prefix_reaches_what_begins_so(request_: RequestHead, reached: bool) -> None:
    log = Log()
    log.purge([], ["http://a.test/long/enough", "http://a.test/im"], [], False, 7)
    assert bool(log.grade(request=request_)) is reached
    assert log.grade(1, request_) is Grade.NONE


def test_groups_reach_their_own_origin_only() -> None:
    log = Log()
    log.invalidate(asked(), [], [group_tag(asked(), "g")], 7)
    assert log.grade(tags=(group_tag(asked(), "g"),)) is Grade.GONE
    assert log.grade(tags=("g",)) is Grade.NONE
    other = asked(authority="b.test")
    assert log.grade(request=other, tags=(group_tag(other, "g"),)) is Grade.NONE
    assert log.grade(1, tags=(group_tag(asked(), "g"),)) is Grade.NONE


def test_no_groups_begin_no_epoch() -> None:
    log = Log()
    log.invalidate(asked(), [], [], 7)
    assert log.counter.stamp == 0


def test_the_severest_of_several_counts() -> None:
    log = Log()
    log.purge(["a"], [], [], False, 7)
    log.purge(["a", "b"], [], ["a.test"], True, 8)
    assert log.find(0, asked(), ("a",)) == Purged(Grade.GONE, 8)  # the later soft one does not bring it back
    assert log.find(1, asked(), ("a",)) == Purged(Grade.SOFT, 8)
    assert log.find(0, asked(), ()) == Purged(Grade.SOFT, 8)
    assert log.grade(2, tags=("a",)) is Grade.NONE


def test_while_tags_are_unknown_any_may_be_there() -> None:
    log = Log()
    log.purge([], [], ["b.test"], False, 7)
    assert log.find(0, asked(), None) == NOT_PURGED
    log.purge(["x"], [], [], True, 7)
    assert log.find(1, asked(), None).grade is not Grade.NONE
    assert log.find(2, asked(), None) == NOT_PURGED
    log.invalidate(asked(), [], ["g"], 7)
    assert log.find(2, asked(), None).grade is not Grade.NONE
    assert log.find(2, asked(authority="b.test"), None) == NOT_PURGED  # another origin's groups
    assert log.find(3, asked(), None) == NOT_PURGED


@pytest.fixture
def full() -> Log:
    """Two of three notes of each kind are kept."""
    log = Log(tag=2, prefix=2, host=2, group=2, origin=2)
    for i in range(3):
        log.purge([f"t{i}"], [f"http://a.test/{i}"], [f"h{i}"], False, 10 + i)
        log.invalidate(asked(authority=f"o{i}"), [], [group_tag(asked(), f"g{i}")], 10 + i)
    return log


def test_what_it_forgot_has_to_be_validated(full: Log) -> None:
    assert full.find(0, asked(authority="h0"), ()) == Purged(Grade.ASK, 12)
    assert full.grade(0, asked(authority="h1")) is Grade.GONE
    assert full.grade(0, tags=("t1",)) is Grade.GONE
    # epoch 1 began with the purges that were forgotten: what is not older is not reached
    assert full.find(1, asked(authority="z"), ("t0", "zz")) == NOT_PURGED
    assert full.grade(1, tags=(group_tag(asked(), "g0"),)) is Grade.ASK  # forgotten later than t0: epoch 2
    assert full.grade(2, tags=(group_tag(asked(), "g0"),)) is Grade.NONE


def test_forgotten_origins_are_not_joined(full: Log) -> None:
    assert full.find(4, asked(authority="o2"), None).grade is not Grade.NONE
    assert full.find(6, asked(authority="o0"), None) == NOT_PURGED


def test_naming_one_again_keeps_it() -> None:
    log = Log(tag=2)
    for name in ("a", "b", "a", "c"):
        log.purge([name], [], [], False, 7)
    assert log.grade(2, tags=("a",)) is Grade.GONE
    assert log.grade(1, tags=("b",)) is Grade.ASK


def test_a_url_reaches_its_variants_and_nothing_else() -> None:
    log = Log()
    log.purge([], [], [], False, 7, urls=[key_of(asked("/a"))])
    variant = key_of(asked("/a"), (b"\x00vary", b"accept", b"x"))
    assert log.find(0, asked("/a"), (), variant) == Purged(Grade.GONE, 7)
    assert not log.current(0, variant)
    assert log.grade(0, asked("/ab")) is Grade.NONE
    assert log.grade(1, asked("/a")) is Grade.NONE
    assert log.current(1, variant)


def test_a_url_begins_no_epoch_for_others() -> None:
    log = Log()
    log.purge([], [], [], False, 7, urls=[key_of(asked("/a"))])
    still = sum(log.current(0, key_of(asked(f"/{i}"))) for i in range(1000))
    assert still >= 990  # a bucket may be shared
    log.purge(["t"], [], [], False, 8)
    assert not any(log.current(0, key_of(asked(f"/{i}"))) for i in range(1000))


def test_everything() -> None:
    log = Log()
    log.purge([], [], [], True, 7, everything=True)
    assert log.grade() is Grade.SOFT
    log.purge([], [], [], False, 8, everything=True)
    assert log.find(1, asked(), ("a",)) == Purged(Grade.GONE, 8)
    assert log.grade(2) is Grade.NONE


def test_another_process_reads_the_same() -> None:
    log = Log()
    log.purge(["a"], ["http://a.test/im"], [], False, 7)
    other = Log(journal=log.journal)
    assert other.grade(tags=("a",)) is Grade.GONE
    log.purge([], [], ["b.test"], True, 8)
    assert other.grade(1, asked(authority="b.test")) is Grade.SOFT
    assert other.grade(0, asked("/images")) is Grade.GONE


def test_who_reads_too_late_validates_what_is_older() -> None:
    log, late = Log(room=4), None
    late = Log(journal=log.journal)
    for i in range(10):
        log.purge([f"t{i}"], [], [], False, 7)
        log.grade(0)
    assert log.grade(0, tags=("t0",)) is Grade.GONE
    assert late.grade(0, tags=("t0",)) is Grade.ASK
    assert late.grade(0, asked(authority="z")) is Grade.ASK
    assert late.grade(8, tags=("t9",)) is Grade.GONE
    assert late.grade(9, tags=("t8",)) is Grade.NONE
    assert late.grade(10, tags=("t9",)) is Grade.NONE


def test_what_is_left() -> None:
    fresh = stored("Cache-Control: max-age=60, stale-while-revalidate=10, stale-if-error=20")
    at = fresh.fresh_until - 1000
    soft = Purged(Grade.SOFT, at).applied(fresh)
    assert (soft.fresh_until, soft.swr_until, soft.sie_until) == (at, fresh.swr_until, fresh.sie_until)
    ask = Purged(Grade.ASK, at).applied(fresh)
    assert (ask.fresh_until, ask.swr_until, ask.sie_until) == (at, at, at)
    late = fresh.fresh_until + 1000
    assert Purged(Grade.SOFT, late).applied(fresh) == fresh


def test_normal_forms() -> None:
    assert named([" news "], ["HTTP://A.test:80/%7ex/i"], ["A.test", "[::1]"]) == Named(
        ("news",), ("http://a.test/~x/i",), ("a.test", "[::1]")
    )
    assert named(["caf\xe9"], ["http://a.test"], []) == Named(("caf\xc3\xa9",), ("http://a.test/",), ())


@pytest.mark.parametrize("tag", ["", " ", "a,b", "a\nb", "\x01http://a.test\x01g", "x" * 2000, "\ud800"])
def test_what_is_no_tag(tag: str) -> None:
    with pytest.raises(ValueError, match="is not a tag"):
        named([tag], [], [])


@pytest.mark.parametrize(
    "prefix", ["http://a.test/?x", "http://a.test/#x", "/x", "http:///x", "http://a b/", ""]
)
def test_what_is_no_prefix(prefix: str) -> None:
    with pytest.raises(ValueError, match=r"has a query|is not an? "):
        named([], [prefix], [])


@pytest.mark.parametrize("host", ["", "a.test:81", "a.test/x", "a.test?", "[::1]:81", "a b", "*.test/", "#"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        named([], [], [host])


# The stream of all nodes

KEY, OTHER_KEY = (cache_key(False, b"a.test", path, None, ()) for path in (b"/p", b"/q"))


def test_a_place_is_said_before_its_purge_and_known_after_it() -> None:
    log = Log()
    assert log.told() is None
    assert log.applied() is None
    seen: list[Any] = []
    append = log.journal.append

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(log.journal, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(log.journal, name, value)

        def append(self, *args: Any) -> int:
            seen.append((log.told(), log.applied()))
            return append(*args)

    log._journal = Watched()  # type: ignore[assignment]
    place = Place(3, 4711)
    log.purge(["a"], [], [], False, 10, urls=[KEY, OTHER_KEY], place=place)
    assert seen == [(place, None)] * 3
    assert log.applied() == place
    notes = log.journal.read(0)[0]
    assert [note[0] for note in notes] == [Kind.TAG, Kind.URL, Kind.URL, Kind.PLACE]
    assert int.from_bytes(notes[-1][1], "little") == place.word


def test_a_place_is_no_purge_and_a_gap_is_validated() -> None:
    log = Log()
    log.purge(["a"], [], [], False, 10, place=Place(3, 1))
    assert log.find(0, asked(), ["b"], KEY) == NOT_PURGED
    log.forget(Place(3, 9), 20)
    assert log.applied() == log.told() == Place(3, 9)
    found = log.find(log.counter.stamp - 1, asked(), ["b"], KEY)
    assert found == Purged(Grade.ASK, 20)
    log.forget(None, 30)
    assert log.applied() == Place(3, 9)


def test_places_compare_within_one_stream() -> None:
    assert Place(3, 9).reaches(Place(3, 9))
    assert not Place(3, 8).reaches(Place(3, 9))
    assert not Place(4, 9).reaches(Place(3, 1))
    assert Place.of(Place((1 << 20) - 1, (1 << 44) - 1).word) == Place((1 << 20) - 1, (1 << 44) - 1)
    assert str(Place(0x1C3, 4711)) == "1c3.4711"
