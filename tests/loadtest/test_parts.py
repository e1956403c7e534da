"""The parts of a load test without a network: percentiles, popularity, framing, outcomes, who is local."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from cdn.loadtest import LoadTestError, Plan, target
from cdn.loadtest.answer import Answer, MalformedError
from cdn.loadtest.cache_status import outcome
from cdn.loadtest.histogram import LONGEST, Histogram
from cdn.loadtest.profile import heads
from cdn.loadtest.zipf import ranks


def test_percentiles_are_those_of_the_sorted_times_to_the_width_of_a_bucket() -> None:
    draw = random.Random(7)
    times = sorted(int(draw.lognormvariate(7, 2)) for _ in range(20_000))
    whole, half = Histogram(), Histogram()
    for i, us in enumerate(times):
        (whole if i % 2 else half).add(us)
    whole.merge(half)
    points = [50.0, 90.0, 99.0, 99.9, 99.99, 100.0]
    for percent, got in zip(points, whole.percentiles(points), strict=True):
        exact = times[max(1, -(-20_000 * round(percent * 100) // 10_000)) - 1]
        assert exact <= got <= exact * (1 + 1 / 128) + 1, percent
    assert (whole.count, whole.highest, whole.lowest) == (20_000, times[-1], times[0])
    assert whole.mean == pytest.approx(sum(times) / 20_000)


def test_times_beyond_any_bucket_are_kept_at_the_longest() -> None:
    histogram = Histogram()
    histogram.add(1 << 60)
    histogram.add(-5)
    assert (histogram.percentile(100), histogram.percentile(50), histogram.count) == (LONGEST, 0, 2)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 1.4])
def test_ranks_come_in_proportion_to_their_power(alpha: float) -> None:
    draws = 60_000
    counts = Counter(islice(ranks(50, alpha, random.Random(3).random), draws))
    weights = [k**-alpha for k in range(1, 51)]
    chi = sum((counts[k + 1] - (e := draws * w / sum(weights))) ** 2 / e for k, w in enumerate(weights))
    assert chi < 85  # 49 degrees of freedom: 1 of 1,000 above


def test_the_same_seed_asks_for_the_same(tmp_path: Path) -> None:
    where = target.parse("http://127.0.0.1:1/o/{}?x")

    def first(**words: object) -> list[bytes]:
        return list(islice(heads(Plan(where, objects=1000, **words)), 200))  # type: ignore[arg-type]

    assert first(zipf=0.9, seed=4) == first(zipf=0.9, seed=4) != first(zipf=0.9, seed=5)
    assert first(seed=4) == first(seed=4) != first(zipf=0.9, seed=4)
    assert all(
        head.startswith(b"GET /o/") and b"?x HTTP/1.1\r\nHost: 127.0.0.1:1\r\n" in head for head in first()
    )
    listed = tmp_path / "urls"
    listed.write_text("# two\n/a\n\nhttp://other.test/b?c#d\n")
    plain = target.parse("http://127.0.0.1:1")
    trace = list(heads(Plan(plain, trace=listed, fields=(("X-A", "1"),))))
    assert [h.split(b"\r\n")[:3] for h in trace] == [
        [b"GET /a HTTP/1.1", b"Host: 127.0.0.1:1", b"X-A: 1"],
        [b"GET /b?c HTTP/1.1", b"Host: other.test", b"X-A: 1"],
    ]
    assert set(islice(heads(Plan(plain, urls=listed)), 50)) == {h.replace(b"X-A: 1\r\n", b"") for h in trace}
    listed.write_text("/a\nb c\n")
    with pytest.raises(LoadTestError, match="urls:2: "):
        heads(Plan(plain, urls=listed))


ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, False),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", 304, True),
    (
        b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        200,
        False,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n",
        200,
        False,
    ),
    (b"HTTP/1.0 404 Not Found\r\nContent-Length: 1\r\n\r\nx", 404, True),
]


@pytest.mark.parametrize("whole", ANSWERS)
def test_an_answer_ends_where_its_framing_says_however_it_is_cut(whole: tuple[bytes, int, bool]) -> None:
    data, status, close = whole
    for cut in [*range(1, len(data)), len(data)]:
        answer = Answer()
        ends = [answer.feed(part) for part in (data[:cut], data[cut:]) if part]
        assert ends == [False] * (len(ends) - 1) + [True]
        assert (answer.status, answer.close) == (status, close)
    answer.again()
    assert [answer.feed(data[i : i + 1]) for i in range(len(data))][-2:] == [False, True]
    answer.again()
    with pytest.raises(MalformedError):
        answer.feed(data + b"x")


@pytest.mark.parametrize("data", [b"HTTP/2 200\r\n\r\n", b"hello\r\n\r\n", b"HTTP/1.1 101 S\r\n\r\n"])
def test_what_is_no_answer_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Answer().feed(data)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("edge; hit; ttl=30", "hit"),
        ('edge; hit; ttl=-3; detail="a, b"', "hit, stale"),
        ("shield; hit; ttl=3, edge; fwd=uri-miss; fwd-status=200; stored", "forwarded: uri-miss"),
        ("edge; fwd=stale; fwd-status=304", "revalidated"),
        ("edge; fwd=uri-miss; collapsed", "collapsed"),
        ('edge; detail="; hit, x; hit"; fwd=bypass', "forwarded: bypass"),
        ("what?", "no Cache-Status"),
    ],
)
def test_the_nearest_cache_says_the_outcome(value: str, expected: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nCache-Status: far; hit\r\nCACHE-STATUS: {value}\r\n".encode()
    assert outcome(head) == expected


def test_who_is_local() -> None:
    local = [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "10.1.2.3",
        "192.168.0.9",
        "172.31.0.1",
        "fd00::1",
        "fe80::1%eth0",
        "0.0.0.0",
        "::",
    ]
    assert all(map(target.is_local, [*local, "::ffff:10.0.0.1"]))
    assert not any(
        map(
            target.is_local,
            [
                "8.8.8.8",
                "0.0.0.1",
                "172.32.0.1",
                "64:ff9b::a00:1",
                "2002:a00:1::1",
                "2606:4700::1",
                "::ffff:8.8.8.8",
                "100.64.0.1",
            ],
        )
    )
