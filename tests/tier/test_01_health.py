"""How a server is left alone and comes back, on a clock of the test's own."""

from __future__ import annotations

from cdn.config.values import Eject, HealthCheck
from cdn.tier.health import FIRST_SHARE, PROBE_MS, Health, State

EJECT = Eject(failures=3, pause=2_000, longest=7_000, slow_return=10_000)
CHECK = HealthCheck("/", rise=2, fall=3)


def health(eject: Eject = EJECT, check: HealthCheck | None = None, **more: bool) -> tuple[Health, list[str]]:
    said: list[str] = []
    return Health(eject, check, said.append, **more), said


def test_only_failures_in_a_row_eject() -> None:
    one, said = health()
    for _ in range(5):
        one.failed(0, "reset")
        one.failed(0, "reset")
        one.worked(0)
    assert one.plain
    for _ in range(3):
        one.failed(1_000, "reset")
    assert one.state(1_000) is State.EJECTED
    assert not one.fit(1_000)
    assert said == ["is ejected for 2 s: reset"]


def test_heads_whose_bodies_break_are_no_successes() -> None:
    one, _ = health()
    for _ in range(2):
        one.worked(0)
        one.failed(0, "truncated", late=True)
    one.worked(0)
    one.worked(0)  # two in a row: the first was whole
    for _ in range(2):
        one.worked(0)
        one.failed(0, "truncated", late=True)
    assert one.plain
    one.worked(0)
    one.failed(0, "truncated", late=True)
    assert one.state(0) is State.EJECTED


def test_no_connection_ejects_at_once() -> None:
    one, _ = health()
    one.failed(0, "refused", connect=True)
    assert one.state(1_999) is State.EJECTED
    assert not one.fit(1_999)
    assert one.state(2_000) is State.RETURNING
    assert one.fit(2_000)


def test_a_returning_server_gets_one_request_a_second_until_one_works() -> None:
    one, said = health()
    one.failed(0, "refused", connect=True)
    one.picked(2_000)
    assert not one.fit(2_000 + PROBE_MS - 1)
    assert one.fit(2_000 + PROBE_MS)
    one.worked(2_100)
    assert one.fit(2_100)
    assert said[-1] == "is back"


def test_its_share_grows() -> None:
    one, _ = health()
    one.failed(0, "refused", connect=True)
    one.picked(2_000)
    one.worked(2_000)
    assert [one.share(2_000 + ms) for ms in (0, 500, 5_000, 9_999)] == [FIRST_SHARE, FIRST_SHARE, 0.5, 0.9999]
    assert one.state(2_500) is State.RETURNING
    assert one.share(12_000) == 1.0
    assert one.plain
    assert one.state(12_000) is State.UP


def test_the_pause_doubles_to_a_bound_and_is_forgotten_after_a_good_time() -> None:
    one, said = health()
    now = 0
    for pause in (2_000, 4_000, 7_000, 7_000):
        one.failed(now, "refused", connect=True)
        assert not one.fit(now + pause - 1)
        now += pause
        assert one.fit(now)
        one.picked(now)
    assert [line.split(":")[0] for line in said] == [
        "is ejected for 2 s", "is ejected again for 4 s", "is ejected again for 7 s", "is ejected again for 7 s",
    ]  # fmt: skip
    one.worked(now)
    one.failed(now + 100, "reset")  # one is enough while it comes back
    assert not one.fit(now + 7_099)
    now += 7_100
    one.picked(now)
    one.worked(now)
    now += EJECT.slow_return
    one.failed(now, "reset")
    assert one.fit(now)
    one.failed(now, "refused", connect=True)
    assert not one.fit(now + 1_999)
    assert one.fit(now + 2_000)


def test_what_was_asked_before_the_ejection_neither_brings_it_back_nor_prolongs_it() -> None:
    one, _ = health()
    one.failed(0, "refused", connect=True)
    one.worked(100)
    one.failed(200, "reset")
    assert one.state(300) is State.EJECTED
    assert one.fit(2_000)
    one.picked(1_000)  # asked all the same: nobody else was left
    one.worked(1_001)
    assert one.state(1_001) is State.RETURNING
    assert one.fit(1_001)


def test_checks_fall_and_rise() -> None:
    one, said = health(check=CHECK)
    assert one.state(0) is State.CHECKING
    assert one.fit(0)
    for fault in ("it answers 500", "it answers 500"):
        one.checked(0, fault)
    assert one.fit(0)
    one.checked(0, None)
    assert one.state(0) is State.UP
    for _ in range(3):
        one.checked(0, "no answer within 2 s")
    assert one.state(0) is State.DOWN
    assert not one.fit(10**9)
    one.checked(0, None)
    one.checked(0, "no answer within 2 s")
    one.checked(0, None)
    assert not one.fit(0)
    one.checked(0, None)
    assert one.fit(0)
    assert one.share(0) == FIRST_SHARE
    assert said == ["is down: 3 checks failed (no answer within 2 s)", "is up: 2 checks passed"]


def test_requests_and_checks_are_judged_apart() -> None:
    one, _ = health(check=CHECK)
    one.failed(0, "refused", connect=True)
    for _ in range(3):
        one.checked(0, "refused")
    assert not one.fit(60_000)
    one.checked(60_000, None)
    one.checked(60_000, None)
    assert one.fit(60_000)
    one.failed(70_000, "refused", connect=True)
    one.checked(70_000, None)
    assert not one.fit(70_000)


def test_draining_is_never_asked() -> None:
    one, _ = health(draining=True)
    assert not one.fit(0)
    assert one.state(0) is State.DRAINING
    one.worked(0)
    assert not one.fit(10**9)


def test_without_a_slow_return_the_whole_share_is_back_at_once() -> None:
    one, _ = health(Eject(slow_return=0))
    one.failed(0, "refused", connect=True)
    one.picked(2_000)
    one.worked(2_000)
    assert one.plain
    assert one.share(2_000) == 1.0


def test_a_reload_goes_on_where_it_was() -> None:
    old, _ = health(check=CHECK)
    old.failed(0, "refused", connect=True)
    new, _ = health(check=CHECK)
    new.take(old)
    assert not new.fit(1_999)
    assert new.fit(2_000)
    for _ in range(3):
        old.checked(0, "refused")
    newer, _ = health(check=CHECK)
    newer.take(old)
    assert newer.state(0) is State.DOWN
    without, _ = health()
    without.take(old)
    assert without.state(0) is State.EJECTED
