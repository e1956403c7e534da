# Who goes: LRU with TTL as a pure choice among candidates. Knows access stamps, weights and times; not where
# anything lies, nor how the candidates were found (all of them: exact LRU; a sample: an approximation).


cdef inline uint64_t idle_time(uint32_t access, uint32_t clock) noexcept nogil:
    """How long ago, in units of the stamps, which wrap. A stamp a little ahead of the clock is no time ago."""
    cdef uint32_t idle = clock - access
    return 0 if idle >= 0xf0000000u else idle


cdef int lru_victim(const Candidate* c, int n, uint32_t clock, int64_t now) noexcept nogil:
    """The index of the candidate to evict, -1 when there is none.

    What is useful to nobody any more goes first. Then the one unused for longest, where the time counts twice for what
    has expired but may still be revalidated or served stale. Among equals the heavier goes, then the first.
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
            elif idle < best_idle or (idle == best_idle and c[i].weight <= c[best].weight):
                continue
        best = i
        best_useless = useless
        best_idle = idle
    return best


def choose_victim(candidates, uint32_t clock, int64_t now):
    """`lru_victim` over a sequence of (access, weight, expires, useful_until); -1 for an empty one."""
    cdef Py_ssize_t n = len(candidates)
    cdef Py_ssize_t i
    cdef Candidate* c
    if n == 0:
        return -1
    if n > 1 << 20:
        raise ValueError("more than 1048576 candidates")
    c = <Candidate*> malloc(n * sizeof(Candidate))
    if c == NULL:
        raise MemoryError()
    try:
        for i in range(n):
            c[i].access, c[i].weight, c[i].expires, c[i].useful_until = candidates[i]
        return lru_victim(c, <int> n, clock, now)
    finally:
        free(c)
