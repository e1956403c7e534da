# Who goes, as pure choices among candidates. Knows access words, weights and times; not where anything lies, nor how
# the candidates were found (all of them: exact; a sample: an approximation).
#
# Two choices, two meanings of the access word:
#   lru_victim     a stamp of the last use, wrapping
#   sized_victim   clock << 4 | uses: how often it was used (at most 15), and what the clock said at the last use
#
# The second is Hyperbolic Caching (Blankstein, Sen, Freedman, USENIX ATC 2017) with two roots: a small object is worth
# more than a large one, but by size large ones lose more bytes than small ones win; and many uses more than few, but
# interest moves on. Nothing ages: worth is a matter of how long ago the last use was, told in bytes evicted since.


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


cdef inline double burden(const Candidate* c, uint32_t clock, int64_t now) noexcept nogil:
    """What keeping c costs beside what it gives: the time since its last use by its weight to the 3/4 by the root of its
    uses, all of that squared. What has expired but may still be revalidated or served stale counts half."""
    cdef double idle = <double> (((clock - (c.access >> USES_BITS)) & CLOCK_MASK) + JUST_USED)
    cdef double weight = <double> c.weight
    cdef double cost = idle * idle * weight * sqrt(weight) / <double> (1 + (c.access & USES_MASK))
    return 4 * cost if c.expires <= now else cost


cdef int sized_victim(const Candidate* c, int n, uint32_t clock, int64_t now) noexcept nogil:
    """The index of the candidate to evict, -1 when there is none.

    What is useful to nobody any more goes first, then what is worth least; among equals the heavier, then the first.
    """
    cdef int i
    cdef int best = -1
    cdef bint useless
    cdef bint best_useless = False
    cdef double here
    cdef double most = 0
    for i in range(n):
        useless = c[i].useful_until <= now
        here = burden(c + i, clock, now)
        if best >= 0:
            if useless != best_useless:
                if best_useless:
                    continue
            elif here < most or (here == most and c[i].weight <= c[best].weight):
                continue
        best = i
        best_useless = useless
        most = here
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


def sized_choice(candidates, uint32_t clock, int64_t now):
    cdef Candidate* c = read_candidates(candidates)
    try:
        return sized_victim(c, len(candidates), clock, now)
    finally:
        free(c)
