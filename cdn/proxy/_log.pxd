"""The access log of the hit lane for the front."""

from libc.stdint cimport int64_t, uint64_t

from cdn._core cimport RequestHead
from cdn.proxy._clock cimport Clock
from cdn.proxy._lane cimport Answer


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
    cdef void hit(self, str address, bint secure, const char* buf, RequestHead* head, Answer* answer,
                  int64_t micros)
    cdef void _clock(self, int64_t now) noexcept nogil
    cdef char* _field(self, char* dst, const char* buf, RequestHead* head, int which, size_t limit) noexcept nogil
    cdef char* _json(self, char* dst, const char* address, size_t na, bint secure, const char* buf,
                     RequestHead* head, Answer* answer, int64_t micros) noexcept nogil
    cdef char* _combined(self, char* dst, const char* address, size_t na, const char* buf,
                         RequestHead* head, Answer* answer, int64_t micros) noexcept nogil
