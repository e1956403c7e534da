# What has arrived, laid out for publishing. Decides whether it stays where it lies or moves to another run, and which of its bytes
# go to quarters; must not know whether it may be published, or who waits for it.


cdef enum:
    WORTH_JOINING = 4       # entries that a list becomes shorter by: then it is laid anew


cdef Record* settle(Space* s, FillSlot* f, Record* t, bytes key, bytes head, bytes meta) noexcept:
    """What has arrived, laid out for publishing; NULL: no room, and everything is as it was."""
    cdef Record* old = fill_run(s, f)
    cdef uint64_t nblocks
    cdef uint64_t nquarters
    cdef uint64_t run_bytes
    cdef uint64_t shared
    cdef uint64_t stretches
    cdef uint64_t whole
    cdef uint64_t listed
    cdef int64_t block = -1
    cdef int spare
    cdef Record* r
    if not plan(s if f.followers == 0 else NULL, t.key_len, t.head_len, t.meta_len, t.body_length,
                &nblocks, &nquarters, &run_bytes):
        return NULL
    t.body, t.quarters, t.stretches = nblocks, nquarters, nblocks
    whole = nblocks * BLOCK_BYTES
    listed = whole + nquarters * QUARTER_BYTES
    shared = min(nblocks, <uint64_t> f.nblocks)
    stretches = join_blocks(fill_list(s, f), shared, NULL)
    if (old.head_len == t.head_len and old.meta_len == t.meta_len and old.body == nblocks == f.nblocks and nquarters == 0
            and nblocks - stretches < WORTH_JOINING and (f.followers == 0 or same_text(old, head, meta))):
        # it lies where it belongs: cut what is too much
        spare = old.run - granules(run_bytes)
        if spare > 0:
            cut_run(s, old, spare)
        write_run(old, t, key, head, meta)
        if nblocks:
            block_refs(s, record_blocks(old)[0])[0] = 1
        return old
    if nblocks > f.nblocks:         # the tail was to lie in the run, but the head has grown
        block = make_block(s, <int64_t> fill_list(s, f)[f.nblocks - 1] if f.nblocks else -1, 1)
        if block < 0:
            return NULL
        stretches += 1
        fill_copy(s, f, f.nblocks * BLOCK_BYTES, block_bytes(s, block), t.body_length - f.nblocks * BLOCK_BYTES)
    t.stretches = stretches
    r = make_run(s, granules(run_bytes - sizeof(uint32_t) * (nblocks - stretches)))
    if r == NULL:
        if block >= 0:
            give_block(s, block)
        return NULL
    write_run(r, t, key, head, meta)
    if not make_quarters(s, r):
        if block >= 0:
            give_block(s, block)
        give_run(s, r)
        return NULL
    if nblocks:
        join_blocks(fill_list(s, f), shared, record_blocks(r))
        if block >= 0:
            record_blocks(r)[stretches - 1] = <uint32_t> block
        block_refs(s, first_of(record_blocks(r)[0]))[0] = 1
    while whole < listed:
        fill_copy(s, f, whole, quarter_bytes(s, record_quarters(r)[nquarters - (listed - whole) // QUARTER_BYTES]),
                  min(<uint64_t> QUARTER_BYTES, t.body_length - whole))
        whole += QUARTER_BYTES
    if t.body_length > listed:
        fill_copy(s, f, listed, record_body(r), t.body_length - listed)
    # the bytes of its other blocks, of one at most if anybody follows, are in quarters and in the run now
    if f.nblocks > shared and f.followers:
        f.extra = fill_list(s, f)[shared] + 1
    while f.nblocks > shared:
        f.nblocks -= 1
        if f.followers == 0:
            give_block(s, fill_list(s, f)[f.nblocks])
    store64_release(&f.run, granule_of(s, r))
    outgrow(s, f, old)
    return r
