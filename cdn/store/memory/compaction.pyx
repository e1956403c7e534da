# Bringing together what is free in one page of runs, by moving the fewest of its bytes. Decides what is moved within a page; must
# not know the policy, and evicts nobody.


cdef enum:
    GLANCES = 2         # pages that are compared
    FEW = 1024          # granules that are moved rather than evicting anybody


cdef extern from *:
    """
    /* Among n spans in a page of `top` granules whose list ends at `floor`: the neighbours that are least to move, all told,
       so that the gaps above, between and below them come to `want`; -1: none, or more than `most`. Gap i lies above span i,
       gap n below the last; spans [*first, *behind) are to be moved. */
    static int cdn_least_to_move(const uint16_t* spans, int n, int top, int floor, int want, int most, int* first, int* behind) {
        int sum = 0, cost = 0, a = 0, best = most + 1;
    #define CDN_GAP(i) (((i) ? spans[2 * (i) - 2] : top) - ((i) < n ? spans[2 * (i)] + spans[2 * (i) + 1] : floor))
        for (int b = 0; b <= n; b++) {
            sum += CDN_GAP(b);
            while (a < b && sum - CDN_GAP(a) >= want) {
                sum -= CDN_GAP(a);
                cost -= spans[2 * a + 1];
                a++;
            }
            if (sum >= want && cost < best) {
                best = cost;
                *first = a;
                *behind = b;
            }
            if (b < n) cost += spans[2 * b + 1];
        }
    #undef CDN_GAP
        return best > most ? -1 : best;
    }
    """
    int cdn_least_to_move(const uint16_t* spans, int n, int top, int floor, int want, int most, int* first, int* behind) noexcept nogil


cdef bint shift(Space* s, uint64_t page, int k, int at) noexcept nogil:
    """Move the k-th run of a page to another place in it, from where it is on or up to there. False: somebody holds it."""
    cdef Span* span = spans_of(s, page) + k
    cdef Record* r = record_of(s, page, k)
    cdef Record* to = <Record*> (page_bytes(s, page) + at * GRANULE)
    if load32_relaxed(&r.pins) != 0 or (abs(at - span.at) < span.n and span.n > BOUNCE_BYTES // GRANULE) or not arrest(s, r):
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
    if n > most or load32_relaxed(&r.pins) != 0:
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
            or (most > FEW and compact_near(s, fastrange(next_random(s), s.top.npages), n, most)))


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
