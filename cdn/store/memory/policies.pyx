# The policies: who goes next when room is needed. Each is one function of queues, access words and times; none knows
# pages, HTTP, or who asks for room.
#
#   lru           the one unused for longest among a sample and the 64 oldest of all samples before
#   sieve         one queue; a hand walks from the oldest to the newest, clears the mark of whom it passes and evicts the
#                 first without one. The queue is two rings: what the hand has passed, and what lies before it with all that
#                 is new behind (Zhang et al., NSDI 2024)
#   s3fifo        a small queue for what is new, a main queue of nine tenths of the room for what was used while in it, ghosts for
#                 what was not: one-hit wonders pass through the small one only. What is larger than the small queue is
#                 let in all the same (Yang et al., SOSP 2023; there such objects are refused)
#   s3fifo-size   the same, but of the main queue the one of a sample goes that is worth least (`sized_victim`)
#
# For all but lru an access word is clock << USES_BITS | uses. A hit is one store to that word, whatever the policy.

cdef enum:
    SMALL = 0
    MAIN = 1
    SMALL_PART = 10         # as long as the main queue has room beside this part, nothing of it goes
    HEAVIEST = 6            # times the mean weight
    MOST_USES = 3           # that the main queue of s3fifo counts: so many rounds it stays at most

POLICIES = ("lru", "sieve", "s3fifo", "s3fifo-size")     # by their numbers in the layout


cdef int policy_number(str name) except -1:
    if name not in POLICIES:
        raise ValueError(f"no eviction policy is called {name!r}; there are {', '.join(POLICIES)}")
    return POLICIES.index(name)


cdef inline uint32_t used(Space* s, uint32_t word, int64_t now) noexcept nogil:
    """The access word behind one more use."""
    if s.policy == POLICY_LRU:
        return access_stamp(now)
    word &= USES_MASK
    if word < USES_MASK:
        word += 1
    return load32_relaxed(&s.top.evict.clock) << USES_BITS | word


cdef inline double promise(Space* s, uint32_t word) noexcept nogil:
    """How likely a use is soon, from 0 to 1; to be compared under one policy only."""
    if s.policy == POLICY_LRU:
        return 1.0 / (1.0 + <double> <uint32_t> (access_stamp(s.now) - word))
    return (1.0 + (word & USES_MASK)) / (1.0 + USES_MASK)


cdef void weigh(Space* s) noexcept nogil:
    """Somebody has come. What weighs more than a few times the mean counts as that heavy from now on, lest thousands of small ones
    be kept in the place of one very large one that saves more bytes than they do."""
    cdef Queue* q = s.top.evict.queue
    s.top.evict.heaviest = HEAVIEST * (q[0].bytes + q[1].bytes) // (q[0].live + q[1].live)


