"""The index of the disk: from the hash of a key to a place in a segment file. Knows hashes, places and serial numbers;
not keys, not files.

Every event (handed over, removed, moved) has a serial number, and a later one wins, in memory and when the logs are read
after a start. Changes are made under a lock that survives the death of its holder: each change of a slot is whole after
every single store, so there is nothing to undo.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap

from cdn._core cimport siphash128
from cdn.store.disk._crc cimport crc32c_of

import os

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_mutexattr_t:
        pass
    int pthread_mutexattr_init(pthread_mutexattr_t*)
    int pthread_mutexattr_setpshared(pthread_mutexattr_t*, int)
    int pthread_mutexattr_setrobust(pthread_mutexattr_t*, int)
    int pthread_mutexattr_destroy(pthread_mutexattr_t*)
    int pthread_mutex_init(pthread_mutex_t*, const pthread_mutexattr_t*)
    int pthread_mutex_lock(pthread_mutex_t*)
    int pthread_mutex_unlock(pthread_mutex_t*)
    int pthread_mutex_consistent(pthread_mutex_t*)
    int PTHREAD_PROCESS_SHARED
    int PTHREAD_MUTEX_ROBUST

cdef extern from "<errno.h>" nogil:
    int EOWNERDEAD
    int ESRCH
    int errno

cdef extern from "<signal.h>" nogil:
    int kill(int, int)

cdef extern from "<unistd.h>" nogil:
    int getpid()


cdef bint alive(int process) noexcept nogil:
    return kill(process, 0) == 0 or errno != ESRCH

cdef extern from *:
    """
    static inline uint64_t dt_load64(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void dt_store64(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline void dt_store32(uint32_t* p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline uint64_t dt_add64(uint64_t* p, uint64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_ACQ_REL); }
    static inline uint64_t dt_spread(uint64_t h, uint64_t n) { return (uint64_t)(((unsigned __int128)h * n) >> 64); }
    static inline void dt_prefetch(const void* p) { __builtin_prefetch(p); }
    """
    uint64_t dt_load64(const uint64_t* p) noexcept nogil
    void dt_store64(uint64_t* p, uint64_t v) noexcept nogil
    void dt_store32(uint32_t* p, uint32_t v) noexcept nogil
    uint64_t dt_add64(uint64_t* p, uint64_t v) noexcept nogil
    uint64_t dt_spread(uint64_t h, uint64_t n) noexcept nogil
    void dt_prefetch(const void* p) noexcept nogil

cdef enum:
    STATE_SHIFT = 62
    MOST_SEGMENTS = 4096
    RECORD_BYTES = 64       # of a log: see `format.py`
    RECORD_ENTRY = 1
    RECORD_GONE = 2
    AHEAD = 16              # records whose buckets are fetched ahead
    TURN = 65536            # slots that are looked at before others have their turn

cdef uint64_t SERIAL_MASK = (<uint64_t> 1 << STATE_SHIFT) - 1
cdef uint64_t UNITS_MASK = (<uint64_t> 1 << UNIT_BITS) - 1

cdef char[RECORD_BYTES] NOTHING
memset(NOTHING, 0, RECORD_BYTES)

cdef struct LogRecord:      # 64 bytes
    uint32_t crc
    uint32_t kind
    uint64_t hash
    uint64_t serial
    uint64_t stamp
    uint32_t offset
    uint32_t length
    uint64_t spare[3]

cdef struct Top:
    char magic[8]
    uint32_t version
    uint32_t nsegments
    uint64_t size
    uint64_t nbuckets
    uint64_t segments, buckets      # offsets
    uint64_t serial                 # the latest given
    uint64_t number                 # of the newest segment
    uint64_t objects, units         # stored now
    uint64_t noted                  # for whoever writes notes: up to where
    uint64_t lost                   # slots given up because both buckets were full
    pthread_mutex_t lock

assert sizeof(Slot) == 32 and sizeof(Seg) == 32 and sizeof(LogRecord) == RECORD_BYTES and sizeof(Top) <= 4096


cdef inline int state_of(const Slot* s) noexcept nogil:
    return <int> (dt_load64(&s.serial) >> STATE_SHIFT)


cdef inline uint64_t serial_of(const Slot* s) noexcept nogil:
    return s.serial & SERIAL_MASK


@cython.final
cdef class Table:
    cdef Top* top
    cdef Seg* segs
    cdef Slot* slots
    cdef uint8_t secret[16]
    cdef int fd

    def __cinit__(self, uint64_t objects, bytes secret not None, int segments):
        cdef pthread_mutexattr_t how
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
        size = 4096 + MOST_SEGMENTS * sizeof(Seg) + nbuckets * WAYS * sizeof(Slot)
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
        self.top.segments = 4096
        self.top.buckets = 4096 + MOST_SEGMENTS * sizeof(Seg)
        self.segs = <Seg*> (<char*> base + self.top.segments)
        self.slots = <Slot*> (<char*> base + self.top.buckets)
        pthread_mutexattr_init(&how)
        pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED)
        pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST)
        pthread_mutex_init(&self.top.lock, &how)
        pthread_mutexattr_destroy(&how)

    def __dealloc__(self):
        if self.top != NULL:
            munmap(self.top, self.top.size)
        if self.fd >= 0:
            os.close(self.fd)

    cdef void lock(self) noexcept nogil:
        if pthread_mutex_lock(&self.top.lock) == EOWNERDEAD:
            pthread_mutex_consistent(&self.top.lock)

    cdef void unlock(self) noexcept nogil:
        pthread_mutex_unlock(&self.top.lock)

    # -- slots ----------------------------------------------------------------------------------------------------

    cdef inline Slot* bucket(self, uint64_t hash, int which) noexcept nogil:
        if which:
            hash *= 0x9e3779b97f4a7c15u
        return self.slots + dt_spread(hash, self.top.nbuckets) * WAYS

    cdef Slot* seek(self, uint64_t hash) noexcept nogil:
        cdef Slot* b
        cdef int which
        cdef int i
        for which in range(2):
            b = self.bucket(hash, which)
            for i in range(WAYS):
                if b[i].hash == hash and state_of(b + i) != SLOT_EMPTY:
                    return b + i
        return NULL

    cdef void set(self, Slot* s, uint64_t hash, int state, uint64_t serial, uint64_t where) noexcept nogil:
        """Change a slot; under the lock."""
        if state_of(s) == SLOT_STORED:
            self.top.objects -= 1
            self.top.units -= s.where & UNITS_MASK
        if s.hash != hash or state == SLOT_EMPTY:
            dt_store64(&s.serial, 0)        # empty for whoever looks meanwhile
        s.hash = hash
        s.where = where
        s.owner = getpid()
        dt_store32(&s.used, 0)
        if state == SLOT_STORED:
            self.top.objects += 1
            self.top.units += where & UNITS_MASK
        if state != SLOT_EMPTY:
            dt_store64(&s.serial, <uint64_t> state << STATE_SHIFT | serial)

    cdef Slot* place(self, uint64_t hash) noexcept nogil:
        """The slot of this hash, or one for it: an empty one of the emptier bucket, else that of the oldest event."""
        cdef Slot* s = self.seek(hash)
        cdef Slot* b
        cdef Slot* free[2]
        cdef Slot* oldest = NULL
        cdef int room[2]
        cdef int which
        cdef int i
        if s != NULL:
            return s
        for which in range(2):
            b = self.bucket(hash, which)
            free[which] = NULL
            room[which] = 0
            for i in range(WAYS):
                if state_of(b + i) == SLOT_EMPTY:
                    free[which] = b + i
                    room[which] += 1
                elif oldest == NULL or serial_of(b + i) < serial_of(oldest):
                    oldest = b + i
        if room[0] or room[1]:
            return free[1] if room[1] > room[0] else free[0]
        self.top.lost += 1
        self.set(oldest, oldest.hash, SLOT_EMPTY, 0, 0)
        return oldest

    # -- what happens to a key --------------------------------------------------------------------------------------

    def hash(self, bytes key not None):
        cdef uint64_t h[2]
        siphash128(self.secret, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), h)
        return h[0]

    def find(self, uint64_t hash):
        cdef Slot* s = self.seek(hash)
        cdef uint64_t where
        if s == NULL:
            return None
        where = s.where
        if state_of(s) != SLOT_STORED or s.hash != hash:
            return None
        dt_store32(&s.used, 1)
        return where

    def pend(self, uint64_t hash):
        cdef Slot* s
        cdef uint64_t serial
        self.lock()
        serial = dt_add64(&self.top.serial, 1)
        s = self.place(hash)
        self.set(s, hash, SLOT_PENDING, serial, 0)
        self.unlock()
        return serial

    def pending(self, uint64_t hash, uint64_t serial):
        cdef Slot* s = self.seek(hash)
        return s != NULL and state_of(s) == SLOT_PENDING and serial_of(s) == serial

    def settle(self, uint64_t hash, uint64_t serial, uint64_t where):
        cdef Slot* s
        cdef bint done = False
        self.lock()
        s = self.seek(hash)
        if s != NULL and state_of(s) == SLOT_PENDING and serial_of(s) == serial:
            self.set(s, hash, SLOT_STORED, serial, where)
            done = True
        self.unlock()
        return done

    def remove(self, uint64_t hash):
        cdef Slot* s
        cdef uint64_t serial = 0
        self.lock()
        s = self.seek(hash)
        if s != NULL:       # also where it is gone: whoever removed it may die before that is logged
            serial = dt_add64(&self.top.serial, 1)
            self.set(s, hash, SLOT_GONE, serial, 0)
        self.unlock()
        return serial

    def remove_at(self, uint64_t hash, uint64_t where):
        cdef Slot* s
        cdef uint64_t serial = 0
        self.lock()
        s = self.seek(hash)
        if s != NULL and state_of(s) == SLOT_STORED and s.where == where:
            serial = dt_add64(&self.top.serial, 1)
            self.set(s, hash, SLOT_GONE, serial, 0)
        self.unlock()
        return serial

    def forget(self, uint64_t hash, uint64_t serial):
        cdef Slot* s
        self.lock()
        s = self.seek(hash)
        if s != NULL and serial_of(s) == serial and state_of(s) != SLOT_STORED:
            self.set(s, hash, SLOT_EMPTY, 0, 0)
        self.unlock()

    def stored_at(self, uint64_t hash, uint64_t where):
        cdef Slot* s = self.seek(hash)
        if s == NULL or state_of(s) != SLOT_STORED or s.where != where:
            return None
        return s.used != 0

    def known(self, uint64_t hash):
        return self.seek(hash) != NULL

    def renew(self, uint64_t hash, uint64_t where):
        cdef Slot* s
        cdef uint64_t serial = 0
        self.lock()
        s = self.seek(hash)
        if s != NULL and state_of(s) == SLOT_STORED and s.where == where:
            serial = dt_add64(&self.top.serial, 1)
            dt_store64(&s.serial, <uint64_t> SLOT_STORED << STATE_SHIFT | serial)
        self.unlock()
        return serial

    def move(self, uint64_t hash, uint64_t serial, uint64_t where):
        cdef Slot* s
        cdef bint done = False
        self.lock()
        s = self.seek(hash)
        if s != NULL and state_of(s) == SLOT_STORED and serial_of(s) == serial:
            self.set(s, hash, SLOT_STORED, serial, where)
            done = True
        self.unlock()
        return done

    def evict(self, uint64_t hash, uint64_t where):
        cdef Slot* s
        cdef bint done = False
        self.lock()
        s = self.seek(hash)
        if s != NULL and state_of(s) == SLOT_STORED and s.where == where:
            self.set(s, hash, SLOT_EMPTY, 0, 0)
            done = True
        self.unlock()
        return done

    def evict_all(self, int segment):
        cdef uint64_t n = self.top.nbuckets * WAYS
        cdef uint64_t i = 0
        cdef uint64_t end
        cdef uint64_t count = 0
        while i < n:
            end = min(i + TURN, n)
            with nogil:
                self.lock()
                while i < end:
                    if state_of(self.slots + i) == SLOT_STORED and self.slots[i].where >> 48 == <uint64_t> segment:
                        self.set(self.slots + i, self.slots[i].hash, SLOT_EMPTY, 0, 0)
                        count += 1
                    i += 1
                self.unlock()
        return count

    def clear(self):
        cdef uint64_t i
        self.lock()
        for i in range(self.top.nbuckets * WAYS):
            if state_of(self.slots + i) == SLOT_STORED:
                self.set(self.slots + i, self.slots[i].hash, SLOT_GONE, dt_add64(&self.top.serial, 1), 0)
        self.unlock()

    def orphans(self):
        cdef list out = []
        cdef Slot* s
        cdef uint64_t i
        cdef int state
        cdef uint64_t serial
        cdef int dead = 0
        self.lock()
        for i in range(self.top.nbuckets * WAYS):
            s = self.slots + i
            state = state_of(s)
            if state != SLOT_PENDING and state != SLOT_GONE:
                continue
            if <int> s.owner == dead or not alive(s.owner):
                dead = s.owner
                serial = dt_add64(&self.top.serial, 1)
                self.set(s, s.hash, SLOT_GONE, serial, 0)
                out.append((s.hash, serial))
        self.unlock()
        return out

    # -- after a start ----------------------------------------------------------------------------------------------

    def load(self, log not None, int segment, uint64_t data, uint64_t safe=0):
        cdef Py_buffer view
        cdef uint64_t found[4]
        if not 0 <= segment < <int> self.top.nsegments:
            raise ValueError("no such segment")
        PyObject_GetBuffer(log, &view, PyBUF_SIMPLE)
        memset(found, 0, sizeof(found))
        with nogil:
            self.read_log(<const LogRecord*> view.buf, view.len // RECORD_BYTES, segment, data, safe, found)
        found[3] += view.len % RECORD_BYTES != 0
        PyBuffer_Release(&view)
        return found[0], found[1], found[2], found[3]

    cdef void read_log(self, const LogRecord* r, uint64_t n, int segment, uint64_t data, uint64_t safe,
                       uint64_t* found) noexcept nogil:
        cdef uint32_t seed = <uint32_t> self.segs[segment].number
        cdef uint64_t oldest = self.segs[segment].oldest
        cdef Slot* s
        cdef uint64_t i
        cdef uint64_t end
        cdef bint there
        self.lock()
        for i in range(n):
            if i + AHEAD < n:
                dt_prefetch(self.bucket(r[i + AHEAD].hash, 0))
                dt_prefetch(self.bucket(r[i + AHEAD].hash, 1))
            if crc32c_of(<const uint8_t*> &r[i] + 4, RECORD_BYTES - 4, seed) != r[i].crc:
                # the file was made longer and the power went before the data came: that is no damage
                found[3] += i < safe or memcmp(&r[i], NOTHING, RECORD_BYTES) != 0
                continue
            end = (<uint64_t> r[i].offset + r[i].length) << UNIT_SHIFT
            found[0] += 1
            found[1] = max(found[1], r[i].serial & SERIAL_MASK)
            found[2] = max(found[2], r[i].stamp)
            oldest = min(oldest, r[i].serial)
            there = r[i].kind == RECORD_ENTRY
            if there and (end > data or r[i].length == 0 or (r[i].offset | r[i].length) > UNITS_MASK):
                found[3] += 1
                there = False       # but what it replaced is replaced
            s = self.place(r[i].hash)
            if state_of(s) != SLOT_EMPTY and serial_of(s) >= r[i].serial:
                continue
            if there:
                self.set(s, r[i].hash, SLOT_STORED, r[i].serial,
                         <uint64_t> segment << 48 | <uint64_t> r[i].offset << UNIT_BITS | r[i].length)
            else:
                self.set(s, r[i].hash, SLOT_GONE, r[i].serial, 0)
        self.segs[segment].oldest = oldest
        self.top.serial = max(self.top.serial, found[1])
        self.unlock()

    def settled(self):
        cdef uint64_t i
        self.lock()
        for i in range(self.top.nbuckets * WAYS):
            if state_of(self.slots + i) == SLOT_GONE:
                self.set(self.slots + i, self.slots[i].hash, SLOT_EMPTY, 0, 0)
        self.unlock()

    # -- segments ---------------------------------------------------------------------------------------------------

    def adopt(self, uint64_t number):
        return self.take(number, SEG_SEALED)

    def open_segment(self):
        return self.take(0, SEG_OPEN)

    cdef tuple take(self, uint64_t number, int state):
        cdef int i
        cdef int found = -1
        self.lock()
        for i in range(<int> self.top.nsegments):
            if self.segs[i].state == SEG_FREE:
                found = i
                break
        if found >= 0:
            if number == 0:
                number = self.top.number + 1
            self.top.number = max(self.top.number, number)
            self.segs[found].number = number
            self.segs[found].oldest = <uint64_t> INT64_MAX
            self.segs[found].owner = os.getpid()
            self.segs[found].state = state
        self.unlock()
        return None if found < 0 else (found, number)

    def note_serial(self, int segment, uint64_t serial):
        self.lock()
        self.segs[segment].oldest = min(self.segs[segment].oldest, serial)
        self.unlock()

    def seal(self, int segment):
        self.segs[segment].state = SEG_SEALED

    def leave(self):
        """The sealed segment with the lowest number, to be cleared by the caller. What a dead process left is sealed."""
        cdef int i
        cdef int best = -1
        cdef int state
        self.lock()
        for i in range(<int> self.top.nsegments):
            state = self.segs[i].state
            if state == SEG_OPEN or state == SEG_LEAVING:
                if alive(self.segs[i].owner):
                    continue
                state = SEG_SEALED
            if state == SEG_SEALED and (best < 0 or self.segs[i].number < self.segs[best].number):
                best = i
        if best >= 0:
            self.segs[best].state = SEG_LEAVING
            self.segs[best].owner = os.getpid()
        self.unlock()
        return None if best < 0 else (best, self.segs[best].number)

    def leave_at(self, int segment, uint64_t number):
        cdef Seg* s = &self.segs[segment]
        cdef bint ours = False
        self.lock()
        if s.number == number and (s.state == SEG_SEALED or (s.state != SEG_FREE and not alive(s.owner))):
            s.state = SEG_LEAVING
            s.owner = os.getpid()
            ours = True
        self.unlock()
        return ours

    def numbered(self, uint64_t number):
        self.lock()
        self.top.number = max(self.top.number, number)
        self.unlock()

    def free(self, int segment):
        self.lock()
        self.segs[segment].state = SEG_FREE
        self.segs[segment].number = 0
        self.unlock()

    def number_of(self, int segment):
        if not 0 <= segment < <int> self.top.nsegments or self.segs[segment].state == SEG_FREE:
            return 0
        return self.segs[segment].number

    def oldest_elsewhere(self, int segment):
        """The lowest serial number in any other segment's log."""
        cdef uint64_t oldest = <uint64_t> INT64_MAX
        cdef int i
        for i in range(<int> self.top.nsegments):
            if i != segment and self.segs[i].state != SEG_FREE:
                oldest = min(oldest, self.segs[i].oldest)
        return oldest

    def segments(self):
        return [
            (i, self.segs[i].number, self.segs[i].state)
            for i in range(<int> self.top.nsegments) if self.segs[i].state != SEG_FREE
        ]

    @property
    def serial(self):
        return dt_load64(&self.top.serial)

    @property
    def noted(self):
        return dt_load64(&self.top.noted)

    @noted.setter
    def noted(self, uint64_t value):
        dt_store64(&self.top.noted, value)

    def stats(self):
        return {
            "objects": self.top.objects,
            "bytes": self.top.units << UNIT_SHIFT,
            "lost": self.top.lost,
            "index_bytes": self.top.size,
            "slots": self.top.nbuckets * WAYS,
        }

    def audit(self):
        """Whether the counters are what the slots say; ValueError otherwise."""
        cdef uint64_t objects = 0
        cdef uint64_t units = 0
        cdef uint64_t i
        for i in range(self.top.nbuckets * WAYS):
            if state_of(self.slots + i) == SLOT_STORED:
                objects += 1
                units += self.slots[i].where & UNITS_MASK
                if not self.number_of(<int> (self.slots[i].where >> 48)):
                    raise ValueError("a slot of the disk's index points into a segment that is gone")
        if objects != self.top.objects or units != self.top.units:
            raise ValueError(f"{objects} objects in the disk's index, {self.top.objects} counted")
        return objects
