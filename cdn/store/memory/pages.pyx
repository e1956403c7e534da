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
    static inline int cdn_ctz(uint64_t v) { return __builtin_ctzll(v); }
    static inline int cdn_clz(uint64_t v) { return __builtin_clzll(v); }
    static inline void cdn_prefetch(const void* p) { __builtin_prefetch(p); }
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
    int cdn_ctz(uint64_t v) noexcept nogil
    int cdn_clz(uint64_t v) noexcept nogil
    void cdn_prefetch(const void* p) noexcept nogil


# -- the trees: which page has room ----------------------------------------------------------------------------------

cdef enum:
    RUNS = 0        # which tree
    BLOCKS = 1


cdef void tree_set(Space* s, int which, uint64_t page, uint16_t value) noexcept nogil:
    cdef uint16_t* level = s.tree[which] + s.top.level[0]
    cdef uint64_t at = page
    cdef uint64_t k
    cdef uint16_t* node
    cdef uint16_t most
    cdef int i
    level[at] = value
    for k in range(1, s.top.levels):
        at //= TREE_FANOUT
        node = level + at * TREE_FANOUT
        most = 0
        for i in range(TREE_FANOUT):
            if node[i] > most:
                most = node[i]
        level = s.tree[which] + s.top.level[k]
        if level[at] == most:
            return
        level[at] = most


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


# -- one page's bitmap ------------------------------------------------------------------------------------------------

cdef inline uint64_t* page_bitmap(Space* s, uint64_t page) noexcept nogil:
    return s.bitmaps + page * PAGE_WORDS


cdef inline int next_bit(const uint64_t* bits, int pos, uint64_t flip) noexcept nogil:
    """The first used (flip 0) or free (flip ~0) granule at or behind pos; PAGE_GRANULES when there is none."""
    cdef uint64_t word
    while pos < PAGE_GRANULES:
        word = (bits[pos >> 6] ^ flip) >> (pos & 63)
        if word:
            return pos + cdn_ctz(word)
        pos = (pos | 63) + 1
    return PAGE_GRANULES


cdef int longest_run(const uint64_t* bits) noexcept nogil:
    cdef int pos = 0
    cdef int end
    cdef int most = 0
    while True:
        pos = next_bit(bits, pos, ~<uint64_t> 0)
        if PAGE_GRANULES - pos <= most:
            return most
        end = next_bit(bits, pos, 0)
        if end - pos > most:
            most = end - pos
        pos = end


cdef int find_run(const uint64_t* bits, int n, int* end) noexcept nogil:
    """Where the first free run of at least n granules begins, and its end; -1: there is none."""
    cdef int pos = 0
    while True:
        pos = next_bit(bits, pos, ~<uint64_t> 0)
        if PAGE_GRANULES - pos < n:
            return -1
        end[0] = next_bit(bits, pos, 0)
        if end[0] - pos >= n:
            return pos
        pos = end[0]


cdef int free_before(const uint64_t* bits, int pos) noexcept nogil:
    """Where the free run that ends at pos begins."""
    cdef uint64_t word
    while pos > 0:
        word = bits[(pos - 1) >> 6] << (63 - ((pos - 1) & 63))
        if word:
            return pos - cdn_clz(word)
        pos = (pos - 1) & ~63
    return 0


cdef void flip_bits(uint64_t* bits, int pos, int n) noexcept nogil:
    cdef int here
    cdef uint64_t mask
    while n > 0:
        here = 64 - (pos & 63)
        if here > n:
            here = n
        mask = ~<uint64_t> 0 if here == 64 else ((<uint64_t> 1 << here) - 1) << (pos & 63)
        bits[pos >> 6] ^= mask
        pos += here
        n -= here


# -- runs and whole pages ---------------------------------------------------------------------------------------------

cdef inline uint64_t page_of(Space* s, const void* p) noexcept nogil:
    return <uint64_t> (<const char*> p - s.pages) >> PAGE_SHIFT


cdef inline char* page_bytes(Space* s, uint64_t page) noexcept nogil:
    return s.pages + (page << PAGE_SHIFT)


cdef inline uint64_t granule_of(Space* s, const Record* r) noexcept nogil:
    return <uint64_t> (<const char*> r - s.base) >> GRANULE_SHIFT


cdef inline Record* record_at(Space* s, uint64_t granule) noexcept nogil:
    return <Record*> (s.base + (granule << GRANULE_SHIFT))


