from typing import final

@final
class Table:
    """The disk's index in memory that processes share: hash of a key -> place, newest event wins.

    A place is segment << 48 | offset << 24 | length, the latter two in units of 64 bytes. A serial number of 0 says
    that nothing happened. ValueError for a bad argument, OSError when the memory cannot be had.
    """

    def __new__(cls, objects: int, secret: bytes, segments: int) -> Table: ...
    def hash(self, key: bytes) -> int: ...
    def find(self, hash: int) -> int | None:
        """The place of what is stored; counts as a use."""

    def pend(self, hash: int) -> int:
        """Handed over to be written: what was there before is no more found. Returns the serial number."""

    def pending(self, hash: int, serial: int) -> bool:
        """Whether nothing has happened to the key since that `pend`."""

    def settle(self, hash: int, serial: int, where: int) -> bool:
        """Written; False: something happened since that `pend`, and nothing has changed."""

    def remove(self, hash: int) -> int:
        """Its serial number, to be logged; 0: there is nothing under this hash."""

    def remove_at(self, hash: int, where: int) -> int:
        """The same, if it is stored at that place."""

    def orphans(self) -> list[tuple[int, int]]:
        """What a dead process was to write or to log: removed now; hash and serial number, for the caller to log."""

    def forget(self, hash: int, serial: int) -> None:
        """Give back the slot of a removal, or of what was never written."""

    def stored_at(self, hash: int, where: int) -> bool | None:
        """Whether it has been used since it was written; None: that is not its place (any more)."""

    def known(self, hash: int) -> bool:
        """Whether anything is known of it: stored, on its way or removed."""

    def renew(self, hash: int, where: int) -> int:
        """A new serial number for what is stored there and is being copied; 0: it is not there any more."""

    def move(self, hash: int, serial: int, where: int) -> bool:
        """Another place for what got that number from `renew`, if nothing happened since."""

    def evict(self, hash: int, where: int) -> bool:
        """Forget what is stored at that place."""

    def evict_all(self, segment: int) -> int:
        """Forget all that is stored in a segment; how many that were. Looks at every slot."""

    def clear(self) -> None:
        """Everything stored is gone."""

    def load(
        self, log: bytes | bytearray | memoryview, segment: int, data: int, safe: int = 0
    ) -> tuple[int, int, int, int]:
        """The records of a segment's log, its data file being `data` bytes long; the first `safe` were certainly there.

        Returns how many were good, the highest serial number and stamp in them, and how many were not good.
        """

    def settled(self) -> None:
        """All logs are loaded: removals are not needed any more."""

    def adopt(self, number: int) -> tuple[int, int] | None:
        """A place for a segment file that is there already; None: there are too many."""

    def open_segment(self) -> tuple[int, int] | None:
        """A place and a number for a new segment of this process; None: there are as many as may be."""

    def note_serial(self, segment: int, serial: int) -> None: ...
    def seal(self, segment: int) -> None: ...
    def leave(self) -> tuple[int, int] | None:
        """The oldest segment that nobody alive writes, for the caller to clear and `free`."""

    def leave_at(self, segment: int, number: int) -> bool:
        """The same with this one; False: it is not there any more, or somebody alive writes or clears it."""

    def numbered(self, number: int) -> None:
        """That number has been given: segments that come are later."""

    @property
    def serial(self) -> int:
        """The latest number given."""

    noted: int
    """A number that all processes share: up to where notes are safe."""

    def free(self, segment: int) -> None: ...
    def number_of(self, segment: int) -> int:
        """0: there is none."""

    def oldest_elsewhere(self, segment: int) -> int:
        """The lowest serial number in the log of any other segment."""

    def segments(self) -> list[tuple[int, int, int]]:
        """Place, number and state of each."""

    def stats(self) -> dict[str, int]: ...
    def audit(self) -> int:
        """How many objects are stored; ValueError where counters and slots differ. Slow: for tests."""
