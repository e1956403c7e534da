# After a worker's death: what it left half-made is made anew from what is whole at any instant, which are the slots of the
# index, the pin tables and the fills of those who live. Everything else is free.
#
# Which granules are claimed is marked outside of the mapping, in a 64th of its size at most for as long as it takes: what is
# not claimed yet may be somebody's, so the pages are not written to before all have been heard.

cdef enum:
    SCRATCH_WORDS = 256     # of a page: a bit for each of its granules
    TAKEN = 0xffffffff      # FillSlot.next, meanwhile


cdef inline uint64_t* marks_of(Space* s, uint64_t page) noexcept nogil:
    return s.scratch + page * SCRATCH_WORDS


cdef int next_mark(const uint64_t* bits, int pos) noexcept nogil:
    """The first claimed granule at or behind pos; PAGE_GRANULES when there is none."""
    cdef uint64_t word
    while pos < PAGE_GRANULES:
        word = bits[pos >> 6] >> (pos & 63)
        if word:
            return pos + cdn_ctz(word)
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


cdef bint claim_block(Space* s, uint64_t block) noexcept nogil:
    cdef uint64_t page = block // PAGE_BLOCKS
    if page >= s.top.npages or s.table[page].kind == PAGE_RUNS or block_taken(s, block):
        return False
    if s.table[page].kind == PAGE_FREE:
        taken_of(s, page)[0] = 0
    s.table[page].kind = PAGE_BLOCK
    s.table[page].free -= BLOCK_GRANULES
    s.top.used_granules += BLOCK_GRANULES
    taken_of(s, page)[0] |= <uint32_t> 15 << 4 * (block % PAGE_BLOCKS)
    block_refs(s, block)[0] = 0
    return True


cdef void unclaim_block(Space* s, uint64_t block) noexcept nogil:
    cdef uint64_t page = block // PAGE_BLOCKS
    taken_of(s, page)[0] &= ~(<uint32_t> 15 << 4 * (block % PAGE_BLOCKS))
    s.table[page].free += BLOCK_GRANULES
    s.top.used_granules -= BLOCK_GRANULES
    if s.table[page].free == PAGE_GRANULES:
        s.table[page].kind = PAGE_FREE


cdef bint claim_quarter(Space* s, uint64_t quarter) noexcept nogil:
    cdef uint64_t page = quarter // PAGE_QUARTERS
    cdef uint32_t bit = <uint32_t> 1 << quarter % PAGE_QUARTERS
    if (page >= s.top.npages or (s.table[page].kind != PAGE_FREE and s.table[page].kind != PAGE_BLOCK)
            or (s.table[page].kind == PAGE_BLOCK and taken_of(s, page)[0] & bit)):
        return False
    if s.table[page].kind == PAGE_FREE:
        taken_of(s, page)[0] = 0
    s.table[page].kind = PAGE_BLOCK
    s.table[page].free -= QUARTER_GRANULES
    s.top.used_granules += QUARTER_GRANULES
    taken_of(s, page)[0] |= bit
    return True


