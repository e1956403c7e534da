"""The access log of the lanes in C."""

from libc.stdint cimport int64_t, uint64_t

from cdn._core cimport RequestHead
from cdn.proxy._clock cimport Clock
from cdn.proxy._lane cimport Answer


cdef struct Text:           # NULL: nothing to say
    const char* at
    size_t n

cdef struct Line:           # what a line says of one request
    int64_t time            # ms of node time
    Text client
    Text method
    Text host
    Text target
    Text referer
    Text agent
    Text key                # whose hash is written
    Text origin
    const char* outcome     # of `Outcome` and `NoStoreReason`: plain ASCII
    const char* no_store    # or NULL
    int status
    uint64_t bytes_sent
    int64_t micros
    int64_t first_byte_us   # < 0: null

# The texts of a request's head; they lie in `buf`.
cdef void line_of(Line* line, const char* buf, RequestHead* head) noexcept nogil


cdef class HitLog:
    cdef char* buf
    cdef size_t used
    cdef object sink            # .write(bytes), .format
    cdef object loop
    cdef object timer
    cdef Clock clock
    cdef bint json
    cdef int64_t second         # that `stamp` was made for
    cdef char stamp[40]
    cdef size_t stamp_len
    cdef readonly uint64_t lines
    cdef int hit(self, str address, bint secure, const char* buf, RequestHead* head, Answer* answer,
                  int64_t micros) except -1
    cdef int add(self, str address, Line* line) except -1
    cdef int _hand_over(self) except -1
    cdef void _clock(self, int64_t now) noexcept nogil
    cdef char* _quoted(self, char* dst, Text* text, size_t limit) noexcept nogil
    cdef char* _json(self, char* dst, Line* line) noexcept nogil
    cdef char* _combined(self, char* dst, Line* line) noexcept nogil
