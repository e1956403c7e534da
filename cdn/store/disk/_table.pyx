"""The index of the disk: from the hash of a key to a place in a segment file. Knows hashes, places and serial numbers;
not keys, not files.

Every event (handed over, removed, moved) has a serial number, and a later one wins, in memory and when the logs are read
after a start.

    table/slots.pyx     where a hash may lie, and how that is changed
    table/places.pyx    which segment files there are
    table/logs.pyx      from the logs to slots, after a start
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport ESRCH, errno
from libc.stdint cimport INT64_MAX, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.signal cimport kill
from posix.unistd cimport close, getpid

from cdn._atomics cimport add64_both, load64_acquire, store32_relaxed, store64_release
from cdn._bits cimport fastrange, prefetch
from cdn._core cimport siphash128
from cdn._system cimport EOWNERDEAD, pthread_mutex_consistent, pthread_mutex_lock, pthread_mutex_unlock, shared_mutex_init
from cdn.store.disk._crc cimport crc32c_of

import os

cdef enum:
    TOP_BYTES = 4096
    MOST_SEGMENTS = 4096

assert sizeof(Slot) == 32 and sizeof(Seg) == 32 and sizeof(Top) <= TOP_BYTES


include "table/slots.pyx"
include "table/places.pyx"
include "table/logs.pyx"


@cython.final
cdef class Table:
    cdef Top* top
    cdef uint8_t secret[16]
    cdef int fd

    def __cinit__(self, uint64_t objects, bytes secret not None, int segments):
        cdef uint64_t size
        cdef uint64_t nbuckets
        cdef void* base
        self.fd = -1
        if len(secret) != 16:
            raise ValueError("the index's secret is 16 bytes")
        if not 1 <= segments <= MOST_SEGMENTS or objects < 1:
            raise ValueError("an index needs room for an object and a segment")
        memcpy(self.secret, PyBytes_AS_STRING(secret), 16)
        nbuckets = (objects + objects // 4 + WAYS - 1) // WAYS      # at most 80 % full
        size = TOP_BYTES + MOST_SEGMENTS * sizeof(Seg) + nbuckets * WAYS * sizeof(Slot)
        size = (size + 4095) // 4096 * 4096
        self.fd = os.memfd_create("cdn-disk-index", os.MFD_CLOEXEC)
        os.posix_fallocate(self.fd, 0, size)
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, self.fd, 0)
        if base == MAP_FAILED:
            raise OSError(f"cannot map {size} bytes for the index of the disk")
        self.top = <Top*> base
        memcpy(self.top.magic, b"cdn-dix\0", 8)
        self.top.version = TABLE_VERSION
        self.top.size = size
        self.top.nsegments = segments
        self.top.nbuckets = nbuckets
        self.top.segments = TOP_BYTES
        self.top.buckets = TOP_BYTES + MOST_SEGMENTS * sizeof(Seg)
        if shared_mutex_init(&self.top.lock) != 0:
            raise OSError("the lock of the disk's index cannot be made")

    def __dealloc__(self):
        if self.top != NULL:
            munmap(self.top, self.top.size)
        if self.fd >= 0:
            close(self.fd)

    # -- what happens to a key --------------------------------------------------------------------------------------

    def hash(self, bytes key not None):
        cdef uint64_t h[2]
        siphash128(self.secret, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), h)
        return h[0]

    def find(self, uint64_t hash):
        cdef Slot* s = seek(self.top, hash)
        cdef uint64_t where
        if s == NULL:
            return None
        where = s.where
        if state_of(s) != SLOT_STORED or s.hash != hash:
            return None
        store32_relaxed(&s.used, 1)
        return where

    def pend(self, uint64_t hash):
        cdef uint64_t serial
        lock(self.top)
        serial = next_serial(self.top)
        change(self.top, place(self.top, hash), hash, SLOT_PENDING, serial, 0)
        unlock(self.top)
        return serial

    def pending(self, uint64_t hash, uint64_t serial):
        return seek_event(self.top, hash, SLOT_PENDING, serial) != NULL

    def settle(self, uint64_t hash, uint64_t serial, uint64_t where):
        return store_at(self.top, hash, SLOT_PENDING, serial, where)

    def remove(self, uint64_t hash):
        cdef Slot* s
        cdef uint64_t serial = 0
        lock(self.top)
        s = seek(self.top, hash)
        if s != NULL:       # also where it is gone: whoever removed it may die before that is logged
            serial = end(self.top, s)
        unlock(self.top)
        return serial

    def remove_at(self, uint64_t hash, uint64_t where):
        cdef Slot* s
        cdef uint64_t serial = 0
        lock(self.top)
        s = seek_stored(self.top, hash, where)
        if s != NULL:
            serial = end(self.top, s)
        unlock(self.top)
        return serial

    def forget(self, uint64_t hash, uint64_t serial):
        cdef Slot* s
        lock(self.top)
        s = seek(self.top, hash)
        if s != NULL and serial_of(s) == serial and state_of(s) != SLOT_STORED:
            empty(self.top, s)
        unlock(self.top)

    def stored_at(self, uint64_t hash, uint64_t where):
        cdef Slot* s = seek_stored(self.top, hash, where)
        return None if s == NULL else s.used != 0

    def known(self, uint64_t hash):
        return seek(self.top, hash) != NULL

    def renew(self, uint64_t hash, uint64_t where):
        cdef Slot* s
        cdef uint64_t serial = 0
        lock(self.top)
        s = seek_stored(self.top, hash, where)
        if s != NULL:
            serial = next_serial(self.top)
            store64_release(&s.serial, <uint64_t> SLOT_STORED << STATE_SHIFT | serial)
        unlock(self.top)
        return serial

    def move(self, uint64_t hash, uint64_t serial, uint64_t where):
        return store_at(self.top, hash, SLOT_STORED, serial, where)

    def evict(self, uint64_t hash, uint64_t where):
        cdef Slot* s
        lock(self.top)
        s = seek_stored(self.top, hash, where)
        if s != NULL:
            empty(self.top, s)
        unlock(self.top)
        return s != NULL

    def evict_all(self, int segment):
        cdef uint64_t count
        with nogil:
            count = empty_segment(self.top, segment)
        return count

    def clear(self):
        sweep(self.top, SLOT_STORED, SLOT_GONE)

    def orphans(self):
        cdef list out = []
        cdef Slot* s
        cdef uint64_t i
        cdef int state
        cdef int dead = 0
        lock(self.top)
        for i in range(count_of(self.top)):
            s = slots_of(self.top) + i
            state = state_of(s)
            if state != SLOT_PENDING and state != SLOT_GONE:
                continue
            if <int> s.owner == dead or not alive(s.owner):
                dead = s.owner
                out.append((s.hash, end(self.top, s)))
        unlock(self.top)
        return out

    # -- after a start ----------------------------------------------------------------------------------------------

    def load(self, log not None, int segment, uint64_t data, uint64_t safe=0):
        cdef Py_buffer view
        cdef Found found
        if not 0 <= segment < <int> self.top.nsegments:
            raise ValueError("no such segment")
        PyObject_GetBuffer(log, &view, PyBUF_SIMPLE)
        memset(&found, 0, sizeof(found))
        with nogil:
            read_log(self.top, <const LogRecord*> view.buf, view.len // RECORD_BYTES, segment, data, safe, &found)
        found.bad += view.len % RECORD_BYTES != 0
        PyBuffer_Release(&view)
        return found.good, found.serial, found.stamp, found.bad

    def settled(self):
        sweep(self.top, SLOT_GONE, SLOT_EMPTY)

    # -- segments ---------------------------------------------------------------------------------------------------

    def adopt(self, uint64_t number):
        cdef int place = take_place(self.top, &number, SEG_SEALED)
        return None if place < 0 else (place, number)

    def open_segment(self):
        cdef uint64_t number = 0
        cdef int place = take_place(self.top, &number, SEG_OPEN)
        return None if place < 0 else (place, number)

    def note_serial(self, int segment, uint64_t serial):
        cdef Seg* seg = segs_of(self.top) + segment
        lock(self.top)
        seg.oldest = min(seg.oldest, serial)
        unlock(self.top)

    def seal(self, int segment):
        segs_of(self.top)[segment].state = SEG_SEALED

    def leave(self):
        cdef int place = leave_oldest(self.top)
        return None if place < 0 else (place, segs_of(self.top)[place].number)

    def leave_at(self, int segment, uint64_t number):
        return leave_this(self.top, segment, number)

    def numbered(self, uint64_t number):
        lock(self.top)
        self.top.number = max(self.top.number, number)
        unlock(self.top)

    def free(self, int segment):
        cdef Seg* seg = segs_of(self.top) + segment
        lock(self.top)
        seg.state = SEG_FREE
        seg.number = 0
        unlock(self.top)

    def number_of(self, int segment):
        cdef Seg* seg = segs_of(self.top) + segment
        if not 0 <= segment < <int> self.top.nsegments or seg.state == SEG_FREE:
            return 0
        return seg.number

    def oldest_elsewhere(self, int segment):
        return oldest_beside(self.top, segment)

    def segments(self):
        cdef Seg* seg = segs_of(self.top)
        return [(i, seg[i].number, seg[i].state) for i in range(<int> self.top.nsegments) if seg[i].state != SEG_FREE]

    # -- counters ---------------------------------------------------------------------------------------------------

    @property
    def serial(self):
        return load64_acquire(&self.top.serial)

    @property
    def noted(self):
        return load64_acquire(&self.top.noted)

    @noted.setter
    def noted(self, uint64_t value):
        store64_release(&self.top.noted, value)

    def stats(self):
        return {
            "objects": self.top.objects,
            "bytes": self.top.units << UNIT_SHIFT,
            "lost": self.top.lost,
            "index_bytes": self.top.size,
            "slots": count_of(self.top),
        }

    def audit(self):
        """Whether the counters are what the slots say; ValueError otherwise."""
        cdef Slot* s = slots_of(self.top)
        cdef uint64_t objects = 0
        cdef uint64_t units = 0
        cdef uint64_t i
        for i in range(count_of(self.top)):
            if state_of(s + i) == SLOT_STORED:
                objects += 1
                units += s[i].where & UNITS_MASK
                if not self.number_of(<int> (s[i].where >> 48)):
                    raise ValueError("a slot of the disk's index points into a segment that is gone")
        if objects != self.top.objects or units != self.top.units:
            raise ValueError(f"{objects} objects in the disk's index, {self.top.objects} counted")
        return objects
