# Runs: taking a stretch of a page of them and giving it back, and the list of them at the page's beginning. Decides which gap a
# run is carved from; must not know what lies in a run, or how room is made where there is none.


cdef extern from *:
    """
    /* The longest of what lies between n spans, given as the pairs at, length from the highest down. A loop for vectors. */
    __attribute__((optimize("O3"))) static int cdn_longest_gap(const uint16_t* spans, int n) {
        int16_t most = 0;
        for (int i = 1; i < n; i++) {
            int16_t gap = (int16_t)(spans[2 * i - 2] - spans[2 * i] - spans[2 * i + 1]);
            most = gap > most ? gap : most;
        }
        return most;
    }
    """
    int cdn_longest_gap(const uint16_t* spans, int n) noexcept nogil


cdef inline Span* spans_of(Space* s, uint64_t page) noexcept nogil:
    """Of a page of runs; the highest first."""
    return <Span*> page_bytes(s, page)


cdef inline Record* record_of(Space* s, uint64_t page, int i) noexcept nogil:
    return <Record*> (page_bytes(s, page) + spans_of(s, page)[i].at * GRANULE)


cdef int span_of(Space* s, const Record* r) noexcept nogil:
    """The number of r's run in the list of its page; -1: none begins there."""
    cdef uint64_t page = page_of(s, r)
    cdef const Span* spans = spans_of(s, page)
    cdef int at = <int> ((<const char*> r - page_bytes(s, page)) >> GRANULE_SHIFT)
    cdef int low = 0
    cdef int high = s.table[page].runs
    cdef int middle
    while low < high:
        middle = (low + high) >> 1
        if spans[middle].at > at:
            low = middle + 1
        else:
            high = middle
    return low if low < <int> s.table[page].runs and spans[low].at == at else -1


cdef inline int lowest_gap(Space* s, uint64_t page) noexcept nogil:
    """What is free between the list of a page and its lowest run."""
    return spans_of(s, page)[s.table[page].runs - 1].at - s.table[page].lines * LINE_GRANULES


cdef int longest_run(Space* s, uint64_t page) noexcept nogil:
    """How long a run can be that is still to be had; PAGE_GRANULES: nothing is in use."""
    cdef const Page* p = &s.table[page]
    cdef const Span* spans = spans_of(s, page)
    cdef int most
    cdef int gap
    if p.runs == 0:
        return PAGE_GRANULES
    most = max(cdn_longest_gap(<const uint16_t*> spans, p.runs), PAGE_GRANULES - spans[0].at - spans[0].n)
    gap = spans[p.runs - 1].at - p.lines * LINE_GRANULES
    if p.runs == p.lines * LINE_SPANS:      # the next one takes a line, too
        if gap < LINE_GRANULES:
            return 0
        gap -= LINE_GRANULES
    return gap if gap > most else most


cdef enum:
    NEARLY = 8      # granules that a gap may be too long for a run: none better is looked for


cdef Record* carve(Space* s, uint64_t page, int n) noexcept nogil:
    """n granules of a page that is known to have such a run. Only `run` and `pins` of the result are set."""
    cdef Page* p = &s.table[page]
    cdef Span* spans = spans_of(s, page)
    cdef Record* r
    cdef int top = PAGE_GRANULES
    cdef int best = PAGE_GRANULES + 1
    cdef int end = PAGE_GRANULES
    cdef int gap
    cdef int i = 0
    cdef int k
    if p.kind == PAGE_FREE:
        p.kind = PAGE_RUNS
        p.runs = p.lines = 0
    if p.runs == p.lines * LINE_SPANS:
        p.lines += 1
        p.free -= LINE_GRANULES
        s.top.used_granules += LINE_GRANULES
    for k in range(<int> p.runs + 1):       # the gap that is least too long for it
        gap = top - (spans[k].at + spans[k].n if k < <int> p.runs else p.lines * LINE_GRANULES)
        if gap >= n and gap < best:
            best, i, end = gap, k, top
            if gap < n + NEARLY:
                break
        top = spans[k].at
    gap, top = best, end
    memmove(spans + i + 1, spans + i, (p.runs - i) * sizeof(Span))
    p.runs += 1
    cdn_step(STEP_LISTED)
    spans[i].at, spans[i].n = top - n, n
    r = <Record*> (page_bytes(s, page) + (top - n) * GRANULE)
    cdn_step(STEP_CARVED)
    p.free -= n
    s.top.used_granules += n
    tree_set(s, FREES, page, p.free)
    if gap >= s.tree[RUNS][page] or p.runs == 1 or (p.runs == p.lines * LINE_SPANS and lowest_gap(s, page) >= s.tree[RUNS][page]):
        tree_set(s, RUNS, page, longest_run(s, page))
    elif p.runs == p.lines * LINE_SPANS and lowest_gap(s, page) < LINE_GRANULES:
        tree_set(s, RUNS, page, 0)
    r.run = n
    r.pins = PIN_FILLING
    return r


cdef Record* take_run(Space* s, int n) noexcept nogil:
    cdef int64_t page
    if s.tree[RUNS][s.given] == n:      # who went has left just what comes, as where all are as long, and its page is at hand
        return carve(s, s.given, n)
    page = tree_fit(s, RUNS, n)
    return NULL if page < 0 else carve(s, page, n)


cdef void give_run(Space* s, const Record* r) noexcept nogil:
    cdef uint64_t page = page_of(s, r)
    cdef Page* p = &s.table[page]
    cdef Span* spans = spans_of(s, page)
    cdef int i = span_of(s, r)
    cdef int n = spans[i].n
    cdef int above = spans[i - 1].at if i else PAGE_GRANULES
    cdef int below = spans[i + 1].at + spans[i + 1].n if i + 1 < <int> p.runs else p.lines * LINE_GRANULES
    cdef bint full = p.runs == p.lines * LINE_SPANS
    s.given = page
    p.runs -= 1
    memmove(spans + i, spans + i + 1, (p.runs - i) * sizeof(Span))
    cdn_step(STEP_GIVEN)
    s.top.used_granules -= n
    p.free += n
    if p.runs == 0:
        s.top.used_granules -= p.lines * LINE_GRANULES
        p.free = PAGE_GRANULES
        p.lines = 0
        p.kind = PAGE_FREE
        tree_set(s, FREES, page, 0)
        tree_set(s, RUNS, page, PAGE_GRANULES)
        return
    tree_set(s, FREES, page, p.free)
    if full and s.tree[RUNS][page] == 0:
        tree_set(s, RUNS, page, longest_run(s, page))
    elif full and lowest_gap(s, page) > max(<int> s.tree[RUNS][page], above - below):
        tree_set(s, RUNS, page, lowest_gap(s, page))
    elif above - below > s.tree[RUNS][page]:
        tree_set(s, RUNS, page, above - below)


cdef void cut_run(Space* s, Record* r, int n) noexcept nogil:
    """Give back the last n granules of a run that has more."""
    cdef uint64_t page = page_of(s, r)
    r.run -= n
    spans_of(s, page)[span_of(s, r)].n -= n
    cdn_step(STEP_GIVEN)
    s.top.used_granules -= n
    s.table[page].free += n
    tree_set(s, RUNS, page, longest_run(s, page))
    tree_set(s, FREES, page, s.table[page].free)
