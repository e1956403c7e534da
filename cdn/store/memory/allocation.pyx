# Runs, blocks and quarters where none may be free: room is made until there is one. Decides the order of means: what is free
# already, victims of the policy, then a page that is cleared. Must not know keys, bodies, or which policy is in force.


cdef enum:
    PATIENCE = 3        # attempts to clear a page for a run
    LONG_PATIENCE = 32  # and to bring pieces together, before anything is evicted for where it lies
    SLACK = 8           # such a part of a page has to be free beside a page, before one is cleared
    LONG_HUNT = 65536   # granules evicted for one block: the next ones lie in one page


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
