# Whose each granule, block and quarter is, found out anew after a worker's death. Decides that what two claim is the first one's;
# must not know which claims there are, or in what order they are heard.
#
# Which granules are claimed is marked outside of the mapping, in a 64th of its size at most for as long as it takes: what is
# not claimed yet may be somebody's, so the pages are not written to before all have been heard.


cdef enum:
    SCRATCH_WORDS = 256     # of a page: a bit for each of its granules


cdef inline uint64_t* marks_of(Space* s, uint64_t page) noexcept nogil:
    return s.scratch + page * SCRATCH_WORDS


cdef int next_mark(const uint64_t* bits, int pos) noexcept nogil:
    """The first claimed granule at or behind pos; PAGE_GRANULES when there is none."""
    cdef uint64_t word
    while pos < PAGE_GRANULES:
        word = bits[pos >> 6] >> (pos & 63)
        if word:
            return pos + trailing_zeros(word)
        pos = (pos | 63) + 1
    return PAGE_GRANULES


cdef void flip_marks(uint64_t* bits, int pos, int n) noexcept nogil:
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


cdef bint claimed(Space* s, uint64_t granule) noexcept nogil:
    cdef char* at = s.base + (granule << GRANULE_SHIFT)
    cdef uint64_t page = page_of(s, at)
    cdef int pos = <int> ((at - page_bytes(s, page)) >> GRANULE_SHIFT)
    return s.table[page].kind == PAGE_RUNS and marks_of(s, page)[pos >> 6] >> (pos & 63) & 1


cdef bint claim_run(Space* s, uint64_t granule, uint64_t least) noexcept nogil:
    """Mark a run as used. False: there can be none, or something else lies there."""
    cdef char* at = s.base + (granule << GRANULE_SHIFT)
    cdef Record* r = <Record*> at
    cdef uint64_t page
    cdef int pos
    if at < s.pages or at >= s.pages + s.top.npages * PAGE_BYTES:
        return False
    page = page_of(s, at)
    pos = <int> ((at - page_bytes(s, page)) >> GRANULE_SHIFT)
    if (pos < LINE_GRANULES or r.run == 0 or pos + r.run > PAGE_GRANULES or <uint64_t> r.run * GRANULE < least
            or (s.table[page].kind != PAGE_FREE and s.table[page].kind != PAGE_RUNS)
            or next_mark(marks_of(s, page), pos) < pos + r.run):
        return False
    s.table[page].kind = PAGE_RUNS
    s.table[page].free -= r.run
    s.top.used_granules += r.run
    flip_marks(marks_of(s, page), pos, r.run)
    return True


cdef void unclaim_run(Space* s, Record* r) noexcept nogil:
    cdef uint64_t page = page_of(s, r)
    flip_marks(marks_of(s, page), <int> ((<char*> r - page_bytes(s, page)) >> GRANULE_SHIFT), r.run)
    s.table[page].free += r.run
    s.top.used_granules -= r.run
    if s.table[page].free == PAGE_GRANULES:
        s.table[page].kind = PAGE_FREE


cdef bint claim_quarter_bits(Space* s, uint64_t page, uint32_t bits) noexcept nogil:
    """A quarter or a block of a page of blocks. False: there is none, or something else lies there."""
    if page >= s.top.npages or (s.table[page].kind != PAGE_FREE and s.table[page].kind != PAGE_BLOCK):
        return False
    if s.table[page].kind == PAGE_FREE:
        taken_of(s, page)[0] = 0
    if taken_of(s, page)[0] & bits:
        return False
    s.table[page].kind = PAGE_BLOCK
    s.table[page].free -= granules_of(bits)
    s.top.used_granules += granules_of(bits)
    taken_of(s, page)[0] |= bits
    return True


cdef void unclaim_quarter_bits(Space* s, uint64_t page, uint32_t bits) noexcept nogil:
    taken_of(s, page)[0] &= ~bits
    s.table[page].free += granules_of(bits)
    s.top.used_granules -= granules_of(bits)
    if s.table[page].free == PAGE_GRANULES:
        s.table[page].kind = PAGE_FREE


