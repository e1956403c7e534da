"""The memory store: one mapping per node, from a key to a record, a head and a body.

This file is what others may ask of it; the files that it includes, one concept each, decide where things lie and who goes
when room is needed. Must not know HTTP, sockets, asyncio or a clock: times come in with drafts and touches. Several
processes may use one mapping (`attach`): whatever writes takes the lock, and where it is not to be had in time the store
does nothing, which is a miss, or a response that is not stored. `layout.pxd` says what a process must do to read what
another one writes.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport abs, calloc, free, realloc
from libc.string cimport memcmp, memcpy, memmove, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.uio cimport iovec
from posix.unistd cimport close, usleep

from cdn._atomics cimport (
    add32_seq_cst, add64_both, and32_seq_cst, and64_seq_cst, fence_acquire, fence_seq_cst, load32_acquire, load32_relaxed, load64_acquire,
    or32_seq_cst, or64_seq_cst, raise64_seq_cst, store32_relaxed, store64_relaxed, store64_release, swap32_seq_cst,
)
from cdn._bits cimport fastrange, prefetch, trailing_zeros
from cdn._core cimport (
    CLOCK_MASK, CLOCK_UNITS, USES_BITS, USES_MASK, Candidate, lru_victim, siphash128, sized_victim,
)
from cdn._system cimport (
    EOWNERDEAD, pthread_mutex_consistent, pthread_mutex_unlock, shared_mutex_init,
)
from cdn.store.layout cimport *

import dataclasses
import os
from enum import IntEnum

from cdn.store.record import Draft

assert sizeof(Record) == 96 and sizeof(Bucket) == 64 and sizeof(Page) == 16 and sizeof(FillSlot) == 176 and sizeof(Super) <= 4096

include "memory/addresses.pyx"
include "memory/trees.pyx"
include "memory/steps.pyx"
include "memory/sync.pyx"
include "memory/mapping.pyx"
include "memory/pins.pyx"
include "memory/index.pyx"
include "memory/runs.pyx"
include "memory/blocks.pyx"
include "memory/records.pyx"
include "memory/queues.pyx"
include "memory/ghosts.pyx"
include "memory/sampling.pyx"
include "memory/policies.pyx"
include "memory/evict.pyx"
include "memory/relocation.pyx"
include "memory/compaction.pyx"
include "memory/evacuation.pyx"
include "memory/allocation.pyx"
include "memory/growth.pyx"
include "memory/entry.pyx"
include "memory/loose.pyx"
include "memory/fills.pyx"
include "memory/fill.pyx"
include "memory/arrival.pyx"
include "memory/settling.pyx"
include "memory/filler.pyx"
include "memory/follower.pyx"
include "memory/uncacheable.pyx"
include "memory/claims.pyx"
include "memory/recovery.pyx"
include "memory/audit.pyx"
include "memory/accounting.pyx"
include "memory/attachment.pyx"
include "memory/finding.pyx"
include "memory/collapsing.pyx"
include "memory/laying.pyx"
include "memory/publishing.pyx"
include "memory/purging.pyx"


@cython.final
cdef class Memory:

    def __cinit__(self, uint64_t size, bytes secret, objects=None, int sample=16, int hash_bits=64,
                  int workers=0, str policy="lru", int pinned=25, first=None):
        cdef Super geometry
        cdef char* base
        cdef int i
        self.fd = -1
        self.fills, self.follows, self.following = {}, {}, {}
        self.s.me = -1
        for i in range(MOST_WORKERS):
            self.s.wakers[i] = -1
        if len(secret) != 16:
            raise ValueError("the store's secret is 16 bytes")
        if not 1 <= sample <= 1 << 20:
            raise ValueError("an eviction chooses among 1 to 1048576 entries")
        if not 0 <= hash_bits <= 64:
            raise ValueError("the table's hash has 0 to 64 bits")
        plan_mapping(&geometry, size, objects, workers, policy, pinned, first)
        self.hash_mask = ~<uint64_t> 0 if hash_bits == 64 else (<uint64_t> 1 << hash_bits) - 1
        memcpy(self.secret, PyBytes_AS_STRING(secret), 16)
        self.fd = os.memfd_create("cdn-store", os.MFD_CLOEXEC)
        base = map_file(self.fd, geometry.size)
        memcpy(base, &geometry, sizeof(geometry))
        look_at(&self.s, base)
        if shared_mutex_init(&self.s.top.mutex) != 0:
            raise OSError("the lock of the memory store cannot be made")
        format_pages(&self.s)
        link_fills(&self.s, 0, FILL_BASE)
        self.s.sample = sample
        self.s.random = <uint64_t> int.from_bytes(os.urandom(8), "little") | 1
        self.s.candidates = <Candidate*> calloc(sample + MOST_EXTRA, sizeof(Candidate))
        self.s.where = <uint64_t*> calloc(sample + MOST_EXTRA, sizeof(uint64_t))
        self.s.pin_counts = <uint32_t*> calloc(self.s.top.pin_lines * PIN_WAYS, sizeof(uint32_t))
        if self.s.candidates == NULL or self.s.where == NULL or self.s.pin_counts == NULL:
            raise MemoryError()
        for i in range(workers):
            self.s.wakers[i] = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __dealloc__(self):
        cdef int i
        if self.s.base != NULL:
            munmap(self.s.base, self.s.top.size + GUARD)
        if self.fd >= 0:
            close(self.fd)
        for i in range(MOST_WORKERS):
            if self.s.wakers[i] > 0:
                close(self.s.wakers[i])
        free(self.s.candidates)
        free(self.s.where)
        free(self.s.pin_counts)

    # -- sharing --------------------------------------------------------------------------------------------------

    def attach(self, int worker):
        attach_worker(self, worker)

    def reap(self, int worker):
        return reap_worker(self, worker)

    @property
    def worker(self):
        return None if self.s.me < 0 else self.s.me

    @property
    def wake_fileno(self):
        return None if self.s.me < 0 else self.s.wakers[self.s.me]

    def woken(self):
        hear_news(self)

    @property
    def crowded(self):
        return pinned_granules(&self.s) > self.s.top.pinned_most

    def relieved(self):
        store64_release(&self.s.top.pinned_told, 0)

    # -- for C callers --------------------------------------------------------------------------------------------

    # hot
    cdef uint64_t hash_of(self, const char* key, size_t n) noexcept nogil:
        cdef uint64_t h[2]
        siphash128(self.secret, key, n, h)
        return h[0] & self.hash_mask

    # hot
    cdef Record* find(self, const char* key, size_t n) noexcept nogil:
        return index_find(&self.s, self.hash_of(key, n), key, n)

    # hot
    cdef Record* find_hashed(self, uint64_t h0, uint64_t h1, const char* key, size_t n) noexcept nogil:
        """The same with the hash at hand; its second half plays no part."""
        return index_find(&self.s, h0 & self.hash_mask, key, n)

    cdef void hash_both(self, const char* key, size_t n, uint64_t* h) noexcept nogil:
        siphash128(self.secret, key, n, h)

    cdef bint has_asides(self) noexcept nogil:
        """Whether anything may lie behind the key of something else."""
        return load64_acquire(&self.s.top.asides) != 0

    cdef bint alone(self) noexcept nogil:
        """No second worker was ever attached: between two steps of this one nobody stores anything."""
        return self.s.me == 0 and load64_acquire(&self.s.top.highest) == 1

    cdef uint64_t epoch(self) noexcept nogil:
        return load64_acquire(&self.s.top.stamp)

    # hot
    cdef bint snapshot(self, const Record* r, Record* copy) noexcept nogil:
        """The header of what `find` has just given. False: it was gone by then."""
        cdef const uint64_t* words = <const uint64_t*> r
        cdef int i
        for i in range(<int> (sizeof(Record) // 8)):
            (<uint64_t*> copy)[i] = load64_acquire(&words[i])
        return self.unchanged()

    # hot
    cdef bint unchanged(self) noexcept nogil:
        """Whether what was read of the record that `find` gave last was that record's, all of it."""
        return self.same(&self.s.seen)

    # hot
    cdef bint same(self, const Sight* sight) noexcept nogil:
        """The same of an earlier one, by a copy of `s.seen`."""
        fence_acquire()
        return load32_relaxed(&sight.bucket.version) == sight.version

    # hot
    cdef int body_iov(self, Record* r, uint64_t offset, uint64_t length, iovec* iov, int most) noexcept nogil:
        """Up to `most` pieces of the body from `offset` on; how many. Add up their lengths: `most` may have cut it."""
        cdef int n
        body_pieces(&self.s, r, r, offset, length, iov, most, &n)
        return n

    cdef int copy_iov(self, Record* r, const Record* copy, uint64_t offset, uint64_t length, iovec* iov,
                      int most) noexcept nogil:
        """The same of a record that is not pinned, by the `snapshot` of its header."""
        cdef int n
        body_pieces(&self.s, r, copy, offset, length, iov, most, &n)
        return n

    # hot
    cdef void touch(self, Record* r, int64_t now) noexcept nogil:
        cdef Bucket* b
        cdef int i = slot_of(&self.s, r, &b)
        if now > self.s.now:
            self.s.now = now
        if i >= 0:
            store32_relaxed(&b.access[i], used(&self.s, load32_relaxed(&b.access[i]), now))

    # hot
    cdef bint pin(self, Record* r) noexcept nogil:
        """Hold what `find` gave last. False: it is gone, or too much is held."""
        return pin_seen(&self.s, r)

    # hot
    cdef void unpin(self, Record* r) noexcept nogil:
        unpin_record(&self.s, r)

    cdef Record* hold(self, const char* key, size_t n) noexcept nogil:
        """The record under a key, pinned. NULL also where it is being moved and the lock is not to be had."""
        return hold_record(self, key, n)

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def now(self):
        return self.s.now

    @now.setter
    def now(self, int64_t value):
        if value > self.s.now:
            self.s.now = value

    @property
    def stamp(self):
        return self.epoch()

    def begin_at(self, uint64_t stamp):
        if stamp > self.s.top.stamp:
            store64_release(&self.s.top.stamp, stamp)

    def next_stamp(self):
        return add64_both(&self.s.top.stamp, 1)

    @property
    def size(self):
        return self.s.top.size

    @property
    def largest(self):
        return largest_body(&self.s)

    @property
    def policy(self):
        return POLICIES[self.s.policy]

    @property
    def fileno(self):
        return self.fd

    def lookup(self, bytes key not None):
        cdef Record* r = self.hold(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        return None if r == NULL else entry_of(self, r)

    def keys(self, limit=None):
        return list_keys(self, <uint64_t> INT64_MAX if limit is None else <uint64_t> limit)

    def stats(self):
        return stats_of(&self.s)

    def audit(self):
        return reported(&self.s, audit_space)

    def account(self):
        return reported(&self.s, account_space)

    # -- writing --------------------------------------------------------------------------------------------------

    def begin_fill(self, bytes key not None, Fill since=None):
        cdef bint won = False
        fill = self.begin(key, since, self.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)), &won)
        return fill, won

    cdef Fill begin(self, bytes key, Fill since, uint64_t h0, bint* won):
        """`begin_fill`; `h0` is the first half of the key's hash."""
        return begin_or_follow(self, key, since, h0, won)

    def publish(self, bytes key not None, draft not None, body=b"", bint tell=True, bint aside=False):
        return publish_draft(self, key, draft, body, tell, aside, False, None)

    def begin_marker(self, bytes key not None, bytes meta not None, bytes body not None, int64_t now, int64_t until):
        return publish_marker(self, key, meta, body, now, until)

    def exchange(self, bytes key not None, Entry old, draft not None, body=b""):
        return publish_draft(self, key, draft, body, True, False, True, old)

    def republish(self, Entry entry not None, draft not None, bint tell=True):
        return publish_over(self, entry, draft, tell)

    # -- leaving --------------------------------------------------------------------------------------------------

    def remove(self, bytes key not None, bint tell=True):
        return remove_key(self, key, tell)

    def invalidate(self, bytes key not None):
        void_fill(self, key)
        return remove_key(self, key, True)

    def purge(self, bytes key not None, bint soft=False, now=None):
        return purge_prefix(self, key, soft, self.s.now if now is None else <int64_t> now)

    def soft_purge(self, bytes key not None, now=None):
        return soft_purge_key(self, key, self.s.now if now is None else <int64_t> now)

    def purge_all(self, bint soft=False, now=None):
        return purge_prefix(self, b"", soft, self.s.now if now is None else <int64_t> now)

    def void(self, bytes key not None):
        void_fill(self, key)

    # -- uncacheable ----------------------------------------------------------------------------------------------

    def remember_uncacheable(self, bytes key not None, int64_t until, uint8_t reason=0):
        cdef uint64_t h[2]
        siphash128(self.secret, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), h)
        remember(&self.s, h, until << 8 | reason)

    cdef bint is_uncacheable(self, const uint64_t* h, int64_t now) noexcept nogil:
        """The same as `uncacheable`, without the reason; `h` as of `hash_both`."""
        return remembered(&self.s, h) >> 8 > now

    def uncacheable(self, bytes key not None, int64_t now):
        cdef uint64_t h[2]
        siphash128(self.secret, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), h)
        cdef int64_t found = remembered(&self.s, h)
        return <uint8_t> found if found >> 8 > now else None

    # -- for tests ------------------------------------------------------------------------------------------------

    @staticmethod
    def least_to_move(spans, int top, int floor, int want, int most):
        cdef uint16_t flat[2 * PAGE_QUARTERS]
        cdef int first = 0
        cdef int behind = 0
        cdef int n = len(spans)
        cdef int i
        if not 0 < n <= PAGE_QUARTERS:
            raise ValueError(f"1 to {PAGE_QUARTERS} spans")
        for i in range(n):
            flat[2 * i], flat[2 * i + 1] = spans[i]
        i = cdn_least_to_move(flat, n, top, floor, want, most, &first, &behind)
        return None if i < 0 else (i, first, behind)

    @staticmethod
    def arm(int step, int signal, int after=1):
        if not 1 <= step <= STEPS:
            raise ValueError(f"the steps are 1 to {STEPS}")
        cdn_arm(step, signal, after)
