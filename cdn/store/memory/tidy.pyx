# Making room: victims first, then bringing together what is free in pieces. Moves records; the policy is not its own.


cdef enum:
    PATIENCE = 3        # attempts to clear a page for a run
    LONG_PATIENCE = 32  # and to bring pieces together, before anything is evicted for where it lies
    GLANCES = 2         # pages that are compared
    FEW = 1024          # granules that are moved rather than evicting anybody
    MOST_COMPACTIONS = 8    # of other pages while one is cleared
    SLACK = 8           # such a part of a page has to be free beside a page, before one is cleared
    LONG_HUNT = 65536   # granules evicted for one block: the next ones lie in one page


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


cdef int64_t emptiest(Space* s) noexcept nogil:
    """The page of runs with most free granules, or, where that cannot be moved, the one of a sample that can; -1: none."""
    cdef uint64_t found[32]
    cdef int64_t page = tree_first(s, FREES, max(tree_most(s, FREES), 1))
    cdef int n
    cdef int i
    cdef int best
    if page >= 0 and movable(s, <uint64_t> page):
        return page
    n = sample_pages(s, 0, found, 32)
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


cdef void bounce(Space* s, Record* r, Record* to, Span* span, int at) noexcept nogil:
    """The same where the new place overlaps the old one: by way of a third, from which it can be read meanwhile."""
    cdef Record* third = <Record*> (s.base + s.top.bounce)
    cdef size_t n = <size_t> r.run * GRANULE
    cdef Bucket* b
    cdef int i = slot_of(s, r, &b)
    cdef uint32_t access = cdn_load32(&b.access[i])
    memcpy(third, r, n)
    cdn_step(STEP_COPIED)
    cdn_store64(&b.slot[i], slot_word(s, third) | MOVING)
    cdn_add32(&b.version, 1)
    cdn_step(STEP_BOUNCED)
    span.at = at
    memcpy(to, third, n)
    point(s, b, i, to, access)
    cdn_step(STEP_MOVED)
    s.top.moved += 1


