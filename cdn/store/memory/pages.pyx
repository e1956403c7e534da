# Pages and runs: where memory is free, taking it and giving it back. Knows granules, not what lies in them.


cdef extern from *:
    """
    static inline uint64_t cdn_load64(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void cdn_store64(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline void cdn_lower64(int64_t* p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline uint32_t cdn_load32(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline uint32_t cdn_acquire32(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void cdn_store32(uint32_t* p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline uint32_t cdn_add32(uint32_t* p, uint32_t v) { return __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline uint32_t cdn_or32(uint32_t* p, uint32_t v) { return __atomic_or_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline uint64_t cdn_spread(uint64_t h, uint64_t n) { return (uint64_t)(((unsigned __int128)h * n) >> 64); }
    /* Of a page of blocks, by the bits of its quarters: the lowest bit of each block of which any is taken. */
    static inline uint32_t cdn_begun(uint32_t taken) {
        taken |= taken >> 1;
        return (taken | taken >> 2) & 0x11111111u;
    }
    static inline int cdn_free_blocks(uint32_t taken) { return 8 - __builtin_popcount(cdn_begun(taken)); }
    static inline int cdn_loose(uint32_t taken) { return 4 * __builtin_popcount(cdn_begun(taken)) - __builtin_popcount(taken); }
    static inline int cdn_ctz(uint64_t v) { return __builtin_ctzll(v); }
    static inline void cdn_prefetch(const void* p) { __builtin_prefetch(p); }
    /* The longest of what lies between n spans, given as the pairs at, length from the highest down. A loop for vectors. */
    __attribute__((optimize("O3"))) static int cdn_longest_gap(const uint16_t* spans, int n) {
        int16_t most = 0;
        for (int i = 1; i < n; i++) {
            int16_t gap = (int16_t)(spans[2 * i - 2] - spans[2 * i] - spans[2 * i + 1]);
            most = gap > most ? gap : most;
        }
        return most;
    }
    /* Which of a node's 32 numbers is the least that is at least n; there is one. A loop for vectors. */
    __attribute__((optimize("O3"))) static int cdn_best_of_node(const uint16_t* node, uint16_t n) {
        uint16_t best = 0xffff;
        int i = 0;
        for (int k = 0; k < 32; k++) {
            uint16_t over = (uint16_t)(node[k] - n);        /* what is less comes to more than any page has */
            best = over < best ? over : best;
        }
        while ((uint16_t)(node[i] - n) != best) i++;
        return i;
    }
    __attribute__((optimize("O3"))) static int cdn_most_of_node(const uint16_t* node) {
        int16_t most = 0;
        for (int k = 0; k < 32; k++) most = (int16_t)node[k] > most ? (int16_t)node[k] : most;
        return most;
    }
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
    uint64_t cdn_load64(const uint64_t* p) noexcept nogil
    void cdn_store64(uint64_t* p, uint64_t v) noexcept nogil
    void cdn_lower64(int64_t* p, int64_t v) noexcept nogil
    uint32_t cdn_load32(const uint32_t* p) noexcept nogil
    uint32_t cdn_acquire32(const uint32_t* p) noexcept nogil
    void cdn_store32(uint32_t* p, uint32_t v) noexcept nogil
    uint32_t cdn_add32(uint32_t* p, uint32_t v) noexcept nogil
    uint32_t cdn_or32(uint32_t* p, uint32_t v) noexcept nogil
    uint64_t cdn_spread(uint64_t h, uint64_t n) noexcept nogil
    uint32_t cdn_begun(uint32_t taken) noexcept nogil
    int cdn_free_blocks(uint32_t taken) noexcept nogil
    int cdn_loose(uint32_t taken) noexcept nogil
    int cdn_ctz(uint64_t v) noexcept nogil
    void cdn_prefetch(const void* p) noexcept nogil
    int cdn_longest_gap(const uint16_t* spans, int n) noexcept nogil
    int cdn_best_of_node(const uint16_t* node, uint16_t n) noexcept nogil
    int cdn_most_of_node(const uint16_t* node) noexcept nogil
    int cdn_least_to_move(const uint16_t* spans, int n, int top, int floor, int want, int most, int* first, int* behind) noexcept nogil


# -- the trees: which page has room ----------------------------------------------------------------------------------

cdef enum:
    RUNS = 0        # which tree
    BLOCKS = 1
    FREES = 2       # all that is free in a page of runs
    LOOSE = 3       # the free quarters of blocks that are begun


cdef void tree_set(Space* s, int which, uint64_t page, uint16_t value) noexcept nogil:
    cdef uint16_t* level = s.tree[which] + s.top.level[0]
    cdef uint64_t at = page
    cdef uint64_t k
    cdef uint16_t* node
    cdef uint16_t before = level[at]
    cdef uint16_t most
    level[at] = value
    for k in range(1, s.top.levels):
        at //= TREE_FANOUT
        node = level + at * TREE_FANOUT
        level = s.tree[which] + s.top.level[k]
        most = level[at]
        if value == most or (value < most and before < most):
            return
        if value < most:        # it was the greatest: who is now?
            value = cdn_most_of_node(node)
            if value == most:
                return
        level[at] = value
        before = most


cdef int64_t tree_first(Space* s, int which, uint16_t n) noexcept nogil:
    """The first page whose number is at least n, or -1."""
    cdef int64_t k = <int64_t> s.top.levels - 1
    cdef uint64_t at = 0
    cdef uint16_t* node
    cdef int i
    while k >= 0:
        node = s.tree[which] + s.top.level[k] + at * TREE_FANOUT
        for i in range(TREE_FANOUT):
            if node[i] >= n:
                break
        else:
            return -1
        at = at * TREE_FANOUT + <uint64_t> i
        k -= 1
    return <int64_t> at


cdef int64_t tree_fit(Space* s, int which, uint16_t n) noexcept nogil:
    """The page whose number is the least that is at least n, among the 32 of the first node with such a one; -1: none."""
    cdef int64_t page = tree_first(s, which, n)
    cdef uint64_t node
    if page < 0:
        return -1
    node = <uint64_t> page // TREE_FANOUT * TREE_FANOUT
    return <int64_t> node + cdn_best_of_node(s.tree[which] + s.top.level[0] + node, n)


cdef inline int tree_most(Space* s, int which) noexcept nogil:
    """The greatest number of all."""
    return cdn_most_of_node(s.tree[which] + s.top.level[s.top.levels - 1])


cdef int64_t tree_last(Space* s, int which, uint16_t n) noexcept nogil:
    cdef int64_t k = <int64_t> s.top.levels - 1
    cdef uint64_t at = 0
    cdef uint16_t* node
    cdef int i
    while k >= 0:
        node = s.tree[which] + s.top.level[k] + at * TREE_FANOUT
        i = TREE_FANOUT - 1
        while i >= 0 and node[i] < n:
            i -= 1
        if i < 0:
            return -1
        at = at * TREE_FANOUT + <uint64_t> i
        k -= 1
    return <int64_t> at


# -- where things lie ---------------------------------------------------------------------------------------------------

cdef inline uint64_t page_of(Space* s, const void* p) noexcept nogil:
    return <uint64_t> (<const char*> p - s.pages) >> PAGE_SHIFT


cdef inline char* page_bytes(Space* s, uint64_t page) noexcept nogil:
    return s.pages + (page << PAGE_SHIFT)


cdef inline uint64_t granule_of(Space* s, const Record* r) noexcept nogil:
    return <uint64_t> (<const char*> r - s.base) >> GRANULE_SHIFT


cdef inline Record* record_at(Space* s, uint64_t granule) noexcept nogil:
    return <Record*> (s.base + (granule << GRANULE_SHIFT))


# -- one page's list of runs --------------------------------------------------------------------------------------------

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


# -- blocks, and whole pages --------------------------------------------------------------------------------------------

cdef inline char* block_bytes(Space* s, uint64_t block) noexcept nogil:
    return s.pages + block * BLOCK_BYTES


cdef inline uint8_t* block_refs(Space* s, uint64_t block) noexcept nogil:
    return &s.table[block // PAGE_BLOCKS].refs[block % PAGE_BLOCKS]


cdef inline char* quarter_bytes(Space* s, uint64_t quarter) noexcept nogil:
    return s.pages + quarter * QUARTER_BYTES


cdef inline uint32_t* taken_of(Space* s, uint64_t page) noexcept nogil:
    """Of a page of blocks: a bit for each quarter."""
    return <uint32_t*> &s.table[page].runs


cdef void set_blocks(Space* s, uint64_t page) noexcept nogil:
    """Tell the trees of a page of blocks; one without any is free."""
    cdef uint32_t taken = taken_of(s, page)[0]
    cdef int free = 0 if taken == 0 else cdn_loose(taken) + 4 * cdn_free_blocks(taken)
    s.top.loose += <uint64_t> (cdn_loose(taken) - <int> s.tree[LOOSE][page])
    s.top.idle += <uint64_t> (free - <int> s.tree[LOOSE][page] - 4 * <int> s.tree[BLOCKS][page])
    if taken == 0:
        s.table[page].kind = PAGE_FREE
        tree_set(s, BLOCKS, page, 0)
        tree_set(s, LOOSE, page, 0)
        tree_set(s, RUNS, page, PAGE_GRANULES)
        return
    tree_set(s, BLOCKS, page, cdn_free_blocks(taken))
    tree_set(s, LOOSE, page, cdn_loose(taken))


cdef inline bint block_taken(Space* s, uint64_t block) noexcept nogil:
    cdef uint64_t page = block // PAGE_BLOCKS
    if s.table[page].kind == PAGE_BLOCK:
        return taken_of(s, page)[0] >> 4 * (block % PAGE_BLOCKS) & 15 != 0
    return s.table[page].kind != PAGE_FREE


cdef enum:
    FEW_IDLE = 64   # quarters of free blocks in pages that are begun, with which what is long begins another one


cdef int64_t pick_block(Space* s, int64_t after, uint64_t more) noexcept nogil:
    """A free block: the one behind `after` (-1: none), else for what is long (`more` blocks to come) the beginning of
    a free stretch at the upper end, else one of a page begun already. -1: there is none."""
    cdef int64_t page
    cdef uint64_t block = <uint64_t> (after + 1)
    cdef int back
    if after >= 0 and block < <uint64_t> s.top.npages * PAGE_BLOCKS and not block_taken(s, block):
        return <int64_t> block
    page = tree_last(s, RUNS, PAGE_GRANULES) if more >= PAGE_BLOCKS and s.top.idle < s.top.loose + FEW_IDLE else -1
    if page < 0:
        page = tree_fit(s, BLOCKS, 1)
        if page >= 0:
            block = <uint64_t> page * PAGE_BLOCKS
            while block_taken(s, block):
                block += 1
            return <int64_t> block
        page = tree_last(s, RUNS, PAGE_GRANULES)
        if page < 0:
            return -1
    for back in range(15):
        if page == 0 or s.table[page - 1].kind != PAGE_FREE:
            break
        page -= 1
    return page * PAGE_BLOCKS


cdef void take_quarters(Space* s, uint64_t page, uint32_t bits) noexcept nogil:
    cdef int n = QUARTER_GRANULES if bits & (bits - 1) == 0 else BLOCK_GRANULES
    if s.table[page].kind == PAGE_FREE:
        s.table[page].kind = PAGE_BLOCK
        taken_of(s, page)[0] = 0
        tree_set(s, RUNS, page, 0)
    taken_of(s, page)[0] |= bits
    cdn_step(STEP_BLOCK_TAKEN)
    s.table[page].free -= n
    s.top.used_granules += n
    set_blocks(s, page)


cdef void give_quarters(Space* s, uint64_t page, uint32_t bits) noexcept nogil:
    cdef int n = QUARTER_GRANULES if bits & (bits - 1) == 0 else BLOCK_GRANULES
    taken_of(s, page)[0] &= ~bits
    cdn_step(STEP_BLOCK_GIVEN)
    s.table[page].free += n
    s.top.used_granules -= n
    set_blocks(s, page)


cdef int64_t take_block(Space* s, int64_t after, uint64_t more) noexcept nogil:
    cdef int64_t block = pick_block(s, after, more)
    if block >= 0:
        take_quarters(s, <uint64_t> block // PAGE_BLOCKS, <uint32_t> 15 << 4 * (<uint64_t> block % PAGE_BLOCKS))
        block_refs(s, <uint64_t> block)[0] = 0
    return block


cdef void give_block(Space* s, uint64_t block) noexcept nogil:
    give_quarters(s, block // PAGE_BLOCKS, <uint32_t> 15 << 4 * (block % PAGE_BLOCKS))


cdef int64_t take_quarter(Space* s) noexcept nogil:
    """A free quarter: of a block that is begun, else of another one; -1: there is none."""
    cdef int64_t page = tree_fit(s, LOOSE, 1)
    cdef int64_t block
    cdef uint32_t taken
    cdef int bit
    if page >= 0:
        taken = taken_of(s, page)[0]
        bit = cdn_ctz(cdn_begun(taken) * 15 & ~taken)
    else:
        block = pick_block(s, -1, 0)
        if block < 0:
            return -1
        page = block // PAGE_BLOCKS
        bit = 4 * <int> (block % PAGE_BLOCKS)
    take_quarters(s, <uint64_t> page, <uint32_t> 1 << bit)
    return page * PAGE_QUARTERS + bit


cdef void give_quarter(Space* s, uint64_t quarter) noexcept nogil:
    give_quarters(s, quarter // PAGE_QUARTERS, <uint32_t> 1 << quarter % PAGE_QUARTERS)
