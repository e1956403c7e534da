# Choosing among a few that were met at random in the index. Knows how to find candidates; the choice itself is `_core`'s.

cdef enum:
    PERSEVERANCE = 8        # buckets looked at for each candidate wanted, once there is one
    GLANCE = 4
    MOST_BUCKETS_AT_A_GLANCE = 8


cdef inline uint64_t next_random(Space* s) noexcept nogil:
    s.random ^= s.random << 13
    s.random ^= s.random >> 7
    s.random ^= s.random << 17
    return s.random * 0x2545f4914f6cdd1du


cdef int64_t useful_until(const Record* r) noexcept nogil:
    cdef int64_t until = r.fresh_until
    if r.etag_len or r.last_modified != NO_TIME:
        return INT64_MAX        # the origin can still be asked about it
    if r.swr_until > until:
        until = r.swr_until
    if r.sie_until > until:
        until = r.sie_until
    return until


cdef inline void describe(Space* s, const Record* r, uint32_t access, Candidate* c) noexcept nogil:
    c.access = access
    c.serial = r.place
    c.weight = min(weight_of(r), s.top.evict.heaviest)
    c.expires = r.fresh_until
    c.useful_until = useful_until(r)


cdef int consider(Space* s, uint64_t where, int n) noexcept nogil:
    """Make what a slot points at the n-th candidate; how many there are then.

    What is pinned frees nothing now, and what has a ring of its own is not chosen by sampling.
    """
    cdef Record* r = record_of_slot(s, where)
    if held(s, r):
        return n
    describe(s, r, load32_relaxed(&bucket_at(s, where // SLOTS).access[where % SLOTS]), s.candidates + n)
    if (s.policy == POLICY_S3FIFO_SIZE and (r.place & NO_POSITION) != NO_POSITION
            and s.candidates[n].useful_until > s.now):
        return n
    s.where[n] = where
    return n + 1


cdef int gather(Space* s) noexcept nogil:
    """Candidates from a random place of the index on: `sample` of them, or all there are. 0: nobody can go."""
    cdef uint64_t nbuckets = buckets_now(s)
    cdef Bucket* b
    cdef uint64_t at = fastrange(next_random(s), nbuckets)
    cdef uint64_t seen = 0
    cdef int n
    cdef int kept = 0
    cdef int i
    while kept < <int> s.sample and seen < nbuckets and (kept == 0 or seen < PERSEVERANCE * <uint64_t> s.sample):
        n = kept
        while seen < nbuckets and n < <int> s.sample:
            b = bucket_at(s, at)
            for i in range(SLOTS):
                if b.slot[i]:
                    prefetch(record_at(s, b.slot[i] & GRANULE_MASK))
                    s.where[n] = at * SLOTS + i
                    n += 1
            at += 1
            if at == nbuckets:
                at = 0
            seen += 1
        for i in range(kept, n):
            kept = consider(s, s.where[i], kept)
    return kept


cdef int recall(Space* s, int n) noexcept nogil:
    """Add the runners-up of earlier samples that are still what they were."""
    cdef uint32_t k
    cdef uint64_t where
    cdef int fresh = n
    cdef int i
    for k in range(s.runners):
        where = s.runner_where[k]
        if bucket_at(s, where // SLOTS).slot[where % SLOTS] != s.runner_word[k]:
            continue
        for i in range(fresh):
            if s.where[i] == where:
                break
        else:
            n = consider(s, where, n)
    return n


cdef void drop_candidate(Space* s, int i, int n) noexcept nogil:
    s.candidates[i] = s.candidates[n - 1]
    s.where[i] = s.where[n - 1]


cdef inline int choose(Space* s, int n) noexcept nogil:
    """Which of the first n candidates goes; -1: there is none."""
    if s.policy == POLICY_LRU:
        return lru_victim(s.candidates, n, access_stamp(s.now), s.top.evict.serial, s.now)
    return sized_victim(s.candidates, n, s.top.evict.clock, s.now)


cdef uint64_t evict_sampled(Space* s) noexcept nogil:
    """Evict whom the choice by worth names; how many granules came free. 0: there is nobody.

    Those it would have named next are looked at again next time: that makes a small sample nearly as good as all.
    """
    cdef int n = recall(s, gather(s))
    cdef int i = choose(s, n)
    cdef uint64_t victim
    if i < 0:
        return 0
    victim = s.where[i]
    s.runners = 0
    while n > 1 and s.runners < SIZED_RUNNERS:
        n -= 1
        drop_candidate(s, i, n + 1)
        i = choose(s, n)
        s.runner_where[s.runners] = s.where[i]
        s.runner_word[s.runners] = bucket_at(s, s.where[i] // SLOTS).slot[s.where[i] % SLOTS]
        s.runners += 1
    return evict_at(s, victim)


# -- lru: those of all samples that are unused for longest, in no order; what they were then is known of each --------------

cdef inline bint goes_before(Space* s, const Candidate* a, const Candidate* b) noexcept nogil:
    cdef Candidate both[2]
    both[0], both[1] = a[0], b[0]
    return lru_victim(both, 2, access_stamp(s.now), s.top.evict.serial, s.now) == 0


cdef int last_to_go(Space* s) noexcept nogil:
    """Of the pool."""
    cdef int last = 0
    cdef int i
    for i in range(1, <int> s.runners):
        if goes_before(s, s.pool + last, s.pool + i):
            last = i
    return last


cdef void put_in_pool(Space* s, int i, int at) noexcept nogil:
    s.pool[at] = s.candidates[i]
    s.runner_where[at] = s.where[i]
    s.runner_word[at] = bucket_at(s, s.where[i] // SLOTS).slot[s.where[i] % SLOTS]


cdef void pool_sample(Space* s, int n) noexcept nogil:
    """Keep those of the pool and of the first n candidates that go first."""
    cdef int last = last_to_go(s) if s.runners == POOL else 0
    cdef int i
    cdef int k
    for i in range(n):
        if s.runners == POOL and not goes_before(s, s.candidates + i, s.pool + last):
            continue
        for k in range(<int> s.runners):
            if s.runner_where[k] == s.where[i]:
                break
        else:
            k = <int> s.runners if s.runners < POOL else last
            s.runners += s.runners < POOL
        put_in_pool(s, i, k)
        if s.runners == POOL:
            last = last_to_go(s)


cdef uint64_t evict_oldest(Space* s) noexcept nogil:
    """Evict the one of the pool that goes first, if it is still what it was; how many granules came free. 0: there is nobody."""
    cdef uint64_t where
    cdef Bucket* b
    cdef int i
    pool_sample(s, gather(s))
    while s.runners:
        i = lru_victim(s.pool, <int> s.runners, access_stamp(s.now), s.top.evict.serial, s.now)
        where = s.runner_where[i]
        s.runners -= 1
        b = bucket_at(s, where // SLOTS) if where < buckets_now(s) * SLOTS else NULL
        if (b != NULL and same_slot(b.slot[where % SLOTS], s.runner_word[i])
                and load32_relaxed(&b.access[where % SLOTS]) == s.pool[i].access and not held(s, record_of_slot(s, where))):
            drop_from_pool(s, i)
            return evict_at(s, where)
        drop_from_pool(s, i)        # used since, gone, or held
    return 0


cdef inline bint same_slot(uint64_t word, uint64_t before) noexcept nogil:
    """It points at a record of the same tag, which may have been moved."""
    return word != 0 and (word ^ before) >> TAG_SHIFT == 0


cdef inline void drop_from_pool(Space* s, int i) noexcept nogil:
    """`runners` is one less already."""
    s.pool[i] = s.pool[s.runners]
    s.runner_where[i] = s.runner_where[s.runners]
    s.runner_word[i] = s.runner_word[s.runners]


cdef uint64_t evict_useless(Space* s) noexcept nogil:
    """Evict one that is useful to nobody any more, if a glance at the next few from a random place shows one. Queues
    would keep it until its turn comes."""
    cdef uint64_t where[GLANCE + SLOTS]
    cdef uint64_t at = fastrange(next_random(s), buckets_now(s))
    cdef Record* r
    cdef int buckets
    cdef int n = 0
    cdef int i
    for buckets in range(MOST_BUCKETS_AT_A_GLANCE):
        for i in range(SLOTS):
            if bucket_at(s, at).slot[i]:
                where[n] = at * SLOTS + i
                prefetch(record_of_slot(s, where[n]))
                n += 1
        if n >= GLANCE:
            break
        at += 1
        if at == buckets_now(s):
            at = 0
    for i in range(n):
        r = record_of_slot(s, where[i])
        if r.fresh_until <= s.now and useful_until(r) <= s.now and not held(s, r):
            return evict_at(s, where[i])
    return 0
