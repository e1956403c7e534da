# First in, first out: rings of slot numbers, which grow with the index. Knows who came before whom; not why anybody goes.
#
# A record knows its queue and position (`place`), and the ring at that position the record's slot, so a record that is
# moved in memory changes nothing and one that is moved in the index one word. Who leaves from the middle leaves a hole.
# A ring is an eighth longer than the index has slots: closing up all holes at once is paid by the many that made them.
# That of s3fifo's small queue is half as long as the index has slots, and an eighth in large stores, since a tenth of the bytes is
# seldom more; what it has no place for belongs to the main queue from the start. Positions behind the first `base_room` lie in blocks.

cdef enum:
    HOLE = 0xffffffff
    NOBODY = -1
    SMALL_RING_PART = 8     # of the slots that the index may have
    LEAST_RING = 8192
    FIRST_RING = 1024       # positions of a ring at the beginning, at least
    GHOSTS_PART = 4
    LEAST_GHOSTS = 16384
    FIRST_GHOSTS = 2048
    FIRST_GHOSTS_PART = 128     # of what there may be
    CLOSE = 8               # a ring with an eighth of its positions free, or fewer, is full
    RING_A_BLOCK = 4096     # positions
    WIDER = 4               # a ring grows by such a part of itself, or a block


cdef inline uint64_t blocks_for(uint64_t n, uint64_t base, uint64_t a_block) noexcept nogil:
    return (n - base + a_block - 1) // a_block if n > base else 0


