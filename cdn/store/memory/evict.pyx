# Who leaves the index, and who comes into it. Uses the choice of `_core` and must not know keys or HTTP.


cdef inline uint64_t next_random(Space* s) noexcept nogil:
    s.random ^= s.random << 13
    s.random ^= s.random >> 7
    s.random ^= s.random << 17
    return s.random * 0x2545f4914f6cdd1du


cdef void describe(Space* s, const Record* r, uint32_t access, Candidate* c) noexcept nogil:
    cdef int64_t until = r.fresh_until
    if r.swr_until > until:
        until = r.swr_until
    if r.sie_until > until:
        until = r.sie_until
    if r.etag_len or r.last_modified != INT64_MIN:
        until = INT64_MAX       # the origin can still be asked about it
    c.access = access
    c.weight = <uint64_t> r.run * GRANULE + r.body * BLOCK_BYTES
    c.expires = r.fresh_until
    c.useful_until = until


cdef inline Record* record_of_slot(Space* s, uint64_t where) noexcept nogil:
    return record_at(s, s.index[where // SLOTS].slot[where % SLOTS] & GRANULE_MASK)


cdef int consider(Space* s, uint64_t where, int n) noexcept nogil:
    """Make what a slot points at the n-th candidate; how many there are then. What is pinned frees nothing now."""
    cdef Record* r = record_of_slot(s, where)
    if cdn_load32(&r.pins) != 0:
        return n
    describe(s, r, cdn_load32(&s.index[where // SLOTS].access[where % SLOTS]), s.candidates + n)
    s.where[n] = where
    return n + 1


cdef int gather(Space* s) noexcept nogil:
    """Candidates from a random place of the index on: `sample` of them, or all there are. 0: nobody can go."""
    cdef uint64_t nbuckets = s.top.nbuckets
    cdef uint64_t at = cdn_spread(next_random(s), nbuckets)
    cdef uint64_t seen = 0
    cdef int n
    cdef int kept = 0
    cdef int i
    while kept == 0 and seen < nbuckets:
        n = 0
        while seen < nbuckets and n < <int> s.sample:
            for i in range(SLOTS):
                if s.index[at].slot[i]:
                    cdn_prefetch(record_at(s, s.index[at].slot[i] & GRANULE_MASK))
                    s.where[n] = at * SLOTS + i
                    n += 1
            at += 1
            if at == nbuckets:
                at = 0
            seen += 1
        for i in range(n):
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
        if s.index[where // SLOTS].slot[where % SLOTS] != s.runner_word[k]:
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


cdef uint64_t evict_at(Space* s, uint64_t where) noexcept nogil:
    cdef Bucket* b = s.index + where // SLOTS
    cdef int i = <int> (where % SLOTS)
    cdef Record* r = record_at(s, b.slot[i] & GRANULE_MASK)
    s.top.evictions += 1
    if r.fresh_until <= s.now:
        s.top.expired_evictions += 1
    clear_slot(s, b, i)
    return retire(s, r)


cdef uint64_t evict_one(Space* s) noexcept nogil:
    """Evict whom the policy names; how many granules came free. 0: there is nobody.

    Those it would have named next are looked at again next time: that makes a small sample nearly as good as all.
    """
    cdef int n = recall(s, gather(s))
    cdef uint32_t clock = access_stamp(s.now)
    cdef int i = lru_victim(s.candidates, n, clock, s.now)
    cdef uint64_t victim
    if i < 0:
        return 0
    victim = s.where[i]
    s.runners = 0
    while n > 1 and s.runners < RUNNERS:
        n -= 1
        drop_candidate(s, i, n + 1)
        i = lru_victim(s.candidates, n, clock, s.now)
        s.runner_where[s.runners] = s.where[i]
        s.runner_word[s.runners] = s.index[s.where[i] // SLOTS].slot[s.where[i] % SLOTS]
        s.runners += 1
    return evict_at(s, victim)


cdef int displace(Space* s, Bucket* b) noexcept nogil:
    """Empty a slot of a full bucket by pointing at its record from the other bucket of that key; -1: no room there."""
    cdef Bucket* other
    cdef Record* r
    cdef int i
    cdef int j
    for i in range(SLOTS):
        r = record_at(s, b.slot[i] & GRANULE_MASK)
        other = first_bucket(s, r.hash0)
        if other == b:
            other = second_bucket(s, r.hash0)
        for j in range(SLOTS):
            if other.slot[j] == 0:
                point(s, other, j, r, cdn_load32(&b.access[i]))
                clear_slot(s, b, i)
                return i
    return -1


cdef int make_slot(Space* s, const Record* r, Bucket** bucket) noexcept nogil:
    """A slot for r's key: an empty one, one whose record has room elsewhere, or that of the victim among all in its
    buckets."""
    cdef int at = empty_slot(s, r, bucket)
    cdef Bucket* b
    cdef int i
    cdef int turn
    cdef int n = 0
    if at >= 0:
        return at
    for turn in range(2):
        bucket[0] = first_bucket(s, r.hash0) if turn == 0 else second_bucket(s, r.hash0)
        at = displace(s, bucket[0])
        if at >= 0:
            return at
    b = first_bucket(s, r.hash0)
    for turn in range(2):
        for i in range(SLOTS):
            describe(s, record_at(s, b.slot[i] & GRANULE_MASK), cdn_load32(&b.access[i]), s.candidates + n)
            s.where[n] = <uint64_t> (b - s.index) * SLOTS + i
            n += 1
        if second_bucket(s, r.hash0) == b:
            break
        b = second_bucket(s, r.hash0)
    i = lru_victim(s.candidates, n, access_stamp(s.now), s.now)
    bucket[0] = s.index + s.where[i] // SLOTS
    at = <int> (s.where[i] % SLOTS)
    evict_at(s, s.where[i])
    return at


cdef void publish_record(Space* s, Record* r) noexcept nogil:
    """Make a filled record visible under its key; what was there before leaves. r comes out unpinned."""
    cdef Record* old = index_find(s, r.hash0, record_key(r), r.key_len)
    cdef Bucket* b
    cdef int i
    if old != NULL:
        i = slot_of(s, old, &b)
    else:
        i = make_slot(s, r, &b)
    cdn_store32(&r.pins, 0)
    point(s, b, i, r, access_stamp(s.now))
    s.top.objects += 1
    s.top.object_bytes += payload(r)
    if old != NULL:
        retire(s, old)


cdef void withdraw(Space* s, Record* r) noexcept nogil:
    """Take a published record out of the index."""
    cdef Bucket* b
    cdef int i = slot_of(s, r, &b)
    if i >= 0:
        clear_slot(s, b, i)
        retire(s, r)
