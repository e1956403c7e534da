"""Edges' words for the hit lane: what they may say, and a code that is checked for each request."""

from libc.stdint cimport int64_t, uint32_t

from cdn._core cimport FieldSpan, MacKey, RequestHead

cdef enum:
    NO_WORD = -1
    SAYINGS = 64
    SAYING = 128        # bytes of the longest

cdef struct Saying:
    uint32_t length     # 0: none
    bint https
    int64_t until       # ms of node time
    char text[SAYING]


cdef class Words:
    cdef bint listening
    cdef MacKey key
    cdef Saying sayings[SAYINGS]
    cdef uint32_t newest
    cdef Saying* _find(self, const char* text, size_t n) noexcept nogil
    # 1 (https) or 0 (http): what the edge's own client used. NO_WORD: not known, or no edge's. `room` has space for the head.
    cdef int heard(self, const char* buf, RequestHead* head, FieldSpan* word, int64_t now, char* room) noexcept nogil
