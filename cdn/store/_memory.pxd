"""The memory store as C callers see it. A Record* is good until the next write to the store, or while it is pinned."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from posix.uio cimport iovec

from cdn._core cimport Candidate
from cdn.store.layout cimport SLOTS, Bucket, Page, Record, Super

cdef struct Space:              # the mapping as this process sees it
    char* base
    Super* top
    Bucket* index
    uint16_t* tree
    Page* table
    uint64_t* bitmaps
    char* pages
    Candidate* candidates       # sample + 2 * SLOTS
    uint64_t* where             # of each candidate: bucket * SLOTS + slot
    uint32_t sample
    uint64_t random
    int64_t now                 # the latest time anybody told us; eviction compares with it


cdef class Memory:
    cdef Space s
    cdef uint64_t stamp         # decision epoch
    cdef uint8_t secret[16]
    cdef int fd
    cdef dict fills             # key -> borrowed pointer of the Fill in flight, as int
    cdef object __weakref__
    cdef Record* find(self, const char* key, size_t n) noexcept nogil
    cdef Record* find_hashed(self, uint64_t h0, uint64_t h1, const char* key, size_t n) noexcept nogil
    cdef int body_iov(self, Record* r, uint64_t offset, uint64_t length, iovec* iov, int most) noexcept nogil
    cdef void touch(self, Record* r, int64_t now) noexcept nogil
    cdef void pin(self, Record* r) noexcept nogil
    cdef void unpin(self, Record* r) noexcept nogil


cdef class Entry:
    cdef Memory memory
    cdef Record* r


cdef class Fill:
    cdef Memory memory
    cdef readonly bytes key
    cdef readonly uint64_t stamp
    cdef uint64_t hash0, hash1
    cdef int _state
    cdef readonly object reason
    cdef readonly object draft
    cdef readonly object length         # int, or None while unknown
    cdef readonly uint64_t arrived
    cdef readonly bint purged
    cdef readonly bint detached
    cdef bint registered
    cdef list callbacks
    cdef Record* run                    # a small body, or the beginning of one whose length is unknown
    cdef char* run_body
    cdef uint64_t run_room
    cdef bint final                     # run is laid out as it will be published
    cdef uint32_t* pages                # a large one; those before `gone` are given back
    cdef uint64_t npages, pages_cap, gone
    cdef readonly Entry entry           # once committed
    cdef object __weakref__
