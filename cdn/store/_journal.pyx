"""The journal: a bounded log of short notes in memory that every process of a node shares, and what it makes of epochs.

    Top       head      how many notes were ever written; the last `room` of them are there
              epoch     what carries an older stamp is decided again, whatever it is
              told, applied    two words that mean nothing here: how far others' notes have come, before and after
    uint64_t[BUCKETS]   the same for the URLs that fall into each bucket
    Note[]    a ring    written before `head` says so, never changed until it comes round again

Stamps come from one counter, the store's: a fill has that of the moment its request left. Every append takes the next
one. A note about one URL raises its bucket to it, so that the others stay in the hit lane; any other note raises
`epoch`. The order is note, head, bucket or epoch, counter: whoever finds something out of date finds the note, too, and
what was decided meanwhile carries a stamp before the note's. A writer that is killed in between leaves a note that the
next writer puts in force.

Writers take a lock of the kernel's that is given back when its process dies; readers take none. Must not know what a
note means.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport close

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from cdn._atomics cimport fence_acquire, load64_acquire, store64_release

import fcntl
import os
import time

DIGEST = 16     # bytes
ROOM = 65536    # notes
PATIENCE = 0.25     # seconds that a writer waits for another

cdef enum:
    DIGEST_BYTES = 16
    BUCKETS = 65536     # a power of two

cdef struct Note:               # 40 bytes
    uint8_t digest[DIGEST_BYTES]
    uint64_t stamp
    int64_t time
    uint32_t number
    uint8_t kind
    uint8_t flags
    uint8_t spare[2]

cdef struct Top:
    uint64_t head
    uint64_t epoch
    uint64_t seed
    uint64_t told
    uint64_t applied
    uint64_t spare[3]


class JournalBusyError(OSError):
    """Another process holds the journal and does not go on."""


cdef class Journal:

    def __cinit__(self, memory, room=ROOM):
        cdef void* base
        self.memory = memory
        self.fd = -1
        if room < 1:
            raise ValueError("a journal holds at least one note")
        self.room = room
        self.bytes = sizeof(Top) + BUCKETS * sizeof(uint64_t) + self.room * sizeof(Note)
        self.fd = os.memfd_create("cdn-journal", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, self.bytes)
        os.posix_fallocate(self.fd, 0, self.bytes)
        base = mmap(NULL, self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, self.fd, 0)
        if base == MAP_FAILED:
            raise OSError(f"cannot map {self.bytes} bytes for the purge log")
        self.top = <Top*> base
        self.top.seed = int.from_bytes(os.urandom(8), "little")
        self.buckets = <uint64_t*> (<char*> base + sizeof(Top))
        self.notes = <Note*> (self.buckets + BUCKETS)

    def __dealloc__(self):
        if self.top != NULL:
            munmap(self.top, self.bytes)
        if self.fd >= 0:
            close(self.fd)

    @property
    def head(self):
        return load64_acquire(&self.top.head)

    @property
    def told(self):
        return load64_acquire(&self.top.told)

    @told.setter
    def told(self, uint64_t word):
        store64_release(&self.top.told, word)

    @property
    def applied(self):
        return load64_acquire(&self.top.applied)

    @applied.setter
    def applied(self, uint64_t word):
        store64_release(&self.top.applied, word)

    cdef uint32_t bucket_of(self, const char* url, size_t n) noexcept nogil:
        """By a hash of our own that nobody outside can choose by; eight bytes at a time."""
        cdef uint64_t h = self.top.seed ^ n
        cdef uint64_t word
        while n >= 8:
            memcpy(&word, url, 8)
            h = (h ^ word) * <uint64_t> 0x9E3779B97F4A7C15
            h ^= h >> 29
            url += 8
            n -= 8
        word = 0
        memcpy(&word, url, n)
        h = (h ^ word) * <uint64_t> 0x9E3779B97F4A7C15
        return <uint32_t> (h >> 40) & (BUCKETS - 1)

    cdef bint is_current(self, uint64_t stamp, const char* url, size_t n) noexcept nogil:
        return stamp >= load64_acquire(&self.top.epoch) and stamp >= load64_acquire(&self.buckets[self.bucket_of(url, n)])

    def current(self, uint64_t stamp, bytes url not None):
        return self.is_current(stamp, PyBytes_AS_STRING(url), PyBytes_GET_SIZE(url))

    def append(self, list notes not None, int64_t now, bytes url=None, double patience=PATIENCE):
        cdef uint64_t head
        cdef uint64_t stamp
        cdef Note* note
        cdef bytes digest
        if len(notes) > <Py_ssize_t> self.room:
            raise ValueError("more notes than the journal holds")
        for kind, digest, number, flags in notes:
            if len(digest) != DIGEST_BYTES:
                raise ValueError("a digest is 16 bytes")
        self._lock(patience)
        try:
            head = load64_acquire(&self.top.head)
            stamp = <uint64_t> self.memory.stamp + 1
            if head and self.notes[(head - 1) % self.room].stamp == stamp:
                # its writer was killed before it was in force
                store64_release(&self.top.epoch, stamp)
                self.memory.next_stamp()
                stamp += 1
            for kind, digest, number, flags in notes:
                note = &self.notes[head % self.room]
                memcpy(note.digest, PyBytes_AS_STRING(digest), DIGEST_BYTES)
                note.stamp, note.time, note.number, note.kind, note.flags = stamp, now, number, kind, flags
                head += 1
                # one by one: a reader that copied a note while it was overwritten finds that out by `head`
                store64_release(&self.top.head, head)
            if url is None:
                store64_release(&self.top.epoch, stamp)
            else:
                store64_release(&self.buckets[self.bucket_of(PyBytes_AS_STRING(url), PyBytes_GET_SIZE(url))], stamp)
            self.memory.next_stamp()
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN)
        return stamp

    def restore(self, list notes not None):
        cdef uint64_t head = load64_acquire(&self.top.head)
        cdef Note* note
        cdef bytes digest
        if head or len(notes) > <Py_ssize_t> self.room:
            raise ValueError("notes are restored into an empty journal that has room for them")
        for kind, digest, number, flags, stamp, at in notes:
            if len(digest) != DIGEST_BYTES:
                raise ValueError("a digest is 16 bytes")
            note = &self.notes[head % self.room]
            memcpy(note.digest, PyBytes_AS_STRING(digest), DIGEST_BYTES)
            note.stamp, note.time, note.number, note.kind, note.flags = stamp, at, number, kind, flags
            head += 1
        store64_release(&self.top.head, head)

    def read(self, uint64_t since):
        cdef list out = []
        cdef uint64_t head
        cdef uint64_t at
        cdef uint64_t first
        cdef Note note
        while True:
            head = load64_acquire(&self.top.head)
            # the oldest may be overwritten at any moment, before `head` moves
            first = head + 1 - self.room if head >= self.room else 0
            at = since if since > first else first
            del out[:]
            while at < head:
                memcpy(&note, &self.notes[at % self.room], sizeof(Note))
                out.append((note.kind, PyBytes_FromStringAndSize(<char*> note.digest, DIGEST_BYTES), note.number,
                            note.flags, note.stamp, note.time))
                at += 1
            fence_acquire()
            if load64_acquire(&self.top.head) - (head - len(out)) < self.room or not out:
                return out, head, since < first

    def _lock(self, patience):
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except (BlockingIOError, PermissionError):
                if time.monotonic() >= end:
                    raise JournalBusyError("another process holds the purge log and does not go on") from None
                time.sleep(0.0005)
