"""The memory store as C callers see it. A Record* is good until the next write to the store, or while it is pinned."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from posix.uio cimport iovec

from cdn._core cimport Candidate
from cdn.store.layout cimport SLOTS, Bucket, Page, Record, Super

cdef enum:
    RUNNERS = 6
    MOST_EXTRA = 10             # candidates beside the sample: runners, the rest of a bucket

cdef struct Space:              # the mapping as this process sees it
    char* base
    Super* top
    Bucket* index
    uint16_t* tree[2]
    Page* table
    uint64_t* bitmaps
    char* pages
    uint32_t* ring[2]
    uint32_t* ghosts
    uint32_t policy
    Candidate* candidates       # sample + MOST_EXTRA
    uint64_t* where             # of each candidate: bucket * SLOTS + slot
    uint32_t sample
    uint32_t runners            # the next best of earlier samples, best first: where, and what the slot said
    uint64_t runner_where[RUNNERS]
    uint64_t runner_word[RUNNERS]
    uint64_t random
    int me                      # our worker slot; -1: not attached
    int depth                   # how often we hold the lock
    bint doubtful               # the last attempt to get it was in vain
    int64_t now                 # the latest time anybody told us; eviction compares with it


cdef class Memory:
    cdef Space s
    cdef uint64_t stamp         # decision epoch
    cdef uint8_t secret[16]
    cdef uint64_t hash_mask
    cdef int fd
    cdef list wakers            # an eventfd for each worker slot
    cdef dict fills             # key -> borrowed pointer of the Fill in flight, as int
    cdef object __weakref__
    cdef Record* find(self, const char* key, size_t n) noexcept nogil
    cdef Record* find_hashed(self, uint64_t h0, uint64_t h1, const char* key, size_t n) noexcept nogil
    cdef int body_iov(self, Record* r, uint64_t offset, uint64_t length, iovec* iov, int most) noexcept nogil
    cdef void touch(self, Record* r, int64_t now) noexcept nogil
    cdef void pin(self, Record* r) noexcept nogil
    cdef void unpin(self, Record* r) noexcept nogil
    # private
    cdef uint64_t hash_of(self, const char* key, size_t n) noexcept nogil
    cdef Record* at_slot(self, uint64_t at) noexcept
    cdef Entry publish_run(self, Record* r)
    cdef Record* lay(self, Record* t, bytes key, bytes head, bytes meta, const char* body) except? NULL
    cdef Record* lay_over(self, Record* t, Record* old, bytes key, bytes head, bytes meta) except? NULL
    cdef bint leave(self, Record* r, bint soft, int64_t now) noexcept
    cdef int void_fill(self, bytes key) except -1


cdef class Entry:
    cdef Memory memory
    cdef Record* r
    cdef Record* record(self) except NULL


cdef class Fill:
    cdef Memory memory
    cdef readonly bytes key
    cdef readonly uint64_t stamp
    cdef uint64_t hash0
    cdef int _state
    cdef readonly object reason
    cdef readonly object draft
    cdef readonly object length         # int, or None while unknown
    cdef readonly uint64_t arrived
    cdef readonly bint purged
    cdef readonly bint detached
    cdef bint registered
    cdef dict callbacks
    cdef Record* run                    # a small body, or the beginning of one whose length is unknown
    cdef char* run_body
    cdef uint64_t run_room
    cdef bint final                     # run is laid out as it will be published
    cdef uint32_t* blocks               # a large one; `gone` before them are given back
    cdef uint64_t nblocks, blocks_cap, gone
    cdef readonly Entry entry           # once committed
    cdef object __weakref__
    cdef int open(self, Memory memory, bytes key) except -1
    cdef int notify(self) except -1
    cdef int unregister(self) except -1
    cdef int end(self, int state) except -1
    cdef int void(self, str reason) except -1
    cdef char* in_block(self, uint64_t offset) noexcept
    cdef void give_back(self) noexcept
    cdef bint new_run(self, const Record* t, uint64_t run_bytes) noexcept
    cdef int append(self, const char* data, uint64_t n) except -1
    cdef int room_for(self, uint64_t total) except -1
    cdef Record* settle(self, Record* t, bytes head, bytes meta) except? NULL
