# Keys whose last answer could not be stored, remembered for all workers for a while: nobody waits for the next one.
#
# A hint and no more: hashes stand for keys, what is full forgets, and a torn entry is a wrong hint at worst. No lock.


cdef Remembered* remembered_set(Space* s, uint64_t hash) noexcept nogil:
    return (<Remembered*> (s.base + s.top.uncacheable)
            + fastrange(hash, s.top.nremembered // REMEMBERED_WAYS) * REMEMBERED_WAYS)


cdef int64_t remembered(Space* s, const uint64_t* h) noexcept nogil:
    cdef Remembered* set = remembered_set(s, h[0])
    cdef int i
    for i in range(REMEMBERED_WAYS):
        if load64_acquire(&set[i].tag) == h[1]:
            return <int64_t> load64_acquire(<uint64_t*> &set[i].word)
    return INT64_MIN


cdef void remember(Space* s, const uint64_t* h, int64_t word) noexcept nogil:
    """In the place of the same key, or of what is forgotten soonest."""
    cdef Remembered* set = remembered_set(s, h[0])
    cdef int best = 0
    cdef int i
    for i in range(REMEMBERED_WAYS):
        if load64_acquire(&set[i].tag) == h[1]:
            best = i
            break
        if <int64_t> load64_acquire(<uint64_t*> &set[i].word) < <int64_t> load64_acquire(<uint64_t*> &set[best].word):
            best = i
    store64_release(&set[best].tag, h[1])
    store64_release(<uint64_t*> &set[best].word, <uint64_t> word)