cdef void unclaim_quarters(Space* s, Record* r, int n) noexcept nogil:
    """The first n of a record."""
    cdef uint64_t quarter
    cdef int i
    for i in range(n):
        quarter = record_quarters(r)[i]
        taken_of(s, quarter // PAGE_QUARTERS)[0] &= ~(<uint32_t> 1 << quarter % PAGE_QUARTERS)
        s.table[quarter // PAGE_QUARTERS].free += QUARTER_GRANULES
        s.top.used_granules -= QUARTER_GRANULES
        if s.table[quarter // PAGE_QUARTERS].free == PAGE_GRANULES:
            s.table[quarter // PAGE_QUARTERS].kind = PAGE_FREE


cdef int claim_quarters(Space* s, Record* r) noexcept nogil:
    """How many of a record's, up to the first that is somebody else's."""
    cdef int i
    for i in range(<int> r.quarters):
        if not claim_quarter(s, record_quarters(r)[i]):
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
            unclaim_block(s, first_of(list[i]) + k)
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


cdef void claim_index(Space* s) noexcept nogil:
    cdef uint64_t at
    cdef uint64_t word
    cdef int i
    cdef Bucket* b
    cdef Record* r
    for at in range(buckets_now(s)):
        b = bucket_at(s, at)
        for i in range(SLOTS):
            word = b.slot[i]
            if word == 0:
                continue
            r = record_at(s, word & GRANULE_MASK)
            if claim_record(s, word & GRANULE_MASK):
                if slot_word(s, r) == word & ~MOVING and belongs(s, r, at, s.top.extent):
                    cdn_store32(&r.pins, 0)
                    cdn_store64(&b.slot[i], word & ~MOVING)
                    s.top.objects += 1
                    s.top.object_bytes += payload(r)
                    continue
                free_claim(s, r)
            clear_slot(s, b, i)     # the second slot of a record that was changing places


cdef void free_claim(Space* s, Record* r) noexcept nogil:
    cdef uint8_t* refs
    if r.body:
        refs = block_refs(s, first_of(record_blocks(r)[0]))
        refs[0] -= 1
        if refs[0] == 0:
            unclaim_stretches(s, r, r.body)
    unclaim_quarters(s, r, r.quarters)
    unclaim_run(s, r)


cdef void claim_fills(Space* s) noexcept nogil:
    """Those of the living, and what followers still read; a dead owner's others are free with it."""
    cdef uint64_t i
    cdef uint64_t k
    cdef FillSlot* f
    cdef Record* r
    cdef bint alive
    s.top.filling = 0
    for i in range(fill_slots(s)):
        fill_slot(s, i).next = 0
    for i in range(s.top.nfills):
        f = fill_at(s, i)
        if f == NULL:
            continue
        alive = f.owner != NO_OWNER and (f.owner >= MOST_WORKERS or worker_slot(s, <int> f.owner).attached)
        r = fill_run(s, f)
        if not alive and f.followers == 0:
            fill_tags(s)[i] = 0
            continue
        s.top.filling += 1
        f.next = TAKEN
        if f.flags & FILL_PUBLISHED or claimed(s, f.run):
            # in the index, or replaced there: then only this keeps it
            if not claimed(s, f.run) and claim_record(s, f.run):
                cdn_store32(&r.pins, PIN_RETIRED)
                s.top.retired += 1
            f.flags |= FILL_PUBLISHED
            f.nblocks = 0
            if f.state <= S_STREAMING:
                cdn_store32(&f.state, S_COMMITTED)
            cdn_or32(&r.pins, PIN_FOLLOWED)
        else:
            if claim_run(s, f.run, 0):
                # its owner may have died between this and the slot; no slot: nobody may take it for a record
                cdn_or32(&r.pins, PIN_FILLING)
                r.quarters = claim_quarters(s, r)
            # one that was laid out anew may have fewer
            f.nblocks = min(f.nblocks, <uint32_t> r.body + f.base)
            for k in range(f.gone, f.nblocks):
                if not claim_block(s, fill_number(s, f, k)):
                    f.nblocks = <uint32_t> k    # its owner died while it was laid out anew
                    break
        for k in range(OLD_RUNS):
            if f.old[k] and not claim_run(s, f.old[k], 0):
                f.old[k] = 0
            elif f.old[k]:
                cdn_or32(&record_at(s, f.old[k]).pins, PIN_FILLING)
        if f.extra and not claim_block(s, f.extra - 1):
            f.extra = 0
    s.top.fill_free = 0
    for i in range(fill_slots(s), 0, -1):
        if fill_slot(s, i - 1).next != TAKEN:
            link_fills(s, i - 1, 1)


cdef bint was_listed(Space* s, const Record* r) noexcept nogil:
    """Whether its page listed a run there when the owner of the lock died, perhaps in the middle of a change to the list."""
    cdef uint64_t page = page_of(s, r)
    cdef const Page* p = &s.table[page]
    cdef const Span* spans = spans_of(s, page)
    cdef int at = <int> ((<const char*> r - page_bytes(s, page)) >> GRANULE_SHIFT)
    cdef int i
    for i in range(min(<int> p.runs + 1, <int> p.lines * LINE_SPANS)):
        if spans[i].at == at:
            return True
    return False


cdef void claim_pinned(Space* s) noexcept nogil:
    """What has left the index and is held still. Tables also name what is gone: pins of an instant, and what is not paid yet."""
    cdef uint64_t worker
    cdef uint64_t i
    cdef uint64_t granule
    cdef uint64_t n = s.top.pin_lines * PIN_WAYS
    cdef uint64_t* pin
    cdef Record* r
    for worker in range(s.top.highest):
        if not worker_slot(s, <int> worker).attached:
            continue
        pin = <uint64_t*> (s.base + s.top.pins) + worker * n
        for i in range(n):
            granule = cdn_load64(&pin[i])
            r = record_at(s, granule)
            if granule == 0 or <char*> r < s.pages or <char*> r >= s.pages + s.top.npages * PAGE_BYTES:
                continue
            if (not claimed(s, granule) and was_listed(s, r)
                    and cdn_load32(&r.pins) & ~<uint32_t> PIN_FOLLOWED in (0, PIN_RETIRED)):
                if claim_record(s, granule):
                    cdn_store32(&r.pins, PIN_RETIRED)
                    s.top.retired += 1


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


cdef void claim_tables(Space* s) noexcept nogil:
    cdef uint64_t i
    cdef int which
    for i in range(segments_now(s)):
        claim_block(s, s.segments[i])
    for which in range(TABLES):
        for i in range(s.top.tables[which].blocks):
            claim_block(s, table_segments(s, which)[i])


cdef bint mended(Space* s) noexcept nogil:
    """Rebuild what the owner of the lock left when it died; the lock is held. False: there is no memory for it."""
    cdef uint64_t page
    cdef size_t scratch = s.top.npages * SCRATCH_WORDS * sizeof(uint64_t)
    cdef void* marks = mmap(NULL, scratch, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if marks == MAP_FAILED:
        return False
    s.scratch = <uint64_t*> marks
    s.depth = 1
    s.top.used_granules = s.top.objects = s.top.object_bytes = s.top.retired = 0
    for page in range(s.top.npages):
        # how long its list was is needed for a while yet
        memset(s.table[page].refs, 0, sizeof(s.table[page].refs))
        if s.table[page].kind == PAGE_BLOCK:
            taken_of(s, page)[0] = 0
        s.table[page].kind = PAGE_FREE
        s.table[page].free = PAGE_GRANULES
    claim_tables(s)
    claim_index(s)
    restore_queues(s)
    # a pin may be one of an instant, of what was found and gone again: it comes last
    claim_fills(s)
    claim_pinned(s)
    s.top.loose = s.top.idle = 0
    memset(s.tree[RUNS], 0, TREES * s.top.tree_entries * sizeof(uint16_t))
    for page in range(s.top.npages):
        if s.table[page].kind == PAGE_RUNS:
            list_runs(s, page)
        elif s.table[page].kind == PAGE_FREE:
            s.table[page].runs = s.table[page].lines = 0
    for page in range(s.top.npages):
        if s.table[page].kind == PAGE_BLOCK:
            set_blocks(s, page)
        elif s.table[page].kind == PAGE_RUNS or s.table[page].kind == PAGE_FREE:
            tree_set(s, RUNS, page, longest_run(s, page))
            tree_set(s, FREES, page, s.table[page].free if s.table[page].kind == PAGE_RUNS else 0)
    munmap(marks, scratch)
    s.scratch = NULL
    s.runners = 0
    s.top.broken = 0
    s.top.rebuilt += 1
    s.depth = 0
    return True


cdef void sweep_retired(Space* s) noexcept nogil:
    """Records that have left the index and that nobody holds, because who was to free them has died."""
    cdef uint64_t page
    cdef Record* r
    cdef int k
    for page in range(s.top.npages):
        k = s.table[page].runs if s.table[page].kind == PAGE_RUNS else 0
        while k > 0:
            k -= 1
            r = record_of(s, page, k)
            if cdn_load32(&r.pins) == PIN_RETIRED and not held(s, r):
                free_retired(s, r)