cdef bint shift(Space* s, uint64_t page, int k, int at) noexcept nogil:
    """Move the k-th run of a page to another place in it, from where it is on or up to there. False: somebody holds it."""
    cdef Span* span = spans_of(s, page) + k
    cdef Record* r = record_of(s, page, k)
    cdef Record* to = <Record*> (page_bytes(s, page) + at * GRANULE)
    if cdn_load32(&r.pins) != 0 or (abs(at - span.at) < span.n and span.n > BOUNCE_BYTES // GRANULE) or not arrest(s, r):
        return False
    if abs(at - span.at) < span.n:
        bounce(s, r, to, span, at)
    else:
        move_record(s, r, to)
        span.at = at
    return True


cdef inline int ground(const Page* p) noexcept nogil:
    """Where the list of a page ends, with one run more in it."""
    return (<int> p.lines + (p.runs == p.lines * LINE_SPANS)) * LINE_GRANULES


cdef bint slide(Space* s, uint64_t page, int first, int behind) noexcept nogil:
    """Move runs [first, behind) of a page so that the gaps around them are one. False: somebody holds one."""
    cdef const Page* p = &s.table[page]
    cdef const Span* spans = spans_of(s, page)
    cdef int top = spans[first - 1].at if first else PAGE_GRANULES
    cdef int low = spans[behind].at + spans[behind].n if behind < <int> p.runs else ground(p)
    cdef bint done = True
    # from the end with the longer gap: what moves by its own length need not bounce
    if top - spans[first].at - spans[first].n >= spans[behind - 1].at - low:
        while done and first < behind:
            top -= spans[first].n
            done = shift(s, page, first, top)
            first += 1
    else:
        while done and first < behind:
            behind -= 1
            done = shift(s, page, behind, low)
            low += spans[behind].n
    cdn_step(STEP_COMPACTED)
    tree_set(s, RUNS, page, longest_run(s, page))
    return done


cdef bint lift(Space* s, uint64_t page, int most) noexcept nogil:
    """Move the lowest run of a page into a gap above, out of the way of its list. False: it fits into none, or somebody holds it."""
    cdef Span* spans = spans_of(s, page)
    cdef int last = <int> s.table[page].runs - 1
    cdef int n = spans[last].n
    cdef int top = PAGE_GRANULES
    cdef int k
    cdef Record* r = record_of(s, page, last)
    if n > most or cdn_load32(&r.pins) != 0:
        return False
    for k in range(last):
        if top - spans[k].at - spans[k].n >= n:
            break
        top = spans[k].at
    else:
        return top - spans[last].at - n >= LINE_GRANULES and slide(s, page, last, last + 1)
    if not arrest(s, r):
        return False
    move_record(s, r, <Record*> (page_bytes(s, page) + (top - n) * GRANULE))
    memmove(spans + k + 1, spans + k, (last - k) * sizeof(Span))
    spans[k].at, spans[k].n = top - n, n
    cdn_step(STEP_COMPACTED)
    tree_set(s, RUNS, page, longest_run(s, page))
    return True


cdef bint compact(Space* s, int n, int most) noexcept nogil:
    """Bring together what is free in a page until n granules are, if that takes moving no more than `most`."""
    cdef int free = tree_most(s, FREES)
    if free < n:
        return False
    return (compact_near(s, <uint64_t> tree_first(s, FREES, free), n, most)
            or (most > FEW and compact_near(s, cdn_spread(next_random(s), s.top.npages), n, most)))


cdef bint compact_near(Space* s, uint64_t page, int n, int most) noexcept nogil:
    """The same in this page, or in one of those that share a node of the tree with it."""
    cdef const Page* p
    cdef uint64_t node = page // TREE_FANOUT * TREE_FANOUT
    cdef uint64_t at
    cdef uint64_t best = 0
    cdef int first = 0
    cdef int behind = 0
    cdef int a = 0
    cdef int b = 0
    cdef int cost
    cdef int looked = 0
    cdef int i
    for i in range(TREE_FANOUT):
        at = node + (page + <uint64_t> i) % TREE_FANOUT
        if s.tree[FREES][at] >= n and looked < GLANCES:
            p = &s.table[at]
            if spans_of(s, at)[p.runs - 1].at < ground(p):      # its list can become no longer
                if lift(s, at, most):
                    return True
                continue
            looked += 1
            cost = cdn_least_to_move(<const uint16_t*> spans_of(s, at), p.runs, PAGE_GRANULES, ground(p), n, most, &a, &b)
            if cost >= 0:
                most = cost - 1
                best, first, behind = at, a, b
                if cost == 0:
                    break
    return behind > first and slide(s, best, first, behind)


cdef bint clear_page(Space* s, int n, bint evict) noexcept nogil:
    """Move the records of one page to where they fit until it has a free run of n granules (all: a free page).

    What fits nowhere is evicted, or ends it. True: there is such a run.
    """
    cdef int64_t page = least_worth(s) if evict else emptiest(s)
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
    tree_set(s, FREES, page, 0)
    k = p.runs
    while k > 0 and longest_run(s, page) < n:
        k -= 1      # what is behind it in the list has gone, or stays
        r = record_of(s, page, k)
        size = r.run
        to = take_run(s, size)
        if to == NULL and compactions < MOST_COMPACTIONS:
            compactions += 1
            if compact(s, size, PAGE_GRANULES):
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
            tree_set(s, FREES, page, 0)
    if p.kind == PAGE_FREE:
        return True
    p.kind = PAGE_RUNS
    tree_set(s, RUNS, page, longest_run(s, page))
    tree_set(s, FREES, page, p.free)
    return longest_run(s, page) >= n


cdef struct Hunt:
    uint64_t freed      # granules since the last attempt to bring pieces together
    int attempts


cdef bint make_room(Space* s, int n, Hunt* h) noexcept nogil:
    """One step towards a run of n granules; False when nothing is left to do.

    What is free already, if little has to be moved for it; then victims of the policy. Where they gave enough, but in
    pieces, the pieces are brought together; only where that fails again and again are records evicted for lying in the way.
    """
    cdef uint64_t more
    cdef bint enough = h.freed >= <uint64_t> (n + n // 4)
    if compact(s, n, PAGE_GRANULES if enough else FEW):
        return True
    if enough:
        h.freed = 0
        h.attempts += 1
        if (h.attempts <= PATIENCE or h.attempts > LONG_PATIENCE) and clear_page(s, n, h.attempts > LONG_PATIENCE):
            return True
    tell_crowded(s)
    more = evict_one(s)
    if more:
        h.freed += more
        return True
    return compact(s, n, PAGE_GRANULES) or clear_page(s, n, True)


cdef bint make_page(Space* s, Hunt* h) noexcept nogil:
    """One step towards a free block or a free quarter, where there is none; False when nothing is left to do.

    Victims of the policy give blocks and quarters, or come to a page of what is free among runs, which are moved out of one
    then. What lies in a page that happens to be emptied goes only where that came to nothing for a long time.
    """
    cdef uint64_t more
    cdef uint64_t among_runs = (s.top.npages * <uint64_t> PAGE_GRANULES - s.top.used_granules
                                - s.top.idle * <uint64_t> QUARTER_GRANULES)
    if among_runs >= PAGE_GRANULES + PAGE_GRANULES // SLACK * <uint64_t> (h.attempts + 1):
        h.attempts += 1
        if clear_page(s, PAGE_GRANULES, False):
            return True
    if h.freed >= LONG_HUNT:
        h.freed = 0
        if clear_page(s, PAGE_GRANULES, True):
            return True
    tell_crowded(s)
    more = evict_one(s)
    h.freed += more
    return more != 0 or clear_page(s, PAGE_GRANULES, True)


cdef Record* make_run(Space* s, int n) noexcept nogil:
    cdef Hunt h
    cdef Record* r = take_run(s, n)
    memset(&h, 0, sizeof(h))
    while r == NULL:
        if not make_room(s, n, &h):
            return NULL
        r = take_run(s, n)
    return r


cdef int64_t make_block(Space* s, int64_t after, uint64_t more) noexcept nogil:
    """A block for a body of which `more` blocks are still to come; -1: no room can be made."""
    cdef Hunt h
    cdef int64_t block = take_block(s, after, more)
    memset(&h, 0, sizeof(h))
    while block < 0:
        if not make_page(s, &h):
            return -1
        block = take_block(s, after, more)
    return block


cdef bint make_quarters(Space* s, Record* r) noexcept nogil:
    """Those that r's header says it has, behind the stretches of its blocks. False: no room can be made, and there are none."""
    cdef uint32_t* list = record_quarters(r)
    cdef Hunt h
    cdef int64_t quarter
    cdef int i
    for i in range(<int> r.quarters):
        quarter = take_quarter(s)
        memset(&h, 0, sizeof(h))
        while quarter < 0:
            if not make_page(s, &h):
                r.quarters = i
                free_quarters(s, r)
                return False
            quarter = take_quarter(s)
        list[i] = <uint32_t> quarter
    return True


cdef uint32_t laid[32760]     # numbers of blocks, then of quarters, that are taken and in no record yet; the lock is held. MOST_RUN of them


cdef bint make_pieces(Space* s, uint64_t* nblocks, uint64_t* nquarters, uint64_t* run_bytes) noexcept nogil:
    """So many blocks and quarters, listed in `laid`. Quarters that lie about take the place of the last blocks as soon as there
    are enough, and nobody goes for those; the numbers say so then. False: no room can be made, and nothing is taken."""
    cdef Hunt h
    cdef int64_t piece = -1
    cdef uint64_t n = 0
    cdef uint64_t left
    memset(&h, 0, sizeof(h))
    while n < nblocks[0] + nquarters[0]:
        left = nblocks[0] - n if n < nblocks[0] else 0
        piece = take_block(s, piece, left) if left else take_quarter(s)
        if piece >= 0:
            laid[n] = <uint32_t> piece
            n += 1
            memset(&h, 0, sizeof(h))
        elif left and s.top.loose >= 4 * left + nquarters[0] and run_bytes[0] + 12 * left <= MOST_RUN:
            nblocks[0] = n
            nquarters[0] += 4 * left
            run_bytes[0] += 12 * left
        elif not make_page(s, &h):
            give_pieces(s, nblocks[0], n)
            return False
        else:
            piece = <int64_t> laid[n - 1] if left and n else -1
    return True


cdef void give_pieces(Space* s, uint64_t nblocks, uint64_t n) noexcept nogil:
    """The first n of `laid`."""
    cdef uint64_t i
    for i in range(n):
        if i < nblocks:
            give_block(s, laid[i])
        else:
            give_quarter(s, laid[i])
