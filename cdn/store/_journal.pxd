"""The journal as C sees it: nobody but its own methods touches the ring."""

from libc.stdint cimport uint32_t, uint64_t

cdef struct Top
cdef struct Note


cdef class Journal:
    cdef Top* top
    cdef uint64_t* buckets
    cdef Note* notes
    cdef uint64_t room
    cdef uint64_t bytes
    cdef int fd
    cdef object memory
    cdef uint32_t bucket_of(self, const char* url, size_t n) noexcept nogil
    cdef bint is_current(self, uint64_t stamp, const char* url, size_t n) noexcept nogil
