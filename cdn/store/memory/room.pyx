# Making room: who goes, what is moved together. Uses the choice of `_core` and must not know keys or HTTP.


# -- records: geometry and end ----------------------------------------------------------------------------------------

cdef inline uint64_t lead(uint64_t key_len, uint64_t head_len, uint64_t meta_len, uint64_t nblocks) noexcept nogil:
    """Bytes of a run before the body that lies in it."""
    cdef uint64_t n = sizeof(Record) + key_len + head_len + meta_len
    return n if nblocks == 0 else rounded(n, 4) + 4 * nblocks


cdef inline uint32_t* record_blocks(const Record* r) noexcept nogil:
    return <uint32_t*> (<char*> r + rounded(lead(r.key_len, r.head_len, r.meta_len, 0), 4))


cdef inline char* record_body(const Record* r) noexcept nogil:
    """The body, or what of it does not lie in whole pages."""
    return <char*> r + lead(r.key_len, r.head_len, r.meta_len, r.body)


cdef bint plan(uint64_t key_len, uint64_t head_len, uint64_t meta_len, uint64_t body,
               uint64_t* nblocks, uint64_t* run_bytes) noexcept nogil:
    """How a body of that length is laid: blocks, and bytes of the run. False: it fits no run."""
    nblocks[0] = 0
    run_bytes[0] = lead(key_len, head_len, meta_len, 0) + body
    if run_bytes[0] <= RUN_BYTES:
        return True
    nblocks[0] = body // BLOCK_BYTES
    run_bytes[0] = lead(key_len, head_len, meta_len, nblocks[0]) + body % BLOCK_BYTES
    if run_bytes[0] <= PAGE_BYTES:
        return True
    nblocks[0] = (body + BLOCK_BYTES - 1) // BLOCK_BYTES
    run_bytes[0] = lead(key_len, head_len, meta_len, nblocks[0])
    return run_bytes[0] <= PAGE_BYTES


