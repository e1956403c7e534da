"""Node time for C callers."""

from libc.stdint cimport int64_t


cdef class Clock:
    cdef int64_t offset     # ms between CLOCK_BOOTTIME and node time
    cdef bint frozen
    cdef int64_t at         # ms of node time while frozen
    cdef int64_t read(self) noexcept nogil
