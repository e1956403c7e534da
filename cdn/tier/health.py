"""Whether a server is asked: what our requests and our checks say of it, as one small state machine.

Decides, from failures, answers and the results of checks, when a server is left alone and how it comes back. Must
not know connections, other servers or clocks: the caller says what time it is, in monotonic ms.

    up ── failures in a row, or no connection ──▶ ejected ── the pause ends ──▶ returning ── it works ──▶ up
    up ── `fall` checks failed ──▶ down ── `rise` checks passed ──▶ up

A returning server gets one request a second until one works; then its share grows from a tenth to the whole. Each
failure while it returns, or soon after, doubles the pause. Checks and requests are judged apart: a server is asked
when neither speaks against it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from cdn.config.values import Eject, HealthCheck
from cdn.tier._standing import Standing

PROBE_MS = 1_000  # a returning server is tried so often
FIRST_SHARE = 0.1


class State(StrEnum):
    UP = "up"
    CHECKING = "checking"  # no check has said anything yet: it is asked
    RETURNING = "returning"
    EJECTED = "ejected"
    DOWN = "down"
    DRAINING = "draining"


class Health(Standing):
    """One server's health. `told(sentence)` hears of every change that a person may want to know."""

    __slots__ = (
        "_before",
        "_check",
        "_checked",
        "_down",
        "_eject",
        "_ejected",
        "_failures",
        "_next_probe",
        "_pauses",
        "_probed",
        "_ramp",
        "_told",
        "_until",
        "ejections",
    )

    def __init__(
        self,
        eject: Eject,
        check: HealthCheck | None,
        told: Callable[[str], None],
        *,
        draining: bool = False,
    ) -> None:
        self._eject = eject
        self._check = check
        self._told = told
        self.draining = draining
        self.ejections = 0
        self.plain = not draining  # nothing speaks against it, and its share is whole
        self.steady = True  # one more answer that works changes nothing
        self._failures = 0  # in a row
        self._before = 0  # what that was before the last success
        self._pauses = 0  # ejections in a row
        self._ejected = False
        self._until = 0
        self._next_probe = 0
        self._probed = False  # it was asked since it was ejected
        self._ramp = -1  # since when it comes back; -1: it does not
        self._down = False
        self._checked = 0  # results in a row: of passed checks where positive, of failed ones where negative

    def state(self, now: int) -> State:
        if self.draining:
            return State.DRAINING
        if self._down:
            return State.DOWN
        if self._ejected:
            return State.EJECTED if now < self._until else State.RETURNING
        if self._check is not None and self._checked == 0:
            return State.CHECKING
        return State.UP if self.share(now) == 1.0 else State.RETURNING

    def fit(self, now: int) -> bool:
        """Whether it may be asked now."""
        if self.plain:
            return True
        if self.draining or self._down:
            return False
        return not self._ejected or (now >= self._until and now >= self._next_probe)

    def share(self, now: int) -> float:
        """How much of its weight counts, 0 < share ≤ 1."""
        if self.plain:
            return 1.0
        if self._ramp >= 0:
            if now - self._ramp < self._eject.slow_return:
                return max(FIRST_SHARE, (now - self._ramp) / self._eject.slow_return)
            self._ramp = -1
            self._pauses = 0
        self.plain = not (self.draining or self._down)
        return 1.0

    @property
    def on_trial(self) -> bool:
        """Whether the next request that it is fit for is to find out if it works."""
        return self._ejected

    @property
    def again(self) -> int:
        """When it would be asked again; whoever fails everywhere asks the server with the earliest first."""
        return self._until if self._ejected else 0

    def picked(self, now: int) -> None:
        """It is about to be asked: only an ejected server minds."""
        if self._ejected:
            self._probed = True
            self._next_probe = now + PROBE_MS

    def worked(self, now: int) -> None:
        """It gave the head of a response."""
        self._before = self._failures
        self._failures = 0
        if self._ejected and self._probed:  # an answer to what was asked before does not count
            self._ejected = False
            self._come_back(now)
            self._told("is back")
        self.steady = self._before == 0 and not self._ejected

    def failed(self, now: int, why: str, *, connect: bool = False, late: bool = False) -> None:
        """It gave none, or none that was whole. `connect`: not even a connection; `late`: after its head, which was
        taken for a success.
        """
        self._failures = max(self._failures, self._before if late else 0) + 1
        self.steady = False
        if self._ejected and now < self._until:
            return
        coming_back = self._ejected or self.share(now) < 1.0
        if not (connect or coming_back or self._failures >= self._eject.failures):
            return
        pause = min(self._eject.pause << min(self._pauses, 20), self._eject.longest)
        self._pauses += 1
        self._until = now + pause
        self._next_probe = 0
        self._probed = False
        self._ramp = -1
        self.plain = False
        self.ejections += 1
        again = "again " if self._ejected else ""
        self._ejected = True
        self._told(f"is ejected {again}for {pause / 1000:g} s: {why}")

    def checked(self, now: int, fault: str | None) -> None:
        """A check passed (`fault` is None), or failed for the reason that `fault` says."""
        assert self._check is not None
        if fault is None:
            self._checked = self._checked + 1 if self._checked > 0 else 1
            if self._down and self._checked >= self._check.rise:
                self._down = False
                self._come_back(now)
                self._told(f"is up: {self._checked} checks passed")
        else:
            self._checked = self._checked - 1 if self._checked < 0 else -1
            if not self._down and -self._checked >= self._check.fall:
                self._down = True
                self.plain = False
                self._told(f"is down: {-self._checked} checks failed ({fault})")

    def _come_back(self, now: int) -> None:
        self._failures = 0
        self._ramp = now if self._eject.slow_return > 0 else -1
        if self._ramp < 0:
            self._pauses = 0
            self.share(now)

    def take(self, other: Health) -> None:
        """Go on from what was known of the same server before the configuration was read again."""
        for name in ("_failures", "_pauses", "_ejected", "_probed", "_until", "_ramp", "ejections"):
            setattr(self, name, getattr(other, name))
        if self._check is not None and other._check is not None:
            self._down, self._checked = other._down, other._checked
        self.plain = not self.draining and other.plain
        self.steady = False