cdef inline int granules(uint64_t n) noexcept nogil:
    return <int> ((n + GRANULE - 1) // GRANULE)


cdef uint64_t free_record(Space* s, Record* r) noexcept nogil:
    """Give back a record that no slot points at and nobody holds; how many granules that freed."""
    cdef uint64_t freed = r.run
    cdef uint32_t* list = record_blocks(r)
    cdef uint16_t* refs
    cdef uint64_t i
    if r.body:
        refs = block_refs(s, list[0])
        refs[0] -= 1
        if refs[0] == 0:
            for i in range(r.body):
                give_block(s, list[i])
            freed += r.body * BLOCK_GRANULES
    give_granules(s, r, r.run)
    return freed


cdef uint64_t retire(Space* s, Record* r) noexcept nogil:
    """r has left the index; its memory goes now, or with its last pin."""
    s.top.objects -= 1
    s.top.object_bytes -= payload(r)
    if cdn_load32(&r.pins) == 0:
        return free_record(s, r)
    cdn_or32(&r.pins, PIN_RETIRED)
    return 0


cdef inline void pin_record(Record* r) noexcept nogil:
    cdn_add32(&r.pins, 1)


cdef void unpin_record(Space* s, Record* r) noexcept nogil:
    if cdn_add32(&r.pins, <uint32_t> -1) == PIN_RETIRED:
        free_record(s, r)


# -- eviction ---------------------------------------------------------------------------------------------------------

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


cdef enum:
    PATIENCE = 3        # attempts to bring pieces together before anything is evicted for where it lies


# -- moving together --------------------------------------------------------------------------------------------------

cdef bint movable(Space* s, uint64_t page) noexcept nogil:
    """Nobody holds a record of this page, and no fill writes to it."""
    cdef const uint64_t* bits = page_bitmap(s, page)
    cdef int pos = next_bit(bits, 0, 0)
    cdef Record* r
    while pos < PAGE_GRANULES:
        r = <Record*> (page_bytes(s, page) + pos * GRANULE)
        if cdn_load32(&r.pins) != 0:
            return False
        pos = next_bit(bits, pos + r.run, 0)
    return True


cdef int sample_pages(Space* s, int least, uint64_t* found, int most) noexcept nogil:
    """Pages of runs from a random place on, with at least so many free granules; how many."""
    cdef uint64_t npages = s.top.npages
    cdef uint64_t at = cdn_spread(next_random(s), npages)
    cdef uint64_t seen
    cdef int n = 0
    for seen in range(npages):
        if s.table[at].kind == PAGE_RUNS and s.table[at].free >= least:
            found[n] = at
            n += 1
            if n == most:
                break
        at += 1
        if at == npages:
            at = 0
    return n


cdef int64_t emptiest(Space* s, int least) noexcept nogil:
    """Of a sample of pages, the one with most free granules (and at least so many) that can be moved; -1: none."""
    cdef uint64_t found[32]
    cdef int n = sample_pages(s, least, found, 32)
    cdef int i
    cdef int best
    while n > 0:
        best = 0
        for i in range(1, n):
            if s.table[found[i]].free > s.table[found[best]].free:
                best = i
        if movable(s, found[best]):
            return <int64_t> found[best]
        n -= 1
        found[best] = found[n]
    return -1


cdef double worth(Space* s, uint64_t page) noexcept nogil:
    """How many of its records are likely to be used soon: each by how short ago it was."""
    cdef const uint64_t* bits = page_bitmap(s, page)
    cdef int pos = next_bit(bits, 0, 0)
    cdef uint32_t clock = access_stamp(s.now)
    cdef double sum = 0
    cdef Bucket* b
    cdef Record* r
    cdef int i
    while pos < PAGE_GRANULES:
        r = <Record*> (page_bytes(s, page) + pos * GRANULE)
        i = slot_of(s, r, &b)
        sum += 1.0 / (1.0 + <double> (clock - cdn_load32(&b.access[i])))
        pos = next_bit(bits, pos + r.run, 0)
    return sum


cdef int64_t least_worth(Space* s) noexcept nogil:
    cdef uint64_t found[8]
    cdef int n = sample_pages(s, 0, found, 8)
    cdef int64_t best = -1
    cdef double least = 0
    cdef double here
    cdef int i
    for i in range(n):
        if movable(s, found[i]):
            here = worth(s, found[i])
            if best < 0 or here < least:
                best = <int64_t> found[i]
                least = here
    return best


cdef void move_record(Space* s, Record* r, Record* to) noexcept nogil:
    """Copy, then turn the slot over. The old run is the caller's to free."""
    cdef Bucket* b
    cdef int i = slot_of(s, r, &b)
    cdef uint32_t access = cdn_load32(&b.access[i])
    memcpy(to, r, <size_t> r.run * GRANULE)
    point(s, b, i, to, access)
    s.top.moved += 1


cdef bint compact(Space* s, int n) noexcept nogil:
    """Copy the records of one page together into the reserve, so that a run of n granules comes free."""
    cdef int64_t page = emptiest(s, n)
    cdef uint64_t to = s.top.reserve
    cdef const uint64_t* bits
    cdef Record* r
    cdef int pos
    cdef int at = 0
    if page < 0:
        return False
    bits = page_bitmap(s, page)
    pos = next_bit(bits, 0, 0)
    while pos < PAGE_GRANULES:
        r = <Record*> (page_bytes(s, page) + pos * GRANULE)
        move_record(s, r, <Record*> (page_bytes(s, to) + at * GRANULE))
        at += r.run
        pos = next_bit(bits, pos + r.run, 0)
    memset(page_bitmap(s, to), 0, PAGE_WORDS * sizeof(uint64_t))
    flip_bits(page_bitmap(s, to), 0, at)
    s.table[to].kind = PAGE_RUNS
    s.table[to].free = PAGE_GRANULES - at
    tree_set(s, RUNS, to, PAGE_GRANULES - at)
    memset(page_bitmap(s, page), 0, PAGE_WORDS * sizeof(uint64_t))
    s.table[page].kind = PAGE_RESERVE
    s.table[page].free = 0
    tree_set(s, RUNS, page, 0)
    s.top.reserve = page
    return True


cdef bint clear_page(Space* s, int n, bint evict) noexcept nogil:
    """Move the records of one page to where they fit until it has a free run of n granules (all: a free page).

    What fits nowhere is evicted, or ends it. True: there is such a run.
    """
    cdef int64_t page = least_worth(s) if evict else emptiest(s, 0)
    cdef uint64_t* bits
    cdef Bucket* b
    cdef Record* r
    cdef Record* to
    cdef int pos
    cdef int size
    cdef int i
    cdef int compactions = 0
    if page < 0:
        return False
    bits = page_bitmap(s, page)
    s.table[page].kind = PAGE_CLEARING
    tree_set(s, RUNS, page, 0)
    pos = next_bit(bits, 0, 0)
    while pos < PAGE_GRANULES and longest_run(bits) < n:
        r = <Record*> (page_bytes(s, page) + pos * GRANULE)
        size = r.run
        to = take_run(s, size)
        if to == NULL and compactions < 2:
            compactions += 1
            if compact(s, size):
                to = take_run(s, size)
        if to != NULL:
            move_record(s, r, to)
            give_granules(s, r, size)
        elif evict:
            i = slot_of(s, r, &b)
            evict_at(s, <uint64_t> (b - s.index) * SLOTS + i)
        else:
            break
        if s.table[page].kind == PAGE_CLEARING:
            tree_set(s, RUNS, page, 0)
        pos = next_bit(bits, pos + size, 0)
    if s.table[page].kind == PAGE_FREE:
        return True
    s.table[page].kind = PAGE_RUNS
    tree_set(s, RUNS, page, longest_run(bits))
    return longest_run(bits) >= n


cdef struct Hunt:
    uint64_t freed      # granules since the last attempt to bring pieces together
    int attempts


cdef bint make_room(Space* s, int n, int together, Hunt* h) noexcept nogil:
    """One step towards n free granules of which so many lie together; False when nothing is left to do.

    Victims of the policy first. Where they gave enough, but in pieces, the pieces are brought together; only where
    that fails again and again are records evicted for lying in the way.
    """
    cdef uint64_t more
    if h.freed >= <uint64_t> (n + n // 4):
        h.freed = 0
        h.attempts += 1
        if together < PAGE_GRANULES and compact(s, together):
            return True
        if clear_page(s, together, h.attempts > PATIENCE):
            return True
    more = evict_one(s)
    if more:
        h.freed += more
        return True
    return (together < PAGE_GRANULES and compact(s, together)) or clear_page(s, together, True)


cdef Record* make_run(Space* s, int n) noexcept nogil:
    cdef Hunt h
    cdef Record* r = take_run(s, n)
    memset(&h, 0, sizeof(h))
    while r == NULL:
        if not make_room(s, n, n, &h):
            return NULL
        r = take_run(s, n)
    return r


cdef int64_t make_block(Space* s, int64_t after, uint64_t more) noexcept nogil:
    """A block for a body of which `more` blocks are still to come; -1: no room can be made."""
    cdef Hunt h
    cdef int64_t block = take_block(s, after, more)
    memset(&h, 0, sizeof(h))
    while block < 0:
        if not make_room(s, BLOCK_GRANULES, PAGE_GRANULES, &h):
            return -1
        block = take_block(s, after, more)
    return block


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


cdef int64_t body_pieces(Space* s, const Record* r, uint64_t offset, uint64_t length, iovec* iov,
                         int most, int* count) noexcept nogil:
    """Where body bytes [offset, offset + length) lie, in at most so many pieces; how many bytes those hold."""
    cdef uint32_t* list
    cdef uint64_t whole = r.body * BLOCK_BYTES
    cdef uint64_t here
    cdef uint64_t done = 0
    cdef char* p
    cdef int n = 0
    if offset >= r.body_length:
        length = 0
    elif length > r.body_length - offset:
        length = r.body_length - offset
    while done < length:
        if offset < whole:
            list = record_blocks(r)
            p = block_bytes(s, list[offset // BLOCK_BYTES]) + offset % BLOCK_BYTES
            here = BLOCK_BYTES - offset % BLOCK_BYTES
        else:
            p = record_body(r) + (offset - whole)
            here = length - done
        if here > length - done:
            here = length - done
        if n and <char*> iov[n - 1].iov_base + iov[n - 1].iov_len == p:
            iov[n - 1].iov_len += here
        elif n < most:
            iov[n].iov_base = p
            iov[n].iov_len = here
            n += 1
        else:
            break
        offset += here
        done += here
    count[0] = n
    return <int64_t> done
