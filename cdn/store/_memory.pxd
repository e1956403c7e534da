"""The memory store as C callers see it.

A Record* that `find` gave is good while it is pinned. Without a pin another process may use its memory again at any time:
copy what is needed, its header first and that with `snapshot`, and believe none of it before `unchanged` has said so.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from posix.uio cimport iovec

from cdn._core cimport Candidate
from cdn.store.layout cimport MOST_WORKERS, SLOTS, TREES, Bucket, FillSlot, Page, Record, Super

cdef enum:
    POOL = 64
    SIZED_RUNNERS = 4           # kept by worth: more make the choice so exact that large objects lose more bytes than small ones win
    MOST_EXTRA = 26             # candidates beside the sample: runners, the rest of a bucket

cdef struct Sight:              # where a record was found, and what the bucket said before it was looked at
    Bucket* bucket
    uint64_t word
    uint32_t version
    int slot

cdef struct Space:              # the mapping as this process sees it
    char* base
    Super* top
    Bucket* index               # the base of it
    uint32_t* segments
    uint64_t base_buckets
    uint16_t* tree[TREES]
    Page* table
    uint64_t* scratch           # only while the structures are made again: which granules are claimed
    char* pages
    uint32_t* ring[2]
    uint64_t base_room[2]
    uint32_t* ghosts
    uint64_t base_groups
    uint32_t policy
    Candidate* candidates       # sample + MOST_EXTRA
    uint64_t* where             # of each candidate: bucket * SLOTS + slot
    uint32_t sample
    uint32_t runners            # s3fifo-size: the next best of the last sample; lru: the oldest of all samples. Where they were
    uint64_t runner_where[POOL]
    uint64_t runner_word[POOL]  # and what the slot said
    Candidate pool[POOL]        # lru: what they were
    uint64_t random
    uint64_t given              # the page where this process gave back a run last
    int me                      # our worker slot; -1: not attached
    int depth                   # how often we hold the lock
    bint doubtful               # the last attempt to get it was in vain
    bint owing                  # something is to be given back as soon as we have it
    int wakers[MOST_WORKERS]    # an eventfd for each worker slot
    uint32_t* pin_counts        # of each entry of our pin table
    Sight seen                  # of the last record that `index_find` found
    int64_t now                 # the latest time anybody told us; eviction compares with it


cdef class Memory:
    cdef Space s
    cdef uint8_t secret[16]
    cdef uint64_t hash_mask
    cdef int fd
    cdef public object tier     # told what is stored and removed; None: nobody
    cdef dict fills             # key -> borrowed pointer of the Fill that we own, as int
    cdef dict follows           # the same for those of other workers that we follow
    cdef dict following         # borrowed pointers of all Fills that follow
    cdef object __weakref__
    cdef uint64_t epoch(self) noexcept nogil
    cdef Record* find(self, const char* key, size_t n) noexcept nogil
    cdef Record* find_hashed(self, uint64_t h0, uint64_t h1, const char* key, size_t n) noexcept nogil
    cdef bint snapshot(self, const Record* r, Record* copy) noexcept nogil
    cdef bint unchanged(self) noexcept nogil
    cdef bint same(self, const Sight* sight) noexcept nogil
    cdef int body_iov(self, Record* r, uint64_t offset, uint64_t length, iovec* iov, int most) noexcept nogil
    cdef int copy_iov(self, Record* r, const Record* copy, uint64_t offset, uint64_t length, iovec* iov,
                      int most) noexcept nogil
    cdef void touch(self, Record* r, int64_t now) noexcept nogil
    cdef bint is_uncacheable(self, const uint64_t* h, int64_t now) noexcept nogil
    cdef bint alone(self) noexcept nogil
    cdef bint has_asides(self) noexcept nogil
    cdef void hash_both(self, const char* key, size_t n, uint64_t* h) noexcept nogil
    cdef Fill begin(self, bytes key, Fill since, uint64_t h0, bint* won)
    cdef bint pin(self, Record* r) noexcept nogil
    cdef void unpin(self, Record* r) noexcept nogil
    cdef Record* hold(self, const char* key, size_t n) noexcept nogil
    # private
    cdef uint64_t hash_of(self, const char* key, size_t n) noexcept nogil


cdef class Entry:
    cdef Memory memory
    cdef Record* r
    cdef Record* record(self) except NULL


cdef class Loose:
    cdef Memory memory
    cdef bytes key
    cdef bytes head
    cdef Record was
    cdef Record* find_again(self) noexcept
    cdef Record* hold(self, int64_t now) noexcept


cdef Loose loosened(Memory memory, Record* r)


cdef class Fill:
    cdef Memory memory
    cdef readonly bytes key
    cdef readonly uint64_t stamp
    cdef readonly bint remote           # another worker fills it, we follow
    cdef FillSlot* slot
    cdef FillSlot own
    cdef object why
    cdef object given                   # the draft
    cdef bint registered                # in memory.fills
    cdef dict callbacks                 # None: there was none yet
    cdef uint32_t seen_state
    cdef uint64_t seen_arrived
    cdef readonly Entry entry           # once it is committed: what its readers here share
    cdef readonly bint released         # and once they have been left to themselves
    cdef object __weakref__
    cdef int open(self, Memory memory, bytes key, uint64_t stamp) except -1
    cdef int enter(self, FillSlot* slot) except -1
    cdef uint32_t current(self) noexcept
    cdef bint is_purged(self) noexcept
    cdef bint store_whole(self, object draft, Record* t, bytes head, bytes meta, const char* body, uint64_t n) except -1
    cdef int notify(self) except -1
    cdef void wake_followers(self) noexcept
    cdef int unregister(self) except -1
    cdef int end(self, uint32_t state) except -1
    cdef int give_up(self, str reason) except -1
    cdef int void(self, str reason) except -1
    cdef void let_go(self) noexcept
