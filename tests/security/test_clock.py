"""Time: no date that anybody sends, and no jump of a clock, makes an Age negative or a lifetime longer."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from tests.harness import Origin, fresh, reply, site
from tests.harness.proxy import Proxy, is_hit

HOUR = 3600


@pytest.mark.parametrize("offset", [-10 * 365 * 24 * HOUR, -HOUR, -30, 0, 30, HOUR, 10 * 365 * 24 * HOUR])
def test_an_origins_clock_that_is_wrong(offset: int) -> None:
    with Origin(lambda request: fresh(600, date=date)) as origin, Proxy(site(origin)) as proxy:
        date = formatdate(proxy.now() + offset, usegmt=True)
        proxy.get("/a")
        proxy.advance(5)
        got = proxy.get("/a")
        assert got["date"] == date
        age = int(got["age"] or 0)
        assert age >= 0
        if is_hit(got):
            assert age == max(0, -offset) + 5  # a date behind ours counts as age, one before it as nothing
            assert age < 600
        proxy.advance(600)
        proxy.get("/a")
        assert origin.count() >= 2


@pytest.mark.parametrize("expires", [HOUR, 10 * 365 * 24 * HOUR])
def test_expires_counts_from_its_own_date(expires: int) -> None:
    """An origin an hour ahead of us gives a lifetime of Expires − Date, not of Expires − our time."""
    with Origin(lambda request: reply(200, fields, b"x")) as origin, Proxy(site(origin)) as proxy:
        date = proxy.now() + expires
        fields = {"Date": formatdate(date, usegmt=True), "Expires": formatdate(date + 60, usegmt=True)}
        proxy.get("/a")
        proxy.advance(50)
        assert is_hit(proxy.get("/a"))
        proxy.advance(20)
        assert not is_hit(proxy.get("/a"))
        assert origin.count() == 2


@pytest.mark.parametrize("age", ["-1", "abc", "1.5", "", "99999999999999999999", "2147483648"])
def test_an_age_that_is_none(age: str) -> None:
    with Origin(fresh(600, age=age)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(1)
        got = proxy.get("/a")
        assert int(got["age"] or 0) >= 0
        assert origin.count() in (1, 2)
        assert len(got.all("age")) <= 1


def test_hours_of_sleep_count() -> None:
    """Boot time goes on in suspend: what was fresh for ten minutes is stale after an hour."""
    with Origin(fresh(600)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(HOUR)
        assert not is_hit(proxy.get("/a"))
        assert origin.count() == 2


def test_a_clock_that_goes_back_extends_nothing() -> None:
    """Ours never does; should it all the same, what is stored is not believed rather than kept alive."""
    with Origin(fresh(600)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(-HOUR)
        got = proxy.get("/a")
        assert int(got["age"] or 0) >= 0
        proxy.advance(HOUR + 601)
        assert not is_hit(proxy.get("/a"))
        assert origin.count() in (2, 3)


@pytest.mark.parametrize("back", [1, 30, HOUR])
def test_what_was_born_in_the_future_is_no_age_old(back: int) -> None:
    """In the hit lane, which counts in whole seconds and has no sign to write."""
    with Origin(fresh(600)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(-back)
        with proxy.lanes(hit=1):
            assert proxy.get("/a")["age"] == "0"