cdef bint claim_block(Space* s, uint64_t block) noexcept nogil:
    if not claim_quarter_bits(s, block // PAGE_BLOCKS, bits_of_block(block)):
        return False
    block_refs(s, block)[0] = 0
    return True


cdef void unclaim_quarters(Space* s, Record* r, int n) noexcept nogil:
    """The first n of a record."""
    cdef uint64_t quarter
    cdef int i
    for i in range(n):
        quarter = record_quarters(r)[i]
        unclaim_quarter_bits(s, quarter // PAGE_QUARTERS, bit_of_quarter(quarter))


cdef int claim_quarters(Space* s, Record* r) noexcept nogil:
    """How many of a record's, up to the first that is somebody else's."""
    cdef int i
    for i in range(<int> r.quarters):
        if not claim_quarter_bits(s, record_quarters(r)[i] // PAGE_QUARTERS, bit_of_quarter(record_quarters(r)[i])):
            return i
    return r.quarters


cdef uint64_t claim_stretches(Space* s, const Record* r) noexcept nogil:
    """How many blocks of a record's, up to the first that is somebody else's."""
    cdef const uint32_t* list = record_blocks(r)
    cdef uint64_t n = 0
    cdef uint64_t i
    cdef uint64_t k
    for i in range(r.stretches):
        for k in range(length_of(list[i])):
            if not claim_block(s, first_of(list[i]) + k):
                return n
            n += 1
    return n


cdef void unclaim_stretches(Space* s, const Record* r, uint64_t n) noexcept nogil:
    """The first n blocks of a record."""
    cdef const uint32_t* list = record_blocks(r)
    cdef uint64_t i = 0
    cdef uint64_t k
    while n > 0:
        for k in range(min(n, length_of(list[i]))):
            unclaim_quarter_bits(s, (first_of(list[i]) + k) // PAGE_BLOCKS, bits_of_block(first_of(list[i]) + k))
            n -= 1
        i += 1


cdef bint claim_record(Space* s, uint64_t granule) noexcept nogil:
    """A record with its body; several may share one."""
    cdef Record* r = record_at(s, granule)
    cdef uint32_t* list
    cdef uint64_t i
    if (<char*> r < s.pages or <char*> r >= s.pages + s.top.npages * PAGE_BYTES or r.body > MOST_BLOCKS
            or r.stretches > r.body):
        return False
    if not claim_run(s, granule, lead(r.key_len, r.head_len, r.meta_len, r.stretches + r.quarters)):
        return False
    i = claim_quarters(s, r)
    if i < r.quarters:
        unclaim_quarters(s, r, <int> i)
        unclaim_run(s, r)
        return False
    if r.body == 0:
        return True
    list = record_blocks(r)
    i = first_of(list[0])
    if i // PAGE_BLOCKS < s.top.npages and s.table[i // PAGE_BLOCKS].kind == PAGE_BLOCK:
        if block_taken(s, i) and block_refs(s, i)[0]:
            block_refs(s, i)[0] += 1
            return True
    i = claim_stretches(s, r)
    if i != r.body:
        unclaim_stretches(s, r, i)
        unclaim_quarters(s, r, r.quarters)
        unclaim_run(s, r)
        return False
    block_refs(s, first_of(list[0]))[0] = 1
    return True


cdef void free_claim(Space* s, Record* r) noexcept nogil:
    cdef uint8_t* refs
    if r.body:
        refs = block_refs(s, first_of(record_blocks(r)[0]))
        refs[0] -= 1
        if refs[0] == 0:
            unclaim_stretches(s, r, r.body)
    unclaim_quarters(s, r, r.quarters)
    unclaim_run(s, r)


cdef void list_runs(Space* s, uint64_t page) noexcept nogil:
    """A page's list of runs, from what is claimed there."""
    cdef Page* p = &s.table[page]
    cdef const uint64_t* bits = marks_of(s, page)
    cdef Span* spans = spans_of(s, page)
    cdef int lowest = next_mark(bits, 0)
    cdef int pos = lowest
    cdef int n = 0
    while pos < PAGE_GRANULES:
        n += 1
        pos = next_mark(bits, pos + (<Record*> (page_bytes(s, page) + pos * GRANULE)).run)
    p.runs = n
    p.lines = (n + LINE_SPANS - 1) // LINE_SPANS        # no more than before, so that they lie below all runs
    p.free -= p.lines * LINE_GRANULES
    s.top.used_granules += p.lines * LINE_GRANULES
    pos = lowest
    while n > 0:
        n -= 1
        spans[n].at, spans[n].n = pos, (<Record*> (page_bytes(s, page) + pos * GRANULE)).run
        pos = next_mark(bits, pos + spans[n].n)
