"""Between wall time, which is on disk, and node time, which memory counts in.

Decides how much time has passed since an entry was written: by CLOCK_BOOTTIME when the machine has not been started
since, so that setting the wall clock changes nothing; by the wall clock otherwise. Where that one says that the entry
is from the future nobody knows how old it is, and it has to be validated before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cdn.store.disk.format import MOST_TIME, Front, Written
from cdn.store.record import Draft

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> int:
    """Which start of the machine this is; 0 where nobody says."""
    try:
        return int(BOOT_ID.read_text().strip().replace("-", "")[:16], 16)
    except (OSError, ValueError):
        return 0


class Times:
    """`now` gives node time, `wall` and `boot` the wall clock and CLOCK_BOOTTIME, all ms; `which`: the boot."""

    def __init__(
        self,
        now: Callable[[], int],
        wall: Callable[[], int],
        boot: Callable[[], int],
        which: int | None = None,
    ) -> None:
        self.now = now
        self.wall = wall
        self._boot = boot
        self._which = boot_id() if which is None else which

    def written(self) -> Written:
        return Written(self.wall(), self._boot(), self._which)

    def to_wall(self) -> Callable[[int], int]:
        """From node time to wall time, as of now."""
        shift = self.wall() - self.now()
        return lambda moment: max(-MOST_TIME, min(MOST_TIME, moment + shift))

    def elapsed(self, written: Written) -> int | None:
        """ms since an entry was written; None: the clocks contradict it."""
        same = written.boot_id == self._which != 0
        passed = self._boot() - written.boot if same else self.wall() - written.wall
        return passed if passed >= 0 else None

    def draft(self, front: Front) -> Draft:
        """The entry's draft in node time."""
        now = self.now()
        passed = self.elapsed(front.written)
        shift = now - (passed or 0) - front.written.wall
        draft = front.draft
        until = [moment + shift for moment in (draft.fresh_until, draft.swr_until, draft.sie_until)]
        if passed is None:
            until = [min(moment, now) for moment in until]
        return replace(
            draft,
            born=min(now, draft.born + shift),
            fresh_until=until[0],
            swr_until=until[1],
            sie_until=until[2],
            response_time=min(now, draft.response_time + shift),
        )
