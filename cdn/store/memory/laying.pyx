# A record with its body into memory that is taken for it. Decides what is shared with a record that is replaced; must not know
# whether it will be published, or under which key anything else lies.


cdef enum:
    MOST_REFS = 255         # records that share a body


cdef Record* lay(Memory memory, Record* t, bytes key, bytes head, bytes meta, const char* body) except? NULL:
    """A run (and blocks) with everything in it, not published; NULL: no room. Hash, length and times are in t."""
    cdef uint64_t nblocks
    cdef uint64_t nquarters
    cdef uint64_t run_bytes
    cdef uint64_t i
    cdef uint64_t here
    cdef Record* r
    if (t.body_length > largest_body(&memory.s)
            or not plan(&memory.s, t.key_len, t.head_len, t.meta_len, t.body_length, &nblocks, &nquarters, &run_bytes)
            or not make_pieces(&memory.s, &nblocks, &nquarters, &run_bytes)):
        return NULL
    t.body, t.quarters, t.stretches = nblocks, nquarters, join_blocks(laid, nblocks, NULL)
    r = make_run(&memory.s, granules(run_bytes - sizeof(uint32_t) * (nblocks - t.stretches)))
    if r == NULL:
        give_pieces(&memory.s, nblocks, nblocks + nquarters)
        return NULL
    write_run(r, t, key, head, meta)
    join_blocks(laid, nblocks, record_blocks(r))
    memcpy(record_quarters(r), laid + nblocks, nquarters * sizeof(uint32_t))
    for i in range(nblocks):
        here = min(<uint64_t> BLOCK_BYTES, t.body_length - i * BLOCK_BYTES)
        memcpy(block_bytes(&memory.s, laid[i]), body + i * BLOCK_BYTES, here)
    if nblocks:
        block_refs(&memory.s, laid[0])[0] = 1
    here = nblocks * BLOCK_BYTES
    for i in range(nquarters):
        memcpy(quarter_bytes(&memory.s, record_quarters(r)[i]), body + here, min(<uint64_t> QUARTER_BYTES, t.body_length - here))
        here += QUARTER_BYTES
    if here < t.body_length:
        memcpy(record_body(r), body + here, t.body_length - here)
    return r


cdef Record* lay_over(Memory memory, Record* t, Record* old, bytes key, bytes head, bytes meta) except? NULL:
    """The same over the body of `old`, which is pinned: blocks are shared, the rest is copied."""
    cdef uint64_t whole = old.body * <uint64_t> BLOCK_BYTES
    cdef uint64_t tail = 0 if old.body_length <= whole else old.body_length - whole
    cdef uint64_t nquarters = tail // QUARTER_BYTES
    cdef uint64_t run_bytes = lead(t.key_len, t.head_len, t.meta_len, old.stretches + nquarters) + tail % QUARTER_BYTES
    cdef uint64_t i
    cdef Record* r
    cdef bytes body
    # the new head is so much longer that the body has to be laid anew, or there are too many to share it
    if run_bytes > MOST_RUN or (old.body and block_refs(&memory.s, first_of(record_blocks(old)[0]))[0] == MOST_REFS):
        body = read_body(&memory.s, old, 0, old.body_length)
        return lay(memory, t, key, head, meta, PyBytes_AS_STRING(body))
    r = make_run(&memory.s, granules(run_bytes))
    if r == NULL:
        return NULL
    t.quarters = nquarters
    write_run(r, t, key, head, meta)
    if not make_quarters(&memory.s, r):
        give_run(&memory.s, r)
        return NULL
    for i in range(nquarters):
        copy_body(&memory.s, old, whole, quarter_bytes(&memory.s, record_quarters(r)[i]), QUARTER_BYTES)
        whole += QUARTER_BYTES
    copy_body(&memory.s, old, whole, record_body(r), tail % QUARTER_BYTES)
    if old.body:
        memcpy(record_blocks(r), record_blocks(old), old.stretches * sizeof(uint32_t))
        block_refs(&memory.s, first_of(record_blocks(r)[0]))[0] += 1
    return r
