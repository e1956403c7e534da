# Making room: who goes, what is moved together. Uses the choice of `_core` and must not know keys or HTTP.


# -- records: geometry and end ----------------------------------------------------------------------------------------

cdef inline uint64_t lead(uint64_t key_len, uint64_t head_len, uint64_t meta_len, uint64_t npages) noexcept nogil:
    """Bytes of a run before the body that lies in it."""
    cdef uint64_t n = sizeof(Record) + key_len + head_len + meta_len
    return n if npages == 0 else rounded(n, 4) + 4 * npages


cdef inline uint32_t* record_pages(const Record* r) noexcept nogil:
    return <uint32_t*> (<char*> r + rounded(lead(r.key_len, r.head_len, r.meta_len, 0), 4))


cdef inline char* record_body(const Record* r) noexcept nogil:
    """The body, or what of it does not lie in whole pages."""
    return <char*> r + lead(r.key_len, r.head_len, r.meta_len, r.body)


cdef bint plan(uint64_t key_len, uint64_t head_len, uint64_t meta_len, uint64_t body,
               uint64_t* npages, uint64_t* run_bytes) noexcept nogil:
    """How a body of that length is laid: whole pages, and bytes of the run. False: it does not fit any run."""
    npages[0] = 0
    run_bytes[0] = lead(key_len, head_len, meta_len, 0) + body
    if run_bytes[0] <= PAGE_BYTES:
        return True
    npages[0] = body // PAGE_BYTES
    run_bytes[0] = lead(key_len, head_len, meta_len, npages[0]) + body % PAGE_BYTES
    if npages[0] and run_bytes[0] <= PAGE_BYTES:
        return True
    npages[0] = (body + PAGE_BYTES - 1) // PAGE_BYTES
    run_bytes[0] = lead(key_len, head_len, meta_len, npages[0])
    return run_bytes[0] <= PAGE_BYTES


