class Clock:
    """Node time, in ms since the epoch at start; never jumps."""

    def now(self) -> int: ...
    def wall(self) -> int:
        """What the wall clock says now, ms since the epoch."""

    def boot(self) -> int:
        """ms since the machine was started."""

class FakeClock(Clock):
    """A clock that stands still until a test moves it."""

    def __init__(self, at: int | None = None) -> None: ...
    def advance(self, ms: int) -> None: ...
