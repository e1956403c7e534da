from cdn.store._memory import Memory

DIGEST: int
ROOM: int
PATIENCE: float

class JournalBusyError(OSError):
    """Another process holds the journal and does not go on: it was stopped, or the machine is very busy."""

class Journal:
    """Made before the processes that share it are. `memory` has the epoch; `room` is how many notes are kept.

    A note is (kind, digest, number, flags): 0 … 255, 16 bytes, 0 … 2**32 - 1, 0 … 255. ValueError for a bad argument,
    OSError when the memory cannot be had.
    """

    def __new__(cls, memory: Memory, room: int = ...) -> Journal: ...
    @property
    def head(self) -> int:
        """How many notes were ever written."""

    told: int
    """A word that all processes see, 0 … 2**64 - 1, as is `applied`: the caller's, written by one process only."""
    applied: int

    def current(self, stamp: int, url: bytes) -> bool:
        """Whether nothing was noted since this stamp that might be about this URL."""

    def append(
        self,
        notes: list[tuple[int, bytes, int, int]],
        now: int,
        url: bytes | None = None,
        patience: float = ...,
    ) -> int:
        """Write notes, in force in every process when it returns. Their stamp.

        With `url` they are about this URL alone. Otherwise everything is decided again when it is next asked for, also
        where there is no note. JournalBusyError after `patience` seconds; then nothing is written.
        """

    def restore(self, notes: list[tuple[int, bytes, int, int, int, int]]) -> None:
        """Notes as `read` gives them, of an earlier life, before any other. The epoch is the caller's to begin.
        ValueError when there are more than fit, or it is too late."""

    def read(self, since: int) -> tuple[list[tuple[int, bytes, int, int, int, int]], int, bool]:
        """The notes from number `since` on, each (kind, digest, number, flags, stamp, time), `head` as it was, and
        whether older ones than the first are missing."""