cdef inline int granules(uint64_t n) noexcept nogil:
    return <int> ((n + GRANULE - 1) // GRANULE)


cdef uint64_t free_record(Space* s, Record* r) noexcept nogil:
    """Give back a record that no slot points at and nobody holds; how many granules that freed."""
    cdef uint64_t freed = r.run
    cdef uint32_t* list
    cdef uint64_t i
    if r.body:
        list = record_pages(r)
        s.table[list[0]].refs -= 1
        if s.table[list[0]].refs == 0:
            for i in range(r.body):
                give_page(s, list[i])
            freed += r.body * PAGE_GRANULES
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
    c.weight = <uint64_t> r.run * GRANULE + r.body * PAGE_BYTES
    c.expires = r.fresh_until
    c.useful_until = until


cdef int gather(Space* s) noexcept nogil:
    """Candidates from a random place of the index on: `sample` of them, or all there are. Pinned ones are no use."""
    cdef uint64_t nbuckets = s.top.nbuckets
    cdef uint64_t at = cdn_spread(next_random(s), nbuckets)
    cdef uint64_t seen = 0
    cdef uint64_t word
    cdef Record* r
    cdef int n
    cdef int kept = 0
    cdef int i
    while kept == 0 and seen < nbuckets:
        n = 0
        while seen < nbuckets and n < <int> s.sample:
            for i in range(SLOTS):
                word = s.index[at].slot[i]
                if word:
                    cdn_prefetch(record_at(s, word & GRANULE_MASK))
                    s.where[n] = at * SLOTS + i
                    n += 1
            at += 1
            if at == nbuckets:
                at = 0
            seen += 1
        for i in range(n):
            word = s.where[i]
            r = record_at(s, s.index[word // SLOTS].slot[word % SLOTS] & GRANULE_MASK)
            if cdn_load32(&r.pins) == 0:
                describe(s, r, cdn_load32(&s.index[word // SLOTS].access[word % SLOTS]), s.candidates + kept)
                s.where[kept] = word
                kept += 1
    return kept


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
    """Evict whom the policy names; how many granules came free. 0: there is nobody."""
    cdef int chosen = lru_victim(s.candidates, gather(s), access_stamp(s.now), s.now)
    return 0 if chosen < 0 else evict_at(s, s.where[chosen])


cdef int make_slot(Space* s, const Record* r, Bucket** bucket) noexcept nogil:
    """A slot for r's key: an empty one, or that of the victim among all that lie in its buckets."""
    cdef int at = empty_slot(s, r, bucket)
    cdef Bucket* b
    cdef int i
    cdef int turn
    cdef int n = 0
    if at >= 0:
        return at
    b = first_bucket(s, r.hash0)
    for turn in range(2):
        for i in range(SLOTS):
            describe(s, record_at(s, b.slot[i] & GRANULE_MASK), cdn_load32(&b.access[i]), s.candidates + n)
            s.where[n] = <uint64_t> (b - s.index) * SLOTS + i
            n += 1
        if second_bucket(s, r.hash1) == b:
            break
        b = second_bucket(s, r.hash1)
    i = lru_victim(s.candidates, n, access_stamp(s.now), s.now)
    bucket[0] = s.index + s.where[i] // SLOTS
    at = <int> (s.where[i] % SLOTS)
    evict_at(s, s.where[i])
    return at


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


cdef int64_t emptiest(Space* s, int least) noexcept nogil:
    """Of up to 32 pages of runs from a random place on, the one with most free granules (and at least so many) that
    can be moved; -1 when there is none."""
    cdef uint64_t npages = s.top.npages
    cdef uint64_t at = cdn_spread(next_random(s), npages)
    cdef uint64_t found[32]
    cdef uint64_t seen = 0
    cdef int n = 0
    cdef int i
    cdef int best
    while seen < npages and n < 32:
        if s.table[at].kind == PAGE_RUNS and s.table[at].free >= least:
            found[n] = at
            n += 1
        at += 1
        if at == npages:
            at = 0
        seen += 1
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
    tree_set(s, to, PAGE_GRANULES - at)
    memset(page_bitmap(s, page), 0, PAGE_WORDS * sizeof(uint64_t))
    s.table[page].kind = PAGE_RESERVE
    s.table[page].free = 0
    tree_set(s, page, 0)
    s.top.reserve = page
    return True


cdef bint clear_page(Space* s) noexcept nogil:
    """Free a whole page: its records move where they fit, and are evicted where they do not."""
    cdef int64_t page = emptiest(s, 0)
    cdef uint64_t* bits
    cdef Bucket* b
    cdef Record* r
    cdef Record* to
    cdef int pos
    cdef int n
    cdef int i
    if page < 0:
        return False
    bits = page_bitmap(s, page)
    tree_set(s, page, 0)
    pos = next_bit(bits, 0, 0)
    while pos < PAGE_GRANULES:
        r = <Record*> (page_bytes(s, page) + pos * GRANULE)
        n = r.run
        to = take_run(s, n)
        if to != NULL:
            move_record(s, r, to)
            give_granules(s, r, n)
        else:
            i = slot_of(s, r, &b)
            evict_at(s, <uint64_t> (b - s.index) * SLOTS + i)
        if s.table[page].kind != PAGE_FREE:
            tree_set(s, page, 0)
        pos = next_bit(bits, pos + n, 0)
    return True


cdef bint make_room(Space* s, int n, uint64_t* freed) noexcept nogil:
    """One step towards a free run of n granules; False when nothing is left to do.

    Victims of the policy first. Where they gave enough, but in pieces, the pieces are brought together.
    """
    cdef uint64_t more
    if freed[0] >= <uint64_t> (n + n // 4):
        freed[0] = 0
        if (n < PAGE_GRANULES and compact(s, n)) or clear_page(s):
            return True
    more = evict_one(s)
    if more:
        freed[0] += more
        return True
    return (n < PAGE_GRANULES and compact(s, n)) or clear_page(s)


cdef Record* make_run(Space* s, int n) noexcept nogil:
    cdef uint64_t freed = 0
    cdef Record* r = take_run(s, n)
    while r == NULL:
        if not make_room(s, n, &freed):
            return NULL
        r = take_run(s, n)
    return r


cdef int64_t make_page(Space* s, int64_t after) noexcept nogil:
    cdef uint64_t freed = 0
    cdef int64_t page = take_page(s, after)
    while page < 0:
        if not make_room(s, PAGE_GRANULES, &freed):
            return -1
        page = take_page(s, after)
    return page


cdef void publish_record(Space* s, Record* r) noexcept nogil:
    """Make a filled record visible under its key; what was there before leaves. r comes out unpinned."""
    cdef Record* old = index_find(s, r.hash0, r.hash1, record_key(r), r.key_len)
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
    cdef uint64_t whole = r.body * PAGE_BYTES
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
            list = record_pages(r)
            p = page_bytes(s, list[offset // PAGE_BYTES]) + offset % PAGE_BYTES
            here = PAGE_BYTES - offset % PAGE_BYTES
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
