# First in, first out: rings of slot numbers, bounded and made at start. Knows who came before whom; not why anybody goes.
#
# A record knows its queue and position (`place`), and the ring at that position the record's slot, so a record that is
# moved in memory changes nothing and one that is moved in the index one word. Who leaves from the middle leaves a hole.
# A ring is an eighth longer than the index has slots: closing up all holes at once is paid by the many that made them.
# That of s3fifo's small queue is an eighth as long in large stores, since a tenth of the bytes is seldom more; what it has no
# place for belongs to the main queue from the start.

cdef enum:
    HOLE = 0xffffffff
    NOBODY = -1
    SMALL_RING_PART = 8     # of the slots that the index may have
    LEAST_SMALL_RING = 8192
    GHOSTS_PART = 4
    LEAST_GHOSTS = 16384
    CLOSE = 8               # a ring with an eighth of its positions free, or fewer, is full


cdef inline uint64_t ring_positions(const Eviction* e) noexcept nogil:
    return (e.room[0] if e.rings else 0) + (e.room[1] if e.rings > 1 else 0)


cdef uint64_t lay_out_policy(Super* t, uint64_t at) noexcept nogil:
    """Where rings and ghosts lie from `at` on; where they end."""
    cdef uint64_t slots = t.nbuckets * SLOTS
    t.evict.room[0] = t.evict.room[1] = slots + slots // 8 + 1
    t.evict.queues = rounded(at, 64)
    if t.evict.policy == POLICY_LRU:
        t.evict.rings = t.evict.groups = 0
    elif t.evict.policy == POLICY_SIEVE:
        t.evict.rings, t.evict.groups = 2, 0
    else:
        t.evict.rings = 1 if t.evict.policy == POLICY_S3FIFO_SIZE else 2
        t.evict.room[0] = max(slots // SMALL_RING_PART, min(slots // 2, <uint64_t> LEAST_SMALL_RING)) + CLOSE
        t.evict.groups = max(slots // GHOSTS_PART, min(slots, <uint64_t> LEAST_GHOSTS)) // GHOST_WAYS + 1
    t.evict.ghosts = rounded(t.evict.queues + ring_positions(&t.evict) * sizeof(uint32_t), 64)
    return t.evict.ghosts + t.evict.groups * GHOST_WAYS * sizeof(uint32_t)


cdef void look_at_policy(Space* s) noexcept nogil:
    s.policy = <uint32_t> s.top.evict.policy
    s.ring[0] = <uint32_t*> (s.base + s.top.evict.queues)
    s.ring[1] = s.ring[0] + s.top.evict.room[0]
    s.ghosts = <uint32_t*> (s.base + s.top.evict.ghosts)


cdef inline Record* record_of_slot(Space* s, uint64_t where) noexcept nogil:
    return record_at(s, bucket_at(s, where // SLOTS).slot[where % SLOTS] & GRANULE_MASK)


cdef inline uint64_t weight_of(const Record* r) noexcept nogil:
    return <uint64_t> r.run * GRANULE + r.body * BLOCK_BYTES


cdef inline int queue_of(const Record* r) noexcept nogil:
    return <int> (r.place >> PLACE_SHIFT)


cdef inline uint64_t around(Space* s, int which, uint64_t position) noexcept nogil:
    return position if position < s.top.evict.room[which] else position - s.top.evict.room[which]


cdef void close_up(Space* s, int which) noexcept nogil:
    """Bring together what lives in a ring, in its order."""
    cdef Queue* q = &s.top.evict.queue[which]
    cdef uint64_t k
    cdef uint64_t at
    cdef uint64_t to = q.first
    cdef uint32_t where
    for k in range(q.length):
        at = around(s, which, q.first + k)
        where = s.ring[which][at]
        if where != HOLE:
            if to != at:
                s.ring[which][to] = where
                s.ring[which][at] = HOLE
                record_of_slot(s, where).place = <uint32_t> which << PLACE_SHIFT | <uint32_t> to
            to = around(s, which, to + 1)
    q.length = q.live


cdef void enqueue(Space* s, int which, Record* r, uint64_t where) noexcept nogil:
    """r, which slot `where` points at, becomes the newest of a queue: of this one, or of the other where it is full."""
    cdef Queue* q = &s.top.evict.queue[which]
    cdef uint64_t at
    if which == 0 and s.top.evict.rings and q.live >= s.top.evict.room[0] - s.top.evict.room[0] // CLOSE:
        which = 1
        q = &s.top.evict.queue[1]
    q.bytes += weight_of(r)
    q.live += 1
    if <uint64_t> which >= s.top.evict.rings:
        r.place = <uint32_t> which << PLACE_SHIFT | NO_POSITION
        return
    if q.length == s.top.evict.room[which]:
        q.live -= 1         # r is not in the ring yet
        close_up(s, which)
        q.live += 1
    at = around(s, which, q.first + q.length)
    s.ring[which][at] = <uint32_t> where
    r.place = <uint32_t> which << PLACE_SHIFT | <uint32_t> at
    q.length += 1


cdef int64_t oldest(Space* s, int which) noexcept nogil:
    """The slot of the oldest of a queue that has a ring, or NOBODY."""
    cdef Queue* q = &s.top.evict.queue[which]
    while q.length and s.ring[which][q.first] == HOLE:
        q.first = around(s, which, q.first + 1)
        q.length -= 1
    return <int64_t> s.ring[which][q.first] if q.length else NOBODY


cdef void leave_queue(Space* s, Record* r) noexcept nogil:
    """Out of the queue that r is in, if any."""
    cdef int which = queue_of(r)
    cdef Queue* q
    cdef uint64_t at
    if s.policy == POLICY_LRU or r.place == NO_PLACE:
        return
    q = &s.top.evict.queue[which]
    q.live -= 1
    q.bytes -= weight_of(r)
    at = r.place & NO_POSITION
    r.place = NO_PLACE
    if at == NO_POSITION:
        return
    s.ring[which][at] = HOLE
    if around(s, which, q.first + q.length - 1) == at:
        q.length -= 1


cdef void take_place(Space* s, Record* r, Record* old) noexcept nogil:
    """r, which replaces old in its slot, stands where old stood."""
    cdef Queue* q = &s.top.evict.queue[queue_of(old)]
    r.place = old.place
    old.place = NO_PLACE
    q.bytes = q.bytes - weight_of(old) + weight_of(r)


cdef void change_slot(Space* s, const Record* r, uint64_t where) noexcept nogil:
    """r stays where it is and another slot points at it."""
    if s.policy != POLICY_LRU and (r.place & NO_POSITION) != NO_POSITION:
        s.ring[queue_of(r)][r.place & NO_POSITION] = <uint32_t> where


cdef void restore_queues(Space* s) noexcept nogil:
    """Make rings and counts again from the index, whatever they said: who knows a position nobody else has keeps it, the
    others become the newest of the first queue. The index itself is whole."""
    cdef Eviction* e = &s.top.evict
    cdef uint64_t slots = buckets_now(s) * SLOTS
    cdef uint64_t where
    cdef uint64_t at
    cdef Record* r
    cdef int which
    if s.policy == POLICY_LRU:
        return
    memset(s.ring[0], 0xff, ring_positions(e) * sizeof(uint32_t))        # HOLE
    for which in range(2):
        e.queue[which].live = e.queue[which].bytes = 0
        if e.queue[which].first >= e.room[which] or e.queue[which].length > e.room[which] or <uint64_t> which >= e.rings:
            e.queue[which].first = e.queue[which].length = 0
    for where in range(slots):
        if bucket_at(s, where // SLOTS).slot[where % SLOTS] == 0:
            continue
        r = record_of_slot(s, where)
        which = queue_of(r)
        at = r.place & NO_POSITION
        if which > 1 or (at == NO_POSITION) != (<uint64_t> which >= e.rings):
            r.place = NO_PLACE
            continue
        if at != NO_POSITION:
            if (at >= e.room[which] or s.ring[which][at] != HOLE
                    or (at + e.room[which] - e.queue[which].first) % e.room[which] >= e.queue[which].length):
                r.place = NO_PLACE
                continue
            s.ring[which][at] = <uint32_t> where
        e.queue[which].live += 1
        e.queue[which].bytes += weight_of(r)
    for where in range(slots):
        if bucket_at(s, where // SLOTS).slot[where % SLOTS]:
            r = record_of_slot(s, where)
            if r.place == NO_PLACE:
                enqueue(s, 0, r, where)
