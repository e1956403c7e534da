"""Remembered normal forms of request fields, for C callers."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cdn._core cimport RequestHead

cdef struct Remembered:
    uint64_t hash
    uint32_t name_len
    uint32_t value_len
    uint32_t extra_len
    char* bytes             # name, value, extra


cdef struct Specs:          # a walk over what a marker's meta says that its URL's responses vary by
    const char* at
    const char* end
    int left


cdef inline bint specs_begin(Specs* walk, const char* meta, size_t n) noexcept nogil:
    """False: this is no marker's (`rules.stored.encode_vary_marker`)."""
    walk.at, walk.end = meta + 2, meta + n
    if n < 2 or meta[0] != 1:
        return False
    walk.left = <unsigned char>meta[1]
    return True


cdef inline int next_spec(Specs* walk, const char** names, size_t* n) noexcept nogil:
    """The names of the next specification, as `append_variant` takes them. 0: that was the last; -1: they are broken off."""
    cdef int count
    if walk.left == 0:
        return 0
    if walk.at >= walk.end:
        return -1
    count = <unsigned char>walk.at[0]
    walk.at += 1
    names[0] = walk.at
    while count and walk.at < walk.end:
        walk.at += 1 + <unsigned char>walk.at[0]
        count -= 1
    if count or walk.at > walk.end:
        return -1
    n[0] = walk.at - names[0]
    walk.left -= 1
    return 1


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
