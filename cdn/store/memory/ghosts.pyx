# Who was evicted before anybody asked for it again: fingerprints, no keys. Decides nothing.
#
# Groups of eight words, 20 bits of fingerprint and 12 of age each. Age is measured by the bytes that came in behind,
# in units of 1/1024 of the store: a ghost counts for nine tenths of the store's bytes, as in "FIFO queues are all you need
# for cache eviction" (Yang et al., SOSP 2023). Ages wrap at four stores; who is too old is swept out before, a part of the
# groups with every unit. A full group forgets its oldest. There are about as many as the index has slots, and a quarter of them in
# large stores; groups come one by one, as buckets of the index do, and bits of the fingerprint choose among those of one
# beginning. Two keys of one fingerprint: one in 131,072, in 4,096 at most, and then something is let in as if it had been here before.

cdef enum:
    AGE_BITS = 12
    AGE_MASK = 0xfff
    AGE_UNITS = 1024        # of the store's bytes
    GHOST_AGE = 922         # 0.9 of it
    GROUPS_A_BLOCK = 512


cdef inline uint32_t* group_at(Space* s, uint64_t number) noexcept nogil:
    if number < s.base_groups:
        return s.ghosts + number * GHOST_WAYS
    number -= s.base_groups
    return <uint32_t*> table_block(s, TABLE_GHOSTS, number // GROUPS_A_BLOCK) + number % GROUPS_A_BLOCK * GHOST_WAYS


cdef inline uint32_t* ghost_group(Space* s, uint64_t h0) noexcept nogil:
    """Linear hashing, as in the index."""
    cdef uint64_t mask = (<uint64_t> 2 << s.top.evict.ghost_level) - 1
    cdef uint64_t base = fastrange(h0 * 0xc2b2ae3d27d4eb4fu, s.base_groups)
    cdef uint64_t at = base + (ghost_mark(h0) & mask) * s.base_groups
    return group_at(s, at if at < s.top.evict.groups else base + (ghost_mark(h0) & mask >> 1) * s.base_groups)


cdef void grow_ghosts(Space* s) noexcept nogil:
    """The index has grown by a bucket."""
    cdef Eviction* e = &s.top.evict
    cdef uint64_t n = e.groups
    cdef uint64_t level = e.ghost_level
    cdef uint32_t* old
    cdef uint32_t* fresh
    cdef int i
    if n >= e.most_groups or n * GHOST_WAYS >= buckets_now(s) * SLOTS:
        return
    if (n - e.base_groups) // GROUPS_A_BLOCK >= s.top.tables[TABLE_GHOSTS].blocks and not lengthen(s, TABLE_GHOSTS):
        return
    if n == e.base_groups << (level + 1):
        level += 1
    old = group_at(s, n - (e.base_groups << level))
    fresh = group_at(s, n)
    for i in range(GHOST_WAYS):
        fresh[i] = 0
        if old[i] >> (AGE_BITS + level) & 1:
            fresh[i] = old[i]
            old[i] = 0
    cdn_step(STEP_GHOSTS_SPLIT)
    e.ghost_level = level
    e.groups = n + 1


cdef inline uint32_t ghost_mark(uint64_t h0) noexcept nogil:
    cdef uint32_t mark = <uint32_t> (h0 >> 8) & 0xfffff
    return mark if mark else 1      # an empty word is zero


cdef inline uint64_t age_unit(Space* s) noexcept nogil:
    return s.top.npages * (PAGE_BYTES // AGE_UNITS)


cdef inline uint32_t ghost_now(Space* s) noexcept nogil:
    return <uint32_t> (s.top.evict.ghost_clock // age_unit(s)) & AGE_MASK


cdef void sweep_ghosts(Space* s, uint64_t units) noexcept nogil:
    """So many units have gone by: all groups are seen once in AGE_UNITS of them."""
    cdef uint64_t n = units * (s.top.evict.groups // AGE_UNITS + 1)
    cdef uint32_t now = ghost_now(s)
    cdef uint64_t at
    cdef int i
    if n > s.top.evict.groups:
        n = s.top.evict.groups
    while n:
        n -= 1
        at = s.top.evict.ghost_hand
        s.top.evict.ghost_hand = 0 if at + 1 >= s.top.evict.groups else at + 1
        for i in range(GHOST_WAYS):
            if ((now - group_at(s, at)[i]) & AGE_MASK) > GHOST_AGE:
                group_at(s, at)[i] = 0


cdef void add_ghost(Space* s, uint64_t h0, uint64_t weight) noexcept nogil:
    cdef uint32_t* group = ghost_group(s, h0)
    cdef uint32_t now = ghost_now(s)
    cdef uint32_t mark = ghost_mark(h0)
    cdef uint32_t age
    cdef uint32_t most = 0
    cdef uint64_t before = s.top.evict.ghost_clock // age_unit(s)
    cdef int best = 0
    cdef int i
    for i in range(GHOST_WAYS):
        if group[i] == 0 or group[i] >> AGE_BITS == mark:
            best = i
            break
        age = (now - group[i]) & AGE_MASK
        if age > most:
            most = age
            best = i
    group[best] = mark << AGE_BITS | now
    s.top.evict.ghost_clock += weight
    sweep_ghosts(s, s.top.evict.ghost_clock // age_unit(s) - before)


cdef bint take_ghost(Space* s, uint64_t h0) noexcept nogil:
    """Whether there is a ghost for this hash; it is gone then."""
    cdef uint32_t* group = ghost_group(s, h0)
    cdef uint32_t now = ghost_now(s)
    cdef uint32_t mark = ghost_mark(h0)
    cdef int i
    for i in range(GHOST_WAYS):
        if group[i] >> AGE_BITS == mark:
            now = (now - group[i]) & AGE_MASK
            group[i] = 0
            return now <= GHOST_AGE
    return False
