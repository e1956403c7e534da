# Who was evicted before anybody asked for it again: fingerprints, no keys. Decides nothing.
#
# Groups of eight words, 20 bits of fingerprint and 12 of age each. Age is measured by the bytes that came in behind,
# in units of 1/1024 of the store: a ghost counts for nine tenths of the store's bytes, as in "FIFO queues are all you need
# for cache eviction" (Yang et al., SOSP 2023). Ages wrap at four stores; who is too old is swept out before, a part of the
# groups with every unit. A full group forgets its oldest. Two keys of one fingerprint: one in
# 131,072, and then something is let in as if it had been here before.

cdef enum:
    AGE_BITS = 12
    AGE_MASK = 0xfff
    AGE_UNITS = 1024        # of the store's bytes
    GHOST_AGE = 922         # 0.9 of it


cdef inline uint32_t* ghost_group(Space* s, uint64_t h0) noexcept nogil:
    return s.ghosts + cdn_spread(h0 * 0xc2b2ae3d27d4eb4fu, s.top.evict.groups) * GHOST_WAYS


cdef inline uint32_t ghost_mark(uint64_t h0) noexcept nogil:
    cdef uint32_t mark = <uint32_t> (h0 >> 8) & 0xfffff
    return mark if mark else 1      # an empty word is zero


cdef inline uint64_t age_unit(Space* s) noexcept nogil:
    return (s.top.npages - 1) * (PAGE_BYTES // AGE_UNITS)


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
            if ((now - s.ghosts[at * GHOST_WAYS + i]) & AGE_MASK) > GHOST_AGE:
                s.ghosts[at * GHOST_WAYS + i] = 0


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
