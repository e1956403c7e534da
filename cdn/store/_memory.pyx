"""The memory store: one mapping per node, from a key to a record, a head and a body.

Decides where things lie and who goes when room is needed. Must not know HTTP, sockets, asyncio or a clock: times
come in with drafts and touches. Several processes may use one mapping (`attach`): whatever writes takes the lock, and where
it is not to be had in time the store does nothing, which is a miss, or a response that is not stored. `layout.pxd` says
what a process must do to read what another one writes.
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
from posix.unistd cimport usleep

from cdn._atomics cimport (
    add32_seq_cst, add64_both, and32_seq_cst, and64_seq_cst, fence_acquire, fence_seq_cst, load32_acquire, load32_relaxed, load64_acquire,
    or32_seq_cst, or64_seq_cst, raise64_seq_cst, store32_relaxed, store64_relaxed, store64_release, swap32_seq_cst,
)
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

include "memory/bits.pyx"
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

class StoreBusyError(OSError):
    """A process that does not run holds the store's lock."""


cdef str BUSY = "the memory store is held by a process that does not run: kill it, or try again"

cdef enum:
    LEAST_SIZE = 1 << 20
    MOST_SIZE_BITS = 42             # blocks and granules have numbers that reach so far
    PIECES = 64
    MOST_REFS = 255
    BASE_PART = 512                 # the index begins with this part of what it may become
    LEAST_BASE = 205                # buckets of it: for 1024 objects
    MOST_BUCKETS = 160_000_000      # so that every position of a ring has a number


cdef inline uint64_t largest_body(Space* s) noexcept nogil:
    """One page at least holds the run, one what tables have grown into."""
    return min((<uint64_t> s.top.npages - 2) * PAGE_BLOCKS, <uint64_t> MOST_BLOCKS) * BLOCK_BYTES


