# Slots: where a hash may lie, what is known of it, and how that is changed. Must not know logs or segment files.
#
# Changes are made under a lock that survives the death of its holder: each is whole after every single store, so there is
# nothing to undo.

cdef enum:
    STATE_SHIFT = 62
    TURN = 65536            # slots that are looked at before others have their turn

cdef uint64_t SERIAL_MASK = (<uint64_t> 1 << STATE_SHIFT) - 1
cdef uint64_t UNITS_MASK = (<uint64_t> 1 << UNIT_BITS) - 1


cdef bint alive(int process) noexcept nogil:
    return kill(process, 0) == 0 or errno != ESRCH


cdef void lock(Top* top) noexcept nogil:
    if pthread_mutex_lock(&top.lock) == EOWNERDEAD:
        pthread_mutex_consistent(&top.lock)


cdef void unlock(Top* top) noexcept nogil:
    pthread_mutex_unlock(&top.lock)


cdef inline uint64_t next_serial(Top* top) noexcept nogil:
    return add64_both(&top.serial, 1)


cdef inline int state_of(const Slot* s) noexcept nogil:
    return <int> (load64_acquire(&s.serial) >> STATE_SHIFT)


cdef inline uint64_t serial_of(const Slot* s) noexcept nogil:
    return s.serial & SERIAL_MASK


cdef inline Slot* slots_of(Top* top) noexcept nogil:
    return <Slot*> (<char*> top + top.buckets)


cdef inline uint64_t count_of(const Top* top) noexcept nogil:
    return top.nbuckets * WAYS


cdef inline Slot* bucket(Top* top, uint64_t hash, int which) noexcept nogil:
    if which:
        hash *= 0x9e3779b97f4a7c15u
    return slots_of(top) + fastrange(hash, top.nbuckets) * WAYS


cdef Slot* seek(Top* top, uint64_t hash) noexcept nogil:
    """The slot of this hash; NULL: nothing is known of it."""
    cdef Slot* b
    cdef int which
    cdef int i
    for which in range(2):
        b = bucket(top, hash, which)
        for i in range(WAYS):
            if b[i].hash == hash and state_of(b + i) != SLOT_EMPTY:
                return b + i
    return NULL


cdef Slot* seek_stored(Top* top, uint64_t hash, uint64_t where) noexcept nogil:
    """The slot of what is stored at that place; NULL: it is not, or not any more."""
    cdef Slot* s = seek(top, hash)
    return s if s != NULL and state_of(s) == SLOT_STORED and s.where == where else NULL


cdef Slot* seek_event(Top* top, uint64_t hash, int state, uint64_t serial) noexcept nogil:
    """The slot that this event has left in that state; NULL: something has happened since."""
    cdef Slot* s = seek(top, hash)
    return s if s != NULL and state_of(s) == state and serial_of(s) == serial else NULL


cdef void change(Top* top, Slot* s, uint64_t hash, int state, uint64_t serial, uint64_t where) noexcept nogil:
    """Make a slot another's, or its own in another state; under the lock."""
    if state_of(s) == SLOT_STORED:
        top.objects -= 1
        top.units -= s.where & UNITS_MASK
    if s.hash != hash or state == SLOT_EMPTY:
        store64_release(&s.serial, 0)       # empty for whoever looks meanwhile
    s.hash = hash
    s.where = where
    s.owner = getpid()
    store32_relaxed(&s.used, 0)
    if state == SLOT_STORED:
        top.objects += 1
        top.units += where & UNITS_MASK
    if state != SLOT_EMPTY:
        store64_release(&s.serial, <uint64_t> state << STATE_SHIFT | serial)


cdef bint store_at(Top* top, uint64_t hash, int state, uint64_t serial, uint64_t where) noexcept nogil:
    """What this event has left in that state lies at `where` from now on. False: something has happened since."""
    cdef Slot* s
    lock(top)
    s = seek_event(top, hash, state, serial)
    if s != NULL:
        change(top, s, hash, SLOT_STORED, serial, where)
    unlock(top)
    return s != NULL


cdef inline void empty(Top* top, Slot* s) noexcept nogil:
    change(top, s, s.hash, SLOT_EMPTY, 0, 0)


cdef uint64_t end(Top* top, Slot* s) noexcept nogil:
    """What lies in a slot is gone from now on; the serial number of that."""
    cdef uint64_t serial = next_serial(top)
    change(top, s, s.hash, SLOT_GONE, serial, 0)
    return serial


cdef Slot* place(Top* top, uint64_t hash) noexcept nogil:
    """The slot of this hash, or one for it: an empty one of the emptier bucket, else that of the oldest event."""
    cdef Slot* s = seek(top, hash)
    cdef Slot* b
    cdef Slot* free[2]
    cdef Slot* oldest = NULL
    cdef int room[2]
    cdef int which
    cdef int i
    if s != NULL:
        return s
    for which in range(2):
        b = bucket(top, hash, which)
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
    top.lost += 1
    empty(top, oldest)
    return oldest


cdef uint64_t empty_segment(Top* top, uint64_t segment) noexcept nogil:
    """Forget all that is stored in a segment; how many that were."""
    cdef Slot* s = slots_of(top)
    cdef uint64_t i = 0
    cdef uint64_t stop
    cdef uint64_t count = 0
    while i < count_of(top):
        stop = min(i + TURN, count_of(top))
        lock(top)
        while i < stop:
            if state_of(s + i) == SLOT_STORED and s[i].where >> 48 == segment:
                empty(top, s + i)
                count += 1
            i += 1
        unlock(top)
    return count


cdef void sweep(Top* top, int state, int to) noexcept nogil:
    """Whatever is in one state goes over to another: SLOT_GONE, or SLOT_EMPTY, which gives its slot back."""
    cdef Slot* s = slots_of(top)
    cdef uint64_t i
    lock(top)
    for i in range(count_of(top)):
        if state_of(s + i) == state:
            if to == SLOT_GONE:
                end(top, s + i)
            else:
                empty(top, s + i)
    unlock(top)
