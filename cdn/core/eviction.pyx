# Who goes, as pure choices among candidates. Knows access words, weights and times; not where anything lies, nor how
# the candidates were found (all of them: exact; a sample: an approximation).
#
# Two choices, two meanings of the access word:
#   lru_victim     a stamp of the last use, wrapping
#   gdsf_victim    level << 4 | uses: how often it was used (at most 15), and the level of inflation at the last use
#
# The second is GreedyDual-Size-Frequency (Cherkasova 1998) with the size to the power of 3/4 in place of the size: with
# the size itself, large objects lose more bytes than small ones win.


cdef inline uint64_t idle_time(uint32_t access, uint32_t clock) noexcept nogil:
    """How long ago, in units of the stamps, which wrap. A stamp a little ahead of the clock is no time ago."""
    cdef uint32_t idle = clock - access
    return 0 if idle >= 0xf0000000u else idle


cdef int lru_victim(const Candidate* c, int n, uint32_t clock, uint32_t serial, int64_t now) noexcept nogil:
    """The index of the candidate to evict, -1 when there is none.

    What is useful to nobody any more goes first. Then the one unused for longest, where the time counts twice for what
    has expired but may still be revalidated or served stale. Among equals the one stored first goes: stamps are coarse.
    """
    cdef int i
    cdef int best = -1
    cdef bint useless
    cdef bint best_useless = False
    cdef uint64_t idle
    cdef uint64_t best_idle = 0
    for i in range(n):
        useless = c[i].useful_until <= now
        idle = idle_time(c[i].access, clock)
        if c[i].expires <= now and not useless:
            idle <<= 1
        if best >= 0:
            if useless != best_useless:
                if best_useless:
                    continue
            elif idle < best_idle:
                continue
            elif idle == best_idle and <uint32_t> (serial - c[i].serial) <= <uint32_t> (serial - c[best].serial):
                continue
        best = i
        best_useless = useless
        best_idle = idle
    return best


cdef int64_t gdsf_value(const Candidate* c, uint32_t level, int64_t now) noexcept nogil:
    """What keeping c is worth, relative to the level: its uses by its weight to the 3/4, less what the level has risen
    since the last one. What has expired but may still be revalidated or served stale counts half."""
    cdef double root = sqrt(<double> (c.weight + 1))
    cdef int64_t worth = <int64_t> ((1 + (c.access & USES_MASK)) * GDSF_UNIT / (root * sqrt(root)))
    if c.expires <= now:
        worth >>= 1
    return worth - <int64_t> ((level - (c.access >> USES_BITS)) & LEVEL_MASK)


cdef int gdsf_victim(const Candidate* c, int n, uint32_t level, int64_t now, int64_t* value) noexcept nogil:
    """The index of the candidate to evict and its value, -1 when there is none.

    What is useful to nobody any more goes first, then what is worth least; among equals the heavier, then the first.
    """
    cdef int i
    cdef int best = -1
    cdef bint useless
    cdef bint best_useless = False
    cdef int64_t here
    for i in range(n):
        useless = c[i].useful_until <= now
        here = gdsf_value(c + i, level, now)
        if best >= 0:
            if useless != best_useless:
                if best_useless:
                    continue
            elif here > value[0] or (here == value[0] and c[i].weight <= c[best].weight):
                continue
        best = i
        best_useless = useless
        value[0] = here
    return best


cdef Candidate* read_candidates(candidates) except NULL:
    cdef Py_ssize_t n = len(candidates)
    cdef Py_ssize_t i
    cdef Candidate* c
    if n > 1 << 20:
        raise ValueError("more than 1048576 candidates")
    c = <Candidate*> malloc((n + 1) * sizeof(Candidate))
    if c == NULL:
        raise MemoryError()
    try:
        for i in range(n):
            c[i].access, c[i].serial, c[i].weight, c[i].expires, c[i].useful_until = candidates[i]
    except BaseException:
        free(c)
        raise
    return c


def lru_choice(candidates, uint32_t clock, uint32_t serial, int64_t now):
    cdef Candidate* c = read_candidates(candidates)
    try:
        return lru_victim(c, len(candidates), clock, serial, now)
    finally:
        free(c)


def gdsf_choice(candidates, uint32_t level, int64_t now):
    cdef int64_t value = 0
    cdef Candidate* c = read_candidates(candidates)
    try:
        return gdsf_victim(c, len(candidates), level, now, &value)
    finally:
        free(c)
