# Who leaves the index, and who comes into it. Must not know keys, HTTP, or which policy is in force.


cdef uint64_t evict_at(Space* s, uint64_t where) noexcept nogil:
    cdef Bucket* b = bucket_at(s, where // SLOTS)
    cdef int i = <int> (where % SLOTS)
    cdef Record* r = record_at(s, b.slot[i] & GRANULE_MASK)
    cdn_step(STEP_EVICTING)
    s.top.evictions += 1
    if r.fresh_until <= s.now:
        s.top.expired_evictions += 1
    wind(s, r)
    clear_slot(s, b, i)
    return retire(s, r)


cdef inline Bucket* other_bucket(Space* s, const Record* r, const Bucket* b) noexcept nogil:
    """Of the two in which r's key may lie, the one beside b, if they are two."""
    cdef Bucket* first = first_bucket(s, r.hash0)
    return first if first != b else second_bucket(s, r.hash0)


cdef enum:
    CROWDED_OF_16 = 15      # of 16 slots taken: so few are free that each record would have many others looked at
    DEPTH = 1       # beyond the two buckets of those beside it: with the index as full as it may be one in millions finds no room


cdef int displace(Space* s, Bucket* b) noexcept nogil:
    """Empty a slot of a full bucket by pointing at its record from the other bucket of that key; -1: no room there."""
    cdef Bucket* other
    cdef Record* r
    cdef int i
    cdef int j
    for i in range(SLOTS):
        if b.slot[i] == 0:
            return i
        r = record_at(s, b.slot[i] & GRANULE_MASK)
        other = other_bucket(s, r, b)
        for j in range(SLOTS):
            if other.slot[j] == 0:
                point(s, other, j, r, load32_relaxed(&b.access[i]))
                change_slot(s, r, bucket_number(s, r, other) * SLOTS + j)
                add32_seq_cst(&b.version, 1)        # before it is gone: who looked there before it came looks again
                clear_slot(s, b, i)
                return i
    return -1


cdef int displace_further(Space* s, Bucket* b, int depth) noexcept nogil:
    """The same where all those other buckets are full: one of them is made to have room first, in the same way."""
    cdef Bucket* other
    cdef Record* r
    cdef int i
    for i in range(SLOTS):
        r = record_at(s, b.slot[i] & GRANULE_MASK)
        other = other_bucket(s, r, b)
        if other != b and (displace(s, other) >= 0 or (depth > 0 and displace_further(s, other, depth - 1) >= 0)):
            return displace(s, b)
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
    for turn in range(2):
        bucket[0] = first_bucket(s, r.hash0) if turn == 0 else second_bucket(s, r.hash0)
        at = displace_further(s, bucket[0], DEPTH)
        if at >= 0:
            return at
    b = first_bucket(s, r.hash0)
    for turn in range(2):
        for i in range(SLOTS):
            describe(s, record_at(s, b.slot[i] & GRANULE_MASK), load32_relaxed(&b.access[i]), s.candidates + n)
            s.where[n] = bucket_number(s, r, b) * SLOTS + i
            n += 1
        if second_bucket(s, r.hash0) == b:
            break
        b = second_bucket(s, r.hash0)
    i = choose(s, n)
    bucket[0] = bucket_at(s, s.where[i] // SLOTS)
    at = <int> (s.where[i] % SLOTS)
    evict_at(s, s.where[i])
    return at


cdef void publish_record(Space* s, Record* r) noexcept nogil:
    """Make a filled record visible under its key; what was there before leaves. r comes out unpinned."""
    cdef Record* old
    cdef Bucket* b
    cdef uint32_t word
    cdef int i
    grow_for_one(s)
    old = index_find(s, r.hash0, record_key(r), r.key_len)
    if old != NULL:
        i = slot_of(s, old, &b)
        succeed(s, r, old)
        word = used(s, load32_relaxed(&b.access[i]), s.now)     # to fetch it again was to use it
    else:
        if s.top.objects * 16 >= buckets_now(s) * SLOTS * CROWDED_OF_16:
            evict_one(s)        # it cannot grow: the policy says who goes, before it takes long to find a slot
        i = make_slot(s, r, &b)
        word = arrive(s, r, bucket_number(s, r, b) * SLOTS + i)
    and32_seq_cst(&r.pins, ~<uint32_t> PIN_FILLING)
    cdn_step(STEP_SLOT_MADE)
    point(s, b, i, r, word)
    cdn_step(STEP_POINTED)
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
