"""Node time: milliseconds since the epoch at start, carried on by CLOCK_BOOTTIME.

Decides only what time it is. It never jumps when the wall clock is set and goes on while the machine sleeps, so ages and
lifetimes computed from it are right (RFC 9111 §4.2.3 wants elapsed time, not dates).
"""

from libc.stdint cimport int64_t
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from cdn._system cimport CLOCK_BOOTTIME


# hot
cdef inline int64_t _milliseconds(int which) noexcept nogil:
    cdef timespec t
    clock_gettime(which, &t)
    return <int64_t>t.tv_sec * 1000 + t.tv_nsec // 1000000


cdef class Clock:
    """Node time, in ms."""

    def __cinit__(self):
        self.offset = _milliseconds(CLOCK_REALTIME) - _milliseconds(CLOCK_BOOTTIME)

    # hot
    cdef int64_t read(self) noexcept nogil:
        if self.frozen:
            return self.at
        return _milliseconds(CLOCK_BOOTTIME) + self.offset

    def now(self) -> int:
        return self.read()

    def wall(self) -> int:
        return self.at if self.frozen else _milliseconds(CLOCK_REALTIME)

    def boot(self) -> int:
        return self.at if self.frozen else _milliseconds(CLOCK_BOOTTIME)


cdef class FakeClock(Clock):
    """A clock that stands still until a test moves it."""

    def __cinit__(self, at=None):
        self.at = self.read() if at is None else at
        self.frozen = True

    def advance(self, int64_t ms) -> None:
        self.at += ms