cdef uint64_t lay_out_policy(Super* t, uint64_t at) noexcept nogil:
    """Where rings and ghosts begin from `at` on; where that ends."""
    cdef uint64_t slots = t.nbuckets * SLOTS
    cdef uint64_t base = t.base_buckets * SLOTS
    cdef Eviction* e = &t.evict
    cdef int which
    e.most_room[0] = e.most_room[1] = slots + slots // 8 + 1
    e.base_room[0] = e.base_room[1] = base + base // 8 + 1
    if e.policy == POLICY_LRU:
        e.rings = e.most_groups = 0
    elif e.policy == POLICY_SIEVE:
        e.rings, e.most_groups = 2, 0
    else:
        e.rings = 1 if e.policy == POLICY_S3FIFO_SIZE else 2
        e.most_room[0] = max(slots // SMALL_RING_PART, min(slots // 2, <uint64_t> LEAST_RING)) + CLOSE
        e.base_room[0] = FIRST_RING + CLOSE
        e.most_groups = max(slots // GHOSTS_PART, min(slots, <uint64_t> LEAST_GHOSTS)) // GHOST_WAYS + 1
    e.base_groups = e.groups = min(max(FIRST_GHOSTS // GHOST_WAYS + 1, e.most_groups // FIRST_GHOSTS_PART), e.most_groups)
    e.queues = at = rounded(at, 64)
    for which in range(2):
        e.base_room[which] = min(max(e.base_room[which], <uint64_t> FIRST_RING), e.most_room[which])
        e.room[which] = e.base_room[which]
        if <uint64_t> which < e.rings:
            at += e.base_room[which] * sizeof(uint32_t)
            t.tables[TABLE_RING + which].most = blocks_for(e.most_room[which], e.base_room[which], RING_A_BLOCK)
    e.ghosts = rounded(at, 64)
    t.tables[TABLE_GHOSTS].most = blocks_for(e.most_groups, e.base_groups, GROUPS_A_BLOCK)
    return e.ghosts + e.base_groups * GHOST_WAYS * sizeof(uint32_t)


cdef void look_at_policy(Space* s) noexcept nogil:
    s.policy = <uint32_t> s.top.evict.policy
    s.ring[0] = <uint32_t*> (s.base + s.top.evict.queues)
    s.ring[1] = s.ring[0] + s.top.evict.base_room[0]
    s.base_room[0], s.base_room[1] = s.top.evict.base_room[0], s.top.evict.base_room[1]
    s.ghosts = <uint32_t*> (s.base + s.top.evict.ghosts)
    s.base_groups = s.top.evict.base_groups


cdef inline uint32_t* ring_at(Space* s, int which, uint64_t position) noexcept nogil:
    if position < s.base_room[which]:
        return s.ring[which] + position
    position -= s.base_room[which]
    return <uint32_t*> table_block(s, TABLE_RING + which, position // RING_A_BLOCK) + position % RING_A_BLOCK


cdef bint widen(Space* s, int which, uint64_t least) noexcept nogil:
    """Room for so many in a ring, and some more. False: there is no block to be had for them.

    What goes on at the beginning of the ring goes on behind its old end from then on.
    """
    cdef Eviction* e = &s.top.evict
    cdef Queue* q = &e.queue[which]
    cdef uint64_t room = e.room[which]
    cdef uint64_t wide = room
    cdef uint64_t around_end = 0
    cdef uint64_t to
    cdef uint64_t k
    cdef uint32_t where
    least = min(max(least, room + room // WIDER), e.most_room[which])
    while wide < least:
        k = e.base_room[which] + s.top.tables[TABLE_RING + which].blocks * RING_A_BLOCK
        if k <= wide:
            if not lengthen(s, TABLE_RING + which):
                break
            k += RING_A_BLOCK
        wide = min(k, e.most_room[which])
    if q.first + q.length > room:
        around_end = q.first + q.length - room
    for k in range(around_end if wide > room else 0):
        to = room + k if k < wide - room else k - (wide - room)
        where = ring_at(s, which, k)[0]
        ring_at(s, which, to)[0] = where
        if where != HOLE:
            record_of_slot(s, where).place = <uint32_t> which << PLACE_SHIFT | <uint32_t> to
    cdn_step(STEP_RING_TURNED)
    e.room[which] = wide
    return wide >= least


cdef bint widen_rings(Space* s) noexcept nogil:
    """The index is about to grow. False: a ring could not hold all that are in it then."""
    cdef Eviction* e = &s.top.evict
    cdef uint64_t slots = buckets_now(s) * SLOTS + SLOTS
    cdef uint64_t least
    cdef int which
    cdef bint small
    for which in range(<int> e.rings):
        small = which == 0 and s.policy != POLICY_SIEVE
        least = slots // 2 + CLOSE if small else slots + slots // 8 + 1
        if e.room[which] < min(least, e.most_room[which]) and not widen(s, which, least):
            if not small and e.room[which] < slots:
                return False
    return True


cdef inline Record* record_of_slot(Space* s, uint64_t where) noexcept nogil:
    return record_at(s, bucket_at(s, where // SLOTS).slot[where % SLOTS] & GRANULE_MASK)


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
        where = ring_at(s, which, at)[0]
        if where != HOLE:
            if to != at:
                ring_at(s, which, to)[0] = where
                ring_at(s, which, at)[0] = HOLE
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
    ring_at(s, which, at)[0] = <uint32_t> where
    r.place = <uint32_t> which << PLACE_SHIFT | <uint32_t> at
    q.length += 1


cdef int64_t oldest(Space* s, int which) noexcept nogil:
    """The slot of the oldest of a queue that has a ring, or NOBODY."""
    cdef Queue* q = &s.top.evict.queue[which]
    while q.length and ring_at(s, which, q.first)[0] == HOLE:
        q.first = around(s, which, q.first + 1)
        q.length -= 1
    return <int64_t> ring_at(s, which, q.first)[0] if q.length else NOBODY


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
    ring_at(s, which, at)[0] = HOLE
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
        ring_at(s, queue_of(r), r.place & NO_POSITION)[0] = <uint32_t> where


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
    for which in range(2):
        if <uint64_t> which < e.rings:
            memset(s.ring[which], 0xff, e.base_room[which] * sizeof(uint32_t))      # HOLE
            for at in range(s.top.tables[TABLE_RING + which].blocks):
                memset(table_block(s, TABLE_RING + which, at), 0xff, BLOCK_BYTES)
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
            if (at >= e.room[which] or ring_at(s, which, at)[0] != HOLE
                    or (at + e.room[which] - e.queue[which].first) % e.room[which] >= e.queue[which].length):
                r.place = NO_PLACE
                continue
            ring_at(s, which, at)[0] = <uint32_t> where
        e.queue[which].live += 1
        e.queue[which].bytes += weight_of(r)
    for where in range(slots):
        if bucket_at(s, where // SLOTS).slot[where % SLOTS]:
            r = record_of_slot(s, where)
            if r.place == NO_PLACE:
                enqueue(s, 0, r, where)
