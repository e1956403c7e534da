"""Remembered normal forms of request fields, for C callers."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cdn._core cimport RequestHead

cdef struct Remembered:
    uint64_t hash
    uint32_t name_len
    uint32_t value_len
    uint32_t extra_len
    char* bytes             # name, value, extra


cdef class Normaliser:
    cdef object compute
    cdef Remembered* table
    cdef uint32_t used
    cdef char* joined
    cdef readonly uint64_t computed
    cdef int64_t append_variant(self, const char* names, size_t n, const char* buf, RequestHead* head,
                                const char* coding, size_t coding_len, char* dst, size_t room) noexcept nogil
    cdef Remembered* _find(self, const char* name, size_t nn, const char* value, size_t nv) noexcept nogil
    cdef Remembered* _learn(self, const char* name, size_t nn, const char* value, size_t nv) noexcept with gil
    cdef void _clear(self) noexcept nogil
