# Blocks and quarters: taking those that are free and giving them back. Decides which of them is taken; must not know whose body
# lies there, or how room is made where there is none.


cdef extern from *:
    """
    /* Of a page of blocks, by the bits of its quarters: the lowest bit of each block of which any is taken. */
    static inline uint32_t cdn_begun(uint32_t taken) {
        taken |= taken >> 1;
        return (taken | taken >> 2) & 0x11111111u;
    }
    static inline int cdn_free_blocks(uint32_t taken) { return 8 - __builtin_popcount(cdn_begun(taken)); }
    static inline int cdn_loose(uint32_t taken) { return 4 * __builtin_popcount(cdn_begun(taken)) - __builtin_popcount(taken); }
    """
    uint32_t cdn_begun(uint32_t taken) noexcept nogil
    int cdn_free_blocks(uint32_t taken) noexcept nogil
    int cdn_loose(uint32_t taken) noexcept nogil


cdef inline uint8_t* block_refs(Space* s, uint64_t block) noexcept nogil:
    return &s.table[block // PAGE_BLOCKS].refs[block % PAGE_BLOCKS]


cdef inline uint32_t* taken_of(Space* s, uint64_t page) noexcept nogil:
    """Of a page of blocks: a bit for each quarter."""
    return <uint32_t*> &s.table[page].runs


cdef inline uint32_t bits_of_block(uint64_t block) noexcept nogil:
    """Those of its quarters, in the word of its page."""
    return <uint32_t> 15 << 4 * (block % PAGE_BLOCKS)


cdef inline uint32_t bit_of_quarter(uint64_t quarter) noexcept nogil:
    return <uint32_t> 1 << quarter % PAGE_QUARTERS


cdef inline int granules_of(uint32_t bits) noexcept nogil:
    """Of one quarter, or of one block."""
    return QUARTER_GRANULES if bits & (bits - 1) == 0 else BLOCK_GRANULES


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
        return taken_of(s, page)[0] & bits_of_block(block) != 0
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
    cdef int n = granules_of(bits)
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
    cdef int n = granules_of(bits)
    taken_of(s, page)[0] &= ~bits
    cdn_step(STEP_BLOCK_GIVEN)
    s.table[page].free += n
    s.top.used_granules -= n
    set_blocks(s, page)


cdef int64_t take_block(Space* s, int64_t after, uint64_t more) noexcept nogil:
    cdef int64_t block = pick_block(s, after, more)
    if block >= 0:
        take_quarters(s, <uint64_t> block // PAGE_BLOCKS, bits_of_block(<uint64_t> block))
        block_refs(s, <uint64_t> block)[0] = 0
    return block


cdef void give_block(Space* s, uint64_t block) noexcept nogil:
    give_quarters(s, block // PAGE_BLOCKS, bits_of_block(block))


cdef int64_t take_quarter(Space* s) noexcept nogil:
    """A free quarter: of a block that is begun, else of another one; -1: there is none."""
    cdef int64_t page = tree_fit(s, LOOSE, 1)
    cdef int64_t block
    cdef uint32_t taken
    cdef int bit
    if page >= 0:
        taken = taken_of(s, page)[0]
        bit = trailing_zeros(cdn_begun(taken) * 15 & ~taken)
    else:
        block = pick_block(s, -1, 0)
        if block < 0:
            return -1
        page = block // PAGE_BLOCKS
        bit = 4 * <int> (block % PAGE_BLOCKS)
    take_quarters(s, <uint64_t> page, <uint32_t> 1 << bit)
    return page * PAGE_QUARTERS + bit


cdef void give_quarter(Space* s, uint64_t quarter) noexcept nogil:
    give_quarters(s, quarter // PAGE_QUARTERS, bit_of_quarter(quarter))
