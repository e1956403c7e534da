# Making room: victims first, then bringing together what is free in pieces. Moves records; the policy is not its own.


cdef enum:
    PATIENCE = 3        # attempts to bring pieces together before anything is evicted for where it lies


cdef bint movable(Space* s, uint64_t page) noexcept nogil:
    """Nobody holds a record of this page, and no fill writes to it."""
    cdef Record* r
    cdef int i
    for i in range(<int> s.table[page].runs):
        r = record_of(s, page, i)
        if cdn_load32(&r.pins) != 0 or in_tables(s, granule_of(s, r)):
            return False
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
    """How many of its records are likely to be used soon."""
    cdef double sum = 0
    cdef Bucket* b
    cdef int i
    cdef int k
    for k in range(<int> s.table[page].runs):
        i = slot_of(s, record_of(s, page, k), &b)
        sum += promise(s, cdn_load32(&b.access[i]))
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


cdef bint arrest(Space* s, Record* r) noexcept nogil:
    """See to it that nobody takes hold of r from now on. False: somebody has, and nothing has changed."""
    cdef Bucket* b
    cdef int i = slot_of(s, r, &b)
    cdn_store64(&b.slot[i], slot_word(s, r) | MOVING)
    cdn_fence()
    if in_tables(s, granule_of(s, r)):
        cdn_store64(&b.slot[i], slot_word(s, r))
        return False
    return True


cdef void let_go(Space* s, uint64_t page, int n) noexcept nogil:
    """Undo `arrest` for the first n records that a page lists."""
    cdef Bucket* b
    cdef Record* r
    cdef int i
    cdef int k
    for k in range(n):
        r = record_of(s, page, k)
        i = slot_of(s, r, &b)
        cdn_store64(&b.slot[i], slot_word(s, r))


cdef void move_record(Space* s, Record* r, Record* to) noexcept nogil:
    """Copy an arrested record, then turn the slot over. The old run is the caller's to free."""
    cdef Bucket* b
    cdef int i = slot_of(s, r, &b)
    cdef uint32_t access = cdn_load32(&b.access[i])
    memcpy(to, r, <size_t> r.run * GRANULE)
    cdn_step(STEP_COPIED)
    point(s, b, i, to, access)
    cdn_step(STEP_MOVED)
    s.top.moved += 1


cdef bint reserved(Space* s) noexcept nogil:
    """Whether there is a page to compact into; a death may have cost it, and the next free page is it then."""
    cdef int64_t page
    if s.top.reserve != NO_PAGE:
        return True
    page = tree_first(s, RUNS, PAGE_GRANULES)
    if page < 0:
        return False
    s.table[page].kind = PAGE_RESERVE
    s.table[page].free = 0
    tree_set(s, RUNS, page, 0)
    s.top.reserve = page
    return True


cdef bint compact(Space* s, int n) noexcept nogil:
    """Copy the records of one page together into the reserve, so that a run of n granules comes free."""
    cdef int64_t page = emptiest(s, n + LINE_GRANULES)      # their list may be a line longer there
    cdef Page* p
    cdef Page* t
    cdef Span* spans
    cdef uint64_t to
    cdef int at = PAGE_GRANULES
    cdef int lines
    cdef int i
    if page < 0 or not reserved(s):
        return False
    to = s.top.reserve
    p, t = &s.table[page], &s.table[to]
    for i in range(<int> p.runs):
        if not arrest(s, record_of(s, page, i)):
            let_go(s, page, i)
            return False
    spans = spans_of(s, to)
    for i in range(<int> p.runs):
        spans[i].n = spans_of(s, page)[i].n
        at -= spans[i].n
        spans[i].at = at
        move_record(s, record_of(s, page, i), record_of(s, to, i))
    cdn_step(STEP_COMPACTED)
    lines = p.runs // LINE_SPANS + 1
    s.top.used_granules += <uint64_t> ((lines - <int> p.lines) * LINE_GRANULES)
    t.kind, t.runs, t.lines = PAGE_RUNS, p.runs, lines
    t.free = at - lines * LINE_GRANULES
    tree_set(s, RUNS, to, longest_run(s, to))
    p.kind = PAGE_RESERVE
    p.free = p.runs = p.lines = 0
    tree_set(s, RUNS, page, 0)
    s.top.reserve = page
    return True


cdef bint clear_page(Space* s, int n, bint evict) noexcept nogil:
    """Move the records of one page to where they fit until it has a free run of n granules (all: a free page).

    What fits nowhere is evicted, or ends it. True: there is such a run.
    """
    cdef int64_t page = least_worth(s) if evict else emptiest(s, 0)
    cdef Page* p
    cdef Bucket* b
    cdef Record* r
    cdef Record* to
    cdef int size
    cdef int i
    cdef int k
    cdef int compactions = 0
    if page < 0:
        return False
    p = &s.table[page]
    p.kind = PAGE_CLEARING
    tree_set(s, RUNS, page, 0)
    k = p.runs
    while k > 0 and longest_run(s, page) < n:
        k -= 1      # what is behind it in the list has gone, or stays
        r = record_of(s, page, k)
        size = r.run
        to = take_run(s, size)
        if to == NULL and compactions < 2:
            compactions += 1
            if compact(s, size):
                to = take_run(s, size)
        if to != NULL and arrest(s, r):
            move_record(s, r, to)
            give_run(s, r)
        elif to != NULL:
            give_run(s, to)
            break
        elif evict:
            i = slot_of(s, r, &b)
            evict_at(s, bucket_number(s, r, b) * SLOTS + i)
        else:
            break
        if p.kind == PAGE_CLEARING:
            tree_set(s, RUNS, page, 0)
    if p.kind == PAGE_FREE:
        return True
    p.kind = PAGE_RUNS
    tree_set(s, RUNS, page, longest_run(s, page))
    return longest_run(s, page) >= n


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
    tell_crowded(s)
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
