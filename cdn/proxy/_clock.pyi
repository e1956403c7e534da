class Clock:
    """Node time, in ms since the epoch at start; never jumps."""

    def now(self) -> int: ...

class FakeClock(Clock):
    """A clock that stands still until a test moves it."""

    def __init__(self, at: int | None = None) -> None: ...
    def advance(self, ms: int) -> None: ...
