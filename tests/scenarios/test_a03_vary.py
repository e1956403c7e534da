"""Variants of one URL (RFC 9111 §4.1)."""

from __future__ import annotations

import pytest

from tests.harness import Origin, Reply, Request, fresh, reply, site
from tests.harness.origin import RuleFunction
from tests.harness.proxy import Proxy, is_hit


def by(*names: str) -> RuleFunction:
    """A rule whose body shows the fields that it varies by."""

    def rule(request: Request) -> Reply:
        shown = "|".join(request[name] or "-" for name in names)
        return fresh(60, shown.encode(), vary=", ".join(names))

    return rule


def test_each_variant_is_kept() -> None:
    with Origin(by("X-Size")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            for size in ("small", "large"):
                assert proxy.get("/a", {"X-Size": size}).body == size.encode()
            assert proxy.get("/a").body == b"-"
        assert origin.count() == 3


def test_the_hit_lane_finds_the_variant() -> None:
    with Origin(by("X-Size")) as origin, Proxy(site(origin)) as proxy:
        for size in ("small", "large"):
            proxy.get("/a", {"X-Size": size})
        with proxy.lanes(hit=3):
            for size in ("small", "large", "small"):
                assert proxy.get("/a", {"X-Size": size}).body == size.encode()
        assert origin.count() == 2


def test_values_are_compared_whole() -> None:
    with Origin(by("X-A", "X-B")) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a", {"X-A": "a", "X-B": "bc"}).body == b"a|bc"
        assert proxy.get("/a", {"X-A": "ab", "X-B": "c"}).body == b"ab|c"
        assert proxy.get("/a", [("X-A", "a"), ("X-A", "b"), ("X-B", "c")]).body == b"a, b|c"
        assert origin.count() == 3


EQUAL = {
    "order": ("gzip, br", "br, gzip"),
    "white space": ("gzip, br", "gzip,br"),
    "case": ("gzip", "GZIP"),
    "lines": ("gzip, br", ["gzip", "br"]),
}


@pytest.mark.parametrize(("one", "other"), EQUAL.values(), ids=EQUAL)
def test_accept_encoding_is_normalised(one: str, other: str | list[str]) -> None:
    with Origin(by("Accept-Encoding")) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a", {"Accept-Encoding": one})
        values = [other] if isinstance(other, str) else other
        assert is_hit(proxy.get("/a", [("Accept-Encoding", value) for value in values]))
        assert origin.count() == 1


def test_different_codings_are_different_variants() -> None:
    with Origin(by("Accept-Encoding")) as origin, Proxy(site(origin)) as proxy:
        for value in ("gzip", "br", "gzip;q=0", None):
            fields = {"Accept-Encoding": value} if value else None
            assert proxy.get("/a", fields).body == (value or "-").encode()
        assert origin.count() == 4


def test_vary_over_several_lines() -> None:
    fields = [("Cache-Control", "max-age=60"), ("Vary", "X-A"), ("Vary", "x-b")]
    with Origin(lambda request: reply(200, fields, (request["x-b"] or "-").encode())) as origin:
        with Proxy(site(origin)) as proxy:
            assert proxy.get("/a", {"X-A": "1", "X-B": "1"}).body == b"1"
            assert proxy.get("/a", {"X-A": "1", "X-B": "2"}).body == b"2"
            assert proxy.get("/a", {"X-A": "1", "X-B": "1"}).body == b"1"
            assert origin.count() == 2


def test_vary_on_cookie_keeps_people_apart() -> None:
    with Origin(by("Cookie")) as origin, Proxy(site(origin)) as proxy:
        for who in ("id=1", "id=2"):
            assert proxy.get("/a", {"Cookie": who}).body == who.encode()
        with proxy.outcomes(hit=2):
            for who in ("id=1", "id=2"):
                assert proxy.get("/a", {"Cookie": who}).body == who.encode()
        assert origin.count() == 2


def test_a_new_vary_does_not_give_the_old_answer_to_strangers() -> None:
    """First no Vary at all, after its time `Vary: X-Size`: nobody gets another's size."""
    answers = [fresh(5, b"any"), fresh(60, b"small", vary="X-Size"), fresh(60, b"large", vary="X-Size")]
    with Origin(lambda request: answers[origin.count() - 1]) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a", {"X-Size": "small"}).body == b"any"
        proxy.advance(10)
        assert proxy.get("/a", {"X-Size": "small"}).body == b"small"
        assert proxy.get("/a", {"X-Size": "large"}).body == b"large"
        assert proxy.get("/a", {"X-Size": "small"}).body == b"small"
        assert origin.count() == 3


def test_a_variant_is_revalidated_on_its_own() -> None:
    def rule(request: Request) -> Reply:
        tag = f'"{request["x-size"]}"'
        if request["if-none-match"] == tag:
            return reply(304, {"ETag": tag, "Cache-Control": "max-age=10", "Vary": "X-Size"})
        return fresh(10, (request["x-size"] or "-").encode(), etag=tag, vary="X-Size")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        for size in ("s", "l"):
            proxy.get("/a", {"X-Size": size})
        proxy.advance(15)
        with proxy.outcomes(revalidated=2):
            for size in ("s", "l"):
                assert proxy.get("/a", {"X-Size": size}).body == size.encode()
        assert origin.count() == 4


def test_a_304_chooses_a_variant_for_one_value_only() -> None:
    """Though a response without Vary was stored and is gone: what is stored now is compared by its own Vary."""

    def rule(request: Request) -> Reply:
        value, known = request["x-a"], request["if-none-match"]
        if value == "2":
            gone = reply(304, {"Cache-Control": "no-store", "ETag": '"p"'})
            return gone if known == '"p"' else fresh(10, b"plain", etag='"p"')
        if value == "3":
            assert known == '"v1"'
            return reply(304, {"Cache-Control": "max-age=60", "ETag": '"v1"', "Vary": "X-A"})
        return fresh(10, f"for {value}".encode(), etag=f'"v{value}"', vary="X-A")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a", {"X-A": "1"}).body == b"for 1"
        proxy.get("/a", {"X-A": "2"})
        proxy.advance(11)
        assert proxy.get("/a", {"X-A": "2"}).body == b"plain"  # once more, and then it is gone
        assert proxy.get("/a", {"X-A": "3"}).body == b"for 1"
        assert is_hit(proxy.get("/a", {"X-A": "3"}))
        assert proxy.get("/a", {"X-A": "4"}).body == b"for 4"