cdef Record* carve(Space* s, uint64_t page, int n) noexcept nogil:
    """n granules of a page that is known to have such a run. Only `run` and `pins` of the result are set."""
    cdef uint64_t* bits = page_bitmap(s, page)
    cdef int end = 0
    cdef int at = find_run(bits, n, &end)
    cdef Record* r = <Record*> (page_bytes(s, page) + at * GRANULE)
    flip_bits(bits, at, n)
    cdn_step(STEP_CARVED)
    s.table[page].kind = PAGE_RUNS
    s.table[page].free -= n
    s.top.used_granules += n
    if end - at >= s.tree[RUNS][page]:
        tree_set(s, RUNS, page, longest_run(bits))
    r.run = n
    r.pins = PIN_FILLING
    return r


cdef Record* take_run(Space* s, int n) noexcept nogil:
    cdef int64_t page = tree_first(s, RUNS, n)
    return NULL if page < 0 else carve(s, page, n)


cdef void give_granules(Space* s, const void* p, int n) noexcept nogil:
    cdef uint64_t page = page_of(s, p)
    cdef uint64_t* bits = page_bitmap(s, page)
    cdef int at = <int> ((<const char*> p - page_bytes(s, page)) >> GRANULE_SHIFT)
    cdef int merged
    flip_bits(bits, at, n)
    cdn_step(STEP_GIVEN)
    s.top.used_granules -= n
    s.table[page].free += n
    if s.table[page].free == PAGE_GRANULES:
        s.table[page].kind = PAGE_FREE
        tree_set(s, RUNS, page, PAGE_GRANULES)
    else:
        merged = next_bit(bits, at, 0) - free_before(bits, at)
        if merged > s.tree[RUNS][page]:
            tree_set(s, RUNS, page, merged)


cdef inline char* block_bytes(Space* s, uint64_t block) noexcept nogil:
    return s.pages + block * BLOCK_BYTES


cdef inline uint16_t* block_refs(Space* s, uint64_t block) noexcept nogil:
    return &s.table[block // PAGE_BLOCKS].refs[block % PAGE_BLOCKS]


cdef inline bint block_taken(Space* s, uint64_t block) noexcept nogil:
    cdef uint64_t page = block // PAGE_BLOCKS
    if s.table[page].kind == PAGE_BLOCK:
        return page_bitmap(s, page)[block % PAGE_BLOCKS * (PAGE_WORDS // PAGE_BLOCKS)] != 0
    return s.table[page].kind != PAGE_FREE


cdef int64_t pick_block(Space* s, int64_t after, uint64_t more) noexcept nogil:
    """A free block: the one behind `after` (-1: none), else for what is long (`more` blocks to come) the beginning of
    a free stretch at the upper end, else one of a page begun already. -1: there is none."""
    cdef int64_t page
    cdef uint64_t block = <uint64_t> (after + 1)
    cdef int back
    if after >= 0 and block < <uint64_t> s.top.npages * PAGE_BLOCKS and not block_taken(s, block):
        return <int64_t> block
    page = tree_last(s, RUNS, PAGE_GRANULES) if more >= PAGE_BLOCKS else -1
    if page < 0:
        page = tree_last(s, BLOCKS, 1)
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


cdef int64_t take_block(Space* s, int64_t after, uint64_t more) noexcept nogil:
    cdef int64_t block = pick_block(s, after, more)
    cdef uint64_t page
    if block < 0:
        return -1
    page = <uint64_t> block // PAGE_BLOCKS
    if s.table[page].kind == PAGE_FREE:
        s.table[page].kind = PAGE_BLOCK
        tree_set(s, RUNS, page, 0)
    flip_bits(page_bitmap(s, page), <int> (block % PAGE_BLOCKS) * BLOCK_GRANULES, BLOCK_GRANULES)
    cdn_step(STEP_BLOCK_TAKEN)
    s.table[page].free -= BLOCK_GRANULES
    s.top.used_granules += BLOCK_GRANULES
    block_refs(s, block)[0] = 0
    tree_set(s, BLOCKS, page, s.table[page].free // BLOCK_GRANULES)
    return block


cdef void give_block(Space* s, uint64_t block) noexcept nogil:
    cdef uint64_t page = block // PAGE_BLOCKS
    flip_bits(page_bitmap(s, page), <int> (block % PAGE_BLOCKS) * BLOCK_GRANULES, BLOCK_GRANULES)
    cdn_step(STEP_BLOCK_GIVEN)
    s.table[page].free += BLOCK_GRANULES
    s.top.used_granules -= BLOCK_GRANULES
    if s.table[page].free == PAGE_GRANULES:
        s.table[page].kind = PAGE_FREE
        tree_set(s, BLOCKS, page, 0)
        tree_set(s, RUNS, page, PAGE_GRANULES)
    else:
        tree_set(s, BLOCKS, page, s.table[page].free // BLOCK_GRANULES)