cdef void wind(Space* s, const Record* r) noexcept nogil:
    """r is evicted, and the clock goes on by that."""
    cdef Eviction* e = &s.top.evict
    e.went += weight_of(r)
    store32_relaxed(&e.clock, <uint32_t> (e.went // (s.top.npages * <uint64_t> (PAGE_BYTES // CLOCK_UNITS))) & CLOCK_MASK)


cdef uint32_t arrive(Space* s, Record* r, uint64_t where) noexcept nogil:
    """r comes into the index under a key that is not there, in slot `where`, which need not point at it yet; its first
    access word."""
    if s.policy == POLICY_LRU:
        s.top.evict.serial += 1
        r.place = s.top.evict.serial
        return access_stamp(s.now)
    if s.policy == POLICY_SIEVE:
        enqueue(s, <int> s.top.evict.hand, r, where)
    else:
        enqueue(s, MAIN if take_ghost(s, r.hash0) else SMALL, r, where)
    weigh(s)
    return s.top.evict.clock << USES_BITS


cdef void succeed(Space* s, Record* r, Record* old) noexcept nogil:
    """r comes into the index in the place of old."""
    if s.policy == POLICY_LRU:
        s.top.evict.serial += 1
        r.place = s.top.evict.serial
    else:
        take_place(s, r, old)
        weigh(s)


cdef inline int uses_of(Space* s, uint64_t where, const Record* r) noexcept nogil:
    """How often it was used, as far as that speaks for it: half as much once it has expired, not at all once it is
    useful to nobody."""
    cdef int uses = load32_relaxed(&bucket_at(s, where // SLOTS).access[where % SLOTS]) & USES_MASK
    if uses and r.fresh_until <= s.now:
        return uses // 2 if useful_until(r) > s.now else 0
    return uses


cdef inline void set_uses(Space* s, uint64_t where, int uses) noexcept nogil:
    cdef uint32_t* word = &bucket_at(s, where // SLOTS).access[where % SLOTS]
    store32_relaxed(word, (load32_relaxed(word) & ~<uint32_t> USES_MASK) | <uint32_t> uses)


cdef inline void requeue(Space* s, int which, Record* r, uint64_t where) noexcept nogil:
    leave_queue(s, r)
    enqueue(s, which, r, where)


cdef uint64_t evict_sieve(Space* s) noexcept nogil:
    cdef Queue* q = s.top.evict.queue
    cdef uint64_t steps = 2 * (q[0].live + q[1].live) + 2
    cdef int64_t at
    cdef Record* r
    while steps:
        steps -= 1
        at = oldest(s, <int> s.top.evict.hand)
        if at == NOBODY:
            s.top.evict.hand ^= 1       # from the newest back to the oldest
            continue
        r = record_of_slot(s, at)
        if held(s, r):
            requeue(s, <int> s.top.evict.hand ^ 1, r, at)
        elif uses_of(s, at, r):
            set_uses(s, at, 0)
            requeue(s, <int> s.top.evict.hand ^ 1, r, at)
        else:
            return evict_at(s, at)
    return 0


cdef uint64_t pass_small(Space* s) noexcept nogil:
    """The oldest of the small queue goes, or moves up: how many granules came free."""
    cdef uint64_t at = <uint64_t> oldest(s, SMALL)
    cdef Record* r = record_of_slot(s, at)
    if held(s, r):
        requeue(s, MAIN, r, at)         # in use
        return 0
    if uses_of(s, at, r):
        if s.policy == POLICY_S3FIFO:
            set_uses(s, at, 0)
        requeue(s, MAIN, r, at)
        return 0
    add_ghost(s, r.hash0, weight_of(r))
    return evict_at(s, at)


cdef uint64_t pass_main(Space* s) noexcept nogil:
    cdef uint64_t at = <uint64_t> oldest(s, MAIN)
    cdef Record* r = record_of_slot(s, at)
    cdef int uses = uses_of(s, at, r)
    if uses == 0 and not held(s, r):
        return evict_at(s, at)
    if uses:
        set_uses(s, at, min(uses, MOST_USES) - 1)
    requeue(s, MAIN, r, at)
    return 0


cdef uint64_t evict_s3fifo(Space* s) noexcept nogil:
    cdef Queue* q = s.top.evict.queue
    cdef uint64_t steps = q[SMALL].live + (MOST_USES + 1) * (q[SMALL].live + q[MAIN].live) + 1
    cdef uint64_t most = s.top.npages * <uint64_t> (PAGE_BYTES - PAGE_BYTES // SMALL_PART)
    cdef uint64_t freed
    while steps:
        steps -= 1
        if q[SMALL].live and (q[MAIN].live == 0 or q[MAIN].bytes < most):
            freed = pass_small(s)
        elif q[MAIN].live == 0:
            return 0
        elif s.policy == POLICY_S3FIFO:
            freed = pass_main(s)
        else:
            freed = evict_sampled(s)
            if freed == 0:
                if q[SMALL].live == 0:
                    return 0
                freed = pass_small(s)       # all of the main queue is pinned
        if freed:
            return freed
    return 0


cdef uint64_t evict_one(Space* s) noexcept nogil:
    """Evict whom the policy names; how many granules came free. 0: there is nobody."""
    cdef uint64_t freed
    if s.policy == POLICY_LRU:
        return evict_oldest(s)
    freed = evict_useless(s)
    if freed:
        return freed
    return evict_sieve(s) if s.policy == POLICY_SIEVE else evict_s3fifo(s)
