# After a worker's death: what it left half-made is made anew from what is whole at any instant, which are the slots of the
# index, the pin tables and the fills of those who live; everything else is free. Decides who is heard, and in which order. Must
# not know how a worker died, or what a record says.


cdef enum:
    TAKEN = 0xffffffff      # FillSlot.next, meanwhile


cdef void claim_tables(Space* s) noexcept nogil:
    cdef uint64_t i
    cdef int which
    for i in range(segments_now(s)):
        claim_block(s, s.segments[i])
    for which in range(TABLES):
        for i in range(s.top.tables[which].blocks):
            claim_block(s, table_segments(s, which)[i])


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
                    store32_relaxed(&r.pins, 0)
                    store64_release(&b.slot[i], word & ~MOVING)
                    s.top.objects += 1
                    s.top.object_bytes += payload(r)
                    continue
                free_claim(s, r)
            clear_slot(s, b, i)     # the second slot of a record that was changing places


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
                store32_relaxed(&r.pins, PIN_RETIRED)
                s.top.retired += 1
            f.flags |= FILL_PUBLISHED
            f.nblocks = 0
            or32_seq_cst(&r.pins, PIN_FOLLOWED)
            if f.state <= S_STREAMING:
                swap32_seq_cst(&f.state, S_COMMITTED)   # behind what keeps `run`: who sees this takes hold of that
        else:
            if claim_run(s, f.run, 0):
                # its owner may have died between this and the slot; no slot: nobody may take it for a record
                or32_seq_cst(&r.pins, PIN_FILLING)
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
                or32_seq_cst(&record_at(s, f.old[k]).pins, PIN_FILLING)
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
            granule = load64_acquire(&pin[i])
            r = record_at(s, granule)
            if granule == 0 or <char*> r < s.pages or <char*> r >= s.pages + s.top.npages * PAGE_BYTES:
                continue
            if (not claimed(s, granule) and was_listed(s, r)
                    and load32_relaxed(&r.pins) & ~<uint32_t> PIN_FOLLOWED in (0, PIN_RETIRED)):
                if claim_record(s, granule):
                    store32_relaxed(&r.pins, PIN_RETIRED)
                    s.top.retired += 1


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
            if load32_relaxed(&r.pins) == PIN_RETIRED and not held(s, r):
                free_retired(s, r)
