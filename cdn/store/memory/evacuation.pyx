# Clearing a page of runs: its records move to other pages. Decides which page that is, and evicts what fits nowhere only where
# it was asked to; must not know what the room is for.


cdef enum:
    MOST_COMPACTIONS = 8    # of other pages while one is cleared


cdef bint movable(Space* s, uint64_t page) noexcept nogil:
    """Nobody holds a record of this page, and no fill writes to it."""
    cdef Record* r
    cdef int i
    for i in range(<int> s.table[page].runs):
        r = record_of(s, page, i)
        if load32_relaxed(&r.pins) != 0 or in_tables(s, granule_of(s, r)):
            return False
    return True


cdef int sample_pages(Space* s, int least, uint64_t* found, int most) noexcept nogil:
    """Pages of runs from a random place on, with at least so many free granules; how many."""
    cdef uint64_t npages = s.top.npages
    cdef uint64_t at = fastrange(next_random(s), npages)
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
        sum += promise(s, load32_relaxed(&b.access[i]))
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