@cython.final
cdef class Memory:

    def __cinit__(self, uint64_t size, bytes secret, objects=None, int sample=16, int hash_bits=64,
                  int workers=0, str policy="lru", int pinned=25, first=None):
        cdef Super geometry
        cdef uint64_t nbuckets
        cdef uint64_t npages
        cdef uint64_t at_first
        cdef uint64_t spare
        cdef void* base
        cdef int i
        self.fd = -1
        self.fills, self.follows, self.following = {}, {}, {}
        self.s.me = -1
        for i in range(MOST_WORKERS):
            self.s.wakers[i] = -1
        if len(secret) != 16:
            raise ValueError("the store's secret is 16 bytes")
        if size < LEAST_SIZE:
            raise ValueError("the memory store takes at least 1 MiB")
        if size > <uint64_t> 1 << MOST_SIZE_BITS:
            raise ValueError("the memory store takes at most 4 TiB")
        if not 1 <= sample <= 1 << 20:
            raise ValueError("an eviction chooses among 1 to 1048576 entries")
        if not 0 <= hash_bits <= 64:
            raise ValueError("the table's hash has 0 to 64 bits")
        if not 0 <= workers <= MOST_WORKERS:
            raise ValueError(f"at most {MOST_WORKERS} workers share a memory store")
        if not 1 <= pinned <= 100:
            raise ValueError("1 to 100 % of the memory store may be pinned")
        self.hash_mask = ~<uint64_t> 0 if hash_bits == 64 else (<uint64_t> 1 << hash_bits) - 1
        memcpy(self.secret, PyBytes_AS_STRING(secret), 16)
        size -= size % 4096
        nbuckets = ((size >> 10 if objects is None else <uint64_t> objects) + SLOTS - 1) // SLOTS
        if nbuckets * sizeof(Bucket) > size // 2:
            raise ValueError("an index for that many objects takes more than half of the memory store")
        if nbuckets == 0:
            raise ValueError("the index of the memory store needs room for one object")
        if nbuckets > MOST_BUCKETS:
            if objects is not None:
                raise ValueError(f"the index of the memory store has room for at most {MOST_BUCKETS * SLOTS} objects")
            nbuckets = MOST_BUCKETS
        at_first = (max(nbuckets // BASE_PART, LEAST_BASE) if first is None else <uint64_t> first // SLOTS)
        memset(&geometry, 0, sizeof(geometry))
        geometry.base_buckets = within(at_first, 1, nbuckets)
        geometry.extent = geometry.base_buckets
        geometry.size = size
        geometry.nworkers = workers
        geometry.evict.policy = policy_number(policy)
        npages = size // PAGE_BYTES
        while lay_out(&geometry, npages, nbuckets) > size:
            npages -= 1
        if first is None:       # and what is less than a page, as far as rings do not grow with it
            at_first = geometry.base_buckets
            spare = (size - lay_out(&geometry, npages, nbuckets)) // sizeof(Bucket)
            geometry.base_buckets = min(at_first + spare, nbuckets)
            while lay_out(&geometry, npages, nbuckets) > size:
                spare -= spare // 8 + 1
                geometry.base_buckets = min(at_first + spare, nbuckets)
            geometry.extent = geometry.base_buckets
        memcpy(geometry.magic, b"cdn-mem\0", 8)
        geometry.version = LAYOUT_VERSION
        geometry.pinned_most = npages * PAGE_GRANULES * pinned // 100
        geometry.stamp = 1
        self.fd = os.memfd_create("cdn-store", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)
        os.posix_fallocate(self.fd, 0, size)
        base = mmap(NULL, size + GUARD, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if base != MAP_FAILED:
            base = mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self.fd, 0)
        if base == MAP_FAILED:
            raise OSError(f"cannot map {size} bytes for the memory store")
        memcpy(base, &geometry, sizeof(geometry))
        look_at(&self.s, <char*> base)
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
            os.close(self.fd)
        for i in range(MOST_WORKERS):
            if self.s.wakers[i] > 0:
                os.close(self.s.wakers[i])
        free(self.s.candidates)
        free(self.s.where)
        free(self.s.pin_counts)

    # -- sharing --------------------------------------------------------------------------------------------------

    def attach(self, int worker):
        if not 0 <= worker < <int> self.s.top.nworkers:
            raise ValueError(f"the memory store has no slot for worker {worker}")
        if self.s.me >= 0:
            raise ValueError("this process is attached already")
        if worker_slot(&self.s, worker).attached and not self.reap(worker):
            raise RuntimeError(f"worker slot {worker} of the memory store is still in use")
        self.s.me = worker
        self.s.random ^= <uint64_t> int.from_bytes(os.urandom(8), "little") | 1
        worker_slot(&self.s, worker).pid = os.getpid()
        # before the first pin, in the order that pins rely on
        raise64_seq_cst(&self.s.top.highest, worker + 1)
        swap32_seq_cst(&worker_slot(&self.s, worker).attached, 1)

    def reap(self, int worker):
        cdef WorkerSlot* slot
        if not 0 <= worker < <int> self.s.top.nworkers:
            raise ValueError(f"the memory store has no slot for worker {worker}")
        slot = worker_slot(&self.s, worker)
        store32_relaxed(&slot.attached, 0)
        if not take_lock(&self.s, LONG_WAIT):
            return False
        store32_relaxed(&slot.woken, 0)
        clear_pins(&self.s, worker)
        lose_fills(&self.s, worker)
        if self.s.top.retired:
            sweep_retired(&self.s)
        drop_lock(&self.s)
        return True

    @property
    def worker(self):
        return None if self.s.me < 0 else self.s.me

    @property
    def wake_fileno(self):
        return None if self.s.me < 0 else self.s.wakers[self.s.me]

    def woken(self):
        if self.s.me < 0:
            return
        try:
            os.eventfd_read(self.s.wakers[self.s.me])
        except BlockingIOError:
            pass
        swap32_seq_cst(&worker_slot(&self.s, self.s.me).woken, 0)
        for pointer in list(self.following):
            if pointer in self.following:       # the last one's readers may have let this one go
                look(<Fill> <PyObject*> <size_t> pointer)

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

    cdef Record* hold(self, const char* key, size_t n) noexcept nogil:
        """The record under a key, pinned. NULL also where it is being moved and the lock is not to be had."""
        cdef Record* r
        cdef int turn
        for turn in range(4):
            r = self.find(key, n)
            if r == NULL or pin_seen(&self.s, r):
                return r
        if not take_lock(&self.s, LOCK_WAIT):
            return NULL
        r = self.find(key, n)
        if r != NULL and not pin_record(&self.s, r):
            r = NULL
        drop_lock(&self.s)
        return r

    def keys(self, limit=None):
        cdef list out = []
        cdef uint64_t at
        cdef uint64_t most = <uint64_t> INT64_MAX if limit is None else <uint64_t> limit
        cdef Record* r
        if not take_lock(&self.s, LONG_WAIT):
            return out
        for at in range(buckets_now(&self.s) * SLOTS):
            if <uint64_t> len(out) >= most:
                break
            r = self.at_slot(at)
            if r != NULL:
                out.append(PyBytes_FromStringAndSize(record_key(r), r.key_len))
        drop_lock(&self.s)
        return out

    cdef Record* at_slot(self, uint64_t at) noexcept:
        cdef uint64_t word = bucket_at(&self.s, at // SLOTS).slot[at % SLOTS]
        return NULL if word == 0 else record_at(&self.s, word & GRANULE_MASK)

    def stats(self):
        cdef Super* t = self.s.top
        cdef uint64_t fixed = t.size - <uint64_t> t.npages * PAGE_BYTES
        cdef uint64_t grown = (segments_now(&self.s) + table_blocks(&self.s)) * BLOCK_BYTES
        return {
            "size": t.size,
            "used": fixed + t.used_granules * GRANULE,
            "fixed": fixed + grown,
            "pinned": pinned_granules(&self.s) * GRANULE,
            "pinned_most": t.pinned_most * GRANULE,
            "objects": t.objects,
            "object_bytes": t.object_bytes,
            "evictions": t.evictions,
            "expired_evictions": t.expired_evictions,
            "moved": t.moved,
            "commits": t.commits,
            "aborts": t.aborts,
            "fills": registered_fills(&self.s),
            "lock_failures": t.lock_failures,
            "rebuilt": t.rebuilt,
            "slots": buckets_now(&self.s) * SLOTS,
            "index_load": t.objects / <double> (buckets_now(&self.s) * SLOTS),
        }

    def audit(self):
        if not take_lock(&self.s, LONG_WAIT):
            raise StoreBusyError(BUSY)
        try:
            return audit_space(&self.s)
        finally:
            drop_lock(&self.s)

    def account(self):
        if not take_lock(&self.s, LONG_WAIT):
            raise StoreBusyError(BUSY)
        try:
            return account_space(&self.s)
        finally:
            drop_lock(&self.s)

    # -- writing --------------------------------------------------------------------------------------------------

    def begin_fill(self, bytes key not None, Fill since=None):
        cdef bint won = False
        fill = self.begin(key, since, self.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)), &won)
        return fill, won

    cdef Fill begin(self, bytes key, Fill since, uint64_t h0, bint* won):
        """`begin_fill`; `h0` is the first half of the key's hash."""
        cdef Space* s = &self.s
        cdef FillSlot* f = NULL
        cdef Fill fill
        borrowed = self.fills.get(key)
        if borrowed is None and self.follows:
            borrowed = self.follows.get(key)
        if borrowed is not None:
            fill = <Fill> <PyObject*> <size_t> borrowed
            if load32_relaxed(&fill.slot.flags) & FILL_REGISTERED and not fill.is_purged():
                return fill
            # another worker has voided it
            self.follows.pop(key, None) if fill.remote else fill.unregister()
        fill = Fill.__new__(Fill)
        fill.open(self, key, self.epoch() if since is None else since.stamp)
        h0 &= self.hash_mask
        if take_lock(s, LOCK_WAIT):
            f = find_fill(s, h0, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            if f != NULL and s.me >= 0 and f.owner != own_name(s):
                fill.remote = True
                fill.slot = f
                fill.stamp = f.stamp
                or64_seq_cst(&f.followers, own_bit(s))
            else:
                if f != NULL:
                    f.flags &= ~<uint32_t> FILL_REGISTERED
                f = new_fill(s, h0, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
                if f != NULL:
                    f.stamp = fill.stamp
                    if since is not None:
                        f.era = since.slot.era
            drop_lock(s)
        if fill.remote:
            fill.seen_state, fill.seen_arrived = fill.current(), load64_acquire(&f.arrived)
            self.follows[key] = self.following[<size_t> <PyObject*> fill] = <size_t> <PyObject*> fill
            return fill
        if f != NULL:
            fill.enter(f)
        if since is not None and since.is_purged():
            fill.void("purged")
        won[0] = True
        return fill

    def publish(self, bytes key not None, draft not None, body=b"", bint tell=True, bint aside=False):
        return self.put(key, draft, body, tell, aside, False, None)

    def begin_marker(self, bytes key not None, bytes meta not None, bytes body not None, int64_t now, int64_t until):
        cdef Record t
        cdef Record* r
        if PyBytes_GET_SIZE(key) > 0xffff or PyBytes_GET_SIZE(meta) > 0xffff or self.tier is not None:
            return False
        memset(&t, 0, sizeof(Record))
        t.born = t.response_time = record_time(now)
        t.fresh_until = until
        t.swr_until = t.sie_until = record_time(until)
        t.last_modified = NO_TIME
        t.flags = RECORD_VARY_MARKER
        t.status_line_len = PyBytes_GET_SIZE(NO_HEAD)
        t.stamp = record_stamp(self.epoch())
        t.key_len, t.head_len, t.meta_len = PyBytes_GET_SIZE(key), PyBytes_GET_SIZE(NO_HEAD), PyBytes_GET_SIZE(meta)
        t.hash0 = self.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        t.body_length = PyBytes_GET_SIZE(body)
        if not take_lock(&self.s, LOCK_WAIT):
            return False
        r = NULL
        if self.find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)) == NULL:
            r = self.lay(&t, key, NO_HEAD, meta, PyBytes_AS_STRING(body))
            if r != NULL:
                self.reveal(r)
        drop_lock(&self.s)
        return r != NULL

    def exchange(self, bytes key not None, Entry old, draft not None, body=b""):
        return self.put(key, draft, body, True, False, True, old)

    cdef Entry put(self, bytes key, object draft, object body, bint tell, bint aside, bint exchange, Entry old):
        cdef Record t
        cdef Record* r
        cdef Record* expected = NULL if old is None else old.record()
        cdef Py_buffer view
        cdef Entry entry
        cdef tuple text = read_draft(draft, self.epoch(), key, &t)
        if text is None:
            return None
        t.hash0 = self.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        if aside or not tell:       # the tier may have sent either
            store64_release(&self.s.top.asides, 1)
        PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
        try:
            if not take_lock(&self.s, LOCK_WAIT):
                return None
            # `old` is pinned: it is not moved, and nothing else lies where it lay
            if exchange and self.find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)) != expected:
                drop_lock(&self.s)
                return None
            t.body_length = view.len
            r = self.lay(&t, key, text[0], text[1], <const char*> view.buf)
            entry = self.publish_run(r)      # lets the lock go
        finally:
            PyBuffer_Release(&view)
        if tell:
            self.told(entry)
        return entry

    def republish(self, Entry entry not None, draft not None, bint tell=True):
        cdef Record t
        cdef Record* old = entry.record()
        cdef Record* r
        cdef bytes key
        cdef tuple text
        if entry.memory is not self:
            raise ValueError("an entry of another store")
        key = PyBytes_FromStringAndSize(record_key(old), old.key_len)
        text = read_draft(draft, self.epoch(), key, &t)
        if text is None or not take_lock(&self.s, LOCK_WAIT):
            return None
        t.hash0, t.body_length, t.body, t.stretches = old.hash0, old.body_length, old.body, old.stretches
        # what is pinned is not evicted for this
        r = NULL if load32_relaxed(&old.pins) & PIN_RETIRED else self.lay_over(&t, old, key, text[0], text[1])
        fresh = self.publish_run(r)
        if tell:
            self.told(fresh)
        return fresh

    cdef Entry publish_run(self, Record* r):
        """Publish, let the lock go, and give it to Python. None: there is none, or it cannot be held."""
        if r != NULL and not pin_record(&self.s, r):
            free_record(&self.s, r)
            r = NULL
        if r != NULL:
            self.reveal(r)
        drop_lock(&self.s)
        return None if r == NULL else entry_of(self, r)

    cdef bint reveal(self, Record* r) noexcept:
        if r.response_time > self.s.now:
            self.s.now = r.response_time
        publish_record(&self.s, r)
        self.s.top.commits += 1
        return True

    cdef int told(self, Entry entry) except -1:
        """Tell the tier behind this one what is stored now; outside of any lock."""
        if self.tier is not None and entry is not None and not entry.r.flags & RECORD_UNCACHEABLE:
            self.tier.stored(entry)
        return 0

    cdef Record* lay(self, Record* t, bytes key, bytes head, bytes meta, const char* body) except? NULL:
        """A run (and blocks) with everything in it, not published; NULL: no room. Hash, length and times are in t."""
        cdef uint64_t nblocks
        cdef uint64_t nquarters
        cdef uint64_t run_bytes
        cdef uint64_t i
        cdef uint64_t here
        cdef Record* r
        if (t.body_length > largest_body(&self.s)
                or not plan(&self.s, t.key_len, t.head_len, t.meta_len, t.body_length, &nblocks, &nquarters, &run_bytes)
                or not make_pieces(&self.s, &nblocks, &nquarters, &run_bytes)):
            return NULL
        t.body, t.quarters, t.stretches = nblocks, nquarters, join_blocks(laid, nblocks, NULL)
        r = make_run(&self.s, granules(run_bytes - sizeof(uint32_t) * (nblocks - t.stretches)))
        if r == NULL:
            give_pieces(&self.s, nblocks, nblocks + nquarters)
            return NULL
        write_run(r, t, key, head, meta)
        join_blocks(laid, nblocks, record_blocks(r))
        memcpy(record_quarters(r), laid + nblocks, nquarters * sizeof(uint32_t))
        for i in range(nblocks):
            here = min(<uint64_t> BLOCK_BYTES, t.body_length - i * BLOCK_BYTES)
            memcpy(block_bytes(&self.s, laid[i]), body + i * BLOCK_BYTES, here)
        if nblocks:
            block_refs(&self.s, laid[0])[0] = 1
        here = nblocks * BLOCK_BYTES
        for i in range(nquarters):
            memcpy(quarter_bytes(&self.s, record_quarters(r)[i]), body + here, min(<uint64_t> QUARTER_BYTES, t.body_length - here))
            here += QUARTER_BYTES
        if here < t.body_length:
            memcpy(record_body(r), body + here, t.body_length - here)
        return r

    cdef Record* lay_over(self, Record* t, Record* old, bytes key, bytes head, bytes meta) except? NULL:
        """The same over the body of `old`, which is pinned: blocks are shared, the rest is copied."""
        cdef uint64_t whole = old.body * <uint64_t> BLOCK_BYTES
        cdef uint64_t tail = 0 if old.body_length <= whole else old.body_length - whole
        cdef uint64_t nquarters = tail // QUARTER_BYTES
        cdef uint64_t run_bytes = lead(t.key_len, t.head_len, t.meta_len, old.stretches + nquarters) + tail % QUARTER_BYTES
        cdef uint64_t i
        cdef Record* r
        cdef bytes body
        # the new head is so much longer that the body has to be laid anew, or there are too many to share it
        if run_bytes > MOST_RUN or (old.body and block_refs(&self.s, first_of(record_blocks(old)[0]))[0] == MOST_REFS):
            body = read_body(&self.s, old, 0, old.body_length)
            return self.lay(t, key, head, meta, PyBytes_AS_STRING(body))
        r = make_run(&self.s, granules(run_bytes))
        if r == NULL:
            return NULL
        t.quarters = nquarters
        write_run(r, t, key, head, meta)
        if not make_quarters(&self.s, r):
            give_run(&self.s, r)
            return NULL
        for i in range(nquarters):
            copy_body(&self.s, old, whole, quarter_bytes(&self.s, record_quarters(r)[i]), QUARTER_BYTES)
            whole += QUARTER_BYTES
        copy_body(&self.s, old, whole, record_body(r), tail % QUARTER_BYTES)
        if old.body:
            memcpy(record_blocks(r), record_blocks(old), old.stretches * sizeof(uint32_t))
            block_refs(&self.s, first_of(record_blocks(r)[0]))[0] += 1
        return r

    # -- leaving --------------------------------------------------------------------------------------------------

    def remove(self, bytes key not None, bint tell=True):
        cdef Record* r
        if tell and self.tier is not None:
            self.tier.gone(key)
        if not take_lock(&self.s, LOCK_WAIT):
            return self.expire(key, INT64_MIN)
        r = self.find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        if r != NULL:
            withdraw(&self.s, r)
        drop_lock(&self.s)
        return r != NULL

    def invalidate(self, bytes key not None):
        self.void_fill(key)
        return self.remove(key)

    cdef bint leave(self, Record* r, bint soft, int64_t now) noexcept:
        """Hard: out of the index. Soft: not fresh any more; the one word of a published record that may change."""
        if not soft:
            withdraw(&self.s, r)
        elif r.fresh_until > now:
            store64_relaxed(<uint64_t*> &r.fresh_until, <uint64_t> now)
        return True

    cdef bint expire(self, bytes key, int64_t now) noexcept:
        """Without the lock: not to be used any more (INT64_MIN), or not fresh any more."""
        cdef Record* r = self.hold(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        if r == NULL:
            return False
        if now == INT64_MIN:
            never_stale(r)
        if r.fresh_until > now:
            store64_relaxed(<uint64_t*> &r.fresh_until, <uint64_t> now)
        unpin_record(&self.s, r)
        return True

    def purge(self, bytes key not None, bint soft=False, now=None):
        cdef int64_t at_time = self.s.now if now is None else now
        cdef size_t n = PyBytes_GET_SIZE(key)
        cdef const char* text = PyBytes_AS_STRING(key)
        cdef uint64_t at
        cdef uint64_t count = 0
        cdef Record* r
        for other in list(self.fills):
            if (<bytes> other).startswith(key):
                self.void_fill(<bytes> other)
        if not take_lock(&self.s, LONG_WAIT):
            raise StoreBusyError(BUSY)
        void_fills(&self.s, text, n)
        for at in range(buckets_now(&self.s) * SLOTS):
            r = self.at_slot(at)
            if r != NULL and r.key_len >= n and memcmp(record_key(r), text, n) == 0:
                count += self.leave(r, soft, at_time)
        drop_lock(&self.s)
        return count

    def soft_purge(self, bytes key not None, now=None):
        self.void_fill(key)
        cdef bint found = self.expire(key, self.s.now if now is None else <int64_t> now)
        cdef Entry entry
        if self.tier is not None:
            entry = self.lookup(key)
            if entry is None:
                self.tier.gone(key)
            else:
                self.told(entry)
        return found

    def purge_all(self, bint soft=False, now=None):
        return self.purge(b"", soft, now)

    def void(self, bytes key not None):
        self.void_fill(key)

    cdef int void_fill(self, bytes key) except -1:
        cdef Fill fill
        cdef FillSlot* f
        borrowed = self.fills.get(key)
        if borrowed is not None:
            fill = <Fill> <PyObject*> <size_t> borrowed
            fill.void("purged")
        elif self.s.me >= 0:
            if not take_lock(&self.s, LOCK_WAIT):
                # whichever it is: they all are
                add64_both(&self.s.top.era, 1)
                return 0
            f = find_fill(&self.s, self.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)),
                          PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            if f != NULL:
                void_slot(f)
            drop_lock(&self.s)

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
