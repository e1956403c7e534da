# Where a body lies while it arrives: in a run while it is small, in blocks from then on. Decides how much more room is made, and
# when; must not know who writes it, who reads it, or whether it will be stored.


cdef enum:
    FIRST_RUN = 4096        # bytes of the first run of a body whose length is unknown,
    SECOND_RUN = 16384      # and of the second; then it goes to blocks
    FIRST_LIST = 1024       # of which so many can be listed at first


cdef bint begin_run(Space* s, FillSlot* f, const Record* t, bytes key, bytes head, bytes meta, uint64_t run_bytes) noexcept:
    """The run that head and meta are in from now on, in the place of the one with the key alone."""
    cdef Record* old
    cdef Record* r
    if not take_lock(s, LOCK_WAIT):
        return False
    r = make_run(s, granules(run_bytes))
    if r != NULL:
        write_run(r, t, key, head, meta)
        old = fill_run(s, f)
        cdn_step(STEP_FILL_STARTED)
        store64_release(&f.run, granule_of(s, r))
        give_run(s, old)
    drop_lock(s)
    return r != NULL


cdef bint has_room(Space* s, const FillSlot* f, uint64_t total) noexcept nogil:
    cdef Record* r = fill_run(s, f)
    cdef uint64_t room = <uint64_t> r.run * GRANULE - lead(r.key_len, r.head_len, r.meta_len, r.body)
    if r.body and room < GRANULE:
        room = 0        # what rounding has left behind a list
    if f.nblocks - f.base < r.body:
        return total <= <uint64_t> f.nblocks * BLOCK_BYTES
    return total <= (<uint64_t> r.body + f.base) * BLOCK_BYTES + room


cdef bint room_for(Space* s, FillSlot* f, uint64_t total) noexcept nogil:
    """Memory for a body of `total` bytes: a run while it is small, blocks from then on."""
    cdef bint done
    if has_room(s, f, total):
        return True
    if not take_lock(s, LOCK_WAIT):
        return False
    done = grow_fill(s, f, total)
    drop_lock(s)
    return done


cdef bint grow_fill(Space* s, FillSlot* f, uint64_t total) noexcept nogil:
    cdef Record* r
    cdef uint64_t before
    # how long it will be; of an unknown length what is there already says most
    cdef uint64_t size = 2 * total if f.length == ~(<uint64_t> 0) or f.flags & FILL_DETACHED else f.length
    cdef int64_t block
    while not has_room(s, f, total):
        r = fill_run(s, f)
        before = lead(r.key_len, r.head_len, r.meta_len, 0)
        if r.body == 0 and before + total <= SECOND_RUN and not f.flags & FILL_DETACHED:
            if not renew_run(s, f, SECOND_RUN, 0):
                return False
            continue
        if r.body == 0 or f.nblocks - f.base == r.body:
            if not longer_list(s, f, total):
                return False
            continue
        block = make_block(
            s, <int64_t> fill_list(s, f)[f.nblocks - 1 - f.base] if f.nblocks > f.gone else -1,
            (size - min(size, <uint64_t> f.nblocks * BLOCK_BYTES)) // BLOCK_BYTES + 1)
        if block < 0:
            return False
        block_refs(s, block)[0] = 0
        fill_list(s, f)[f.nblocks - f.base] = <uint32_t> block
        f.nblocks += 1
    return True


cdef bint longer_list(Space* s, FillSlot* f, uint64_t total) noexcept nogil:
    """Room for the numbers of more blocks; what lies in the run goes to blocks."""
    cdef Record* r = fill_run(s, f)
    cdef uint64_t n = r.body
    if f.flags & FILL_DETACHED and f.gone - f.base > n // 2:
        memmove(record_blocks(r), record_blocks(r) + (f.gone - f.base), (f.nblocks - f.gone) * sizeof(uint32_t))
        f.base = f.gone
        return True
    n = FIRST_LIST if n < FIRST_LIST and total // BLOCK_BYTES < FIRST_LIST else MOST_BLOCKS
    while n > r.body and lead(r.key_len, r.head_len, r.meta_len, n) > MOST_RUN:
        n //= 2
    return n > r.body and renew_run(s, f, lead(r.key_len, r.head_len, r.meta_len, n), <uint32_t> n)


cdef bint renew_run(Space* s, FillSlot* f, uint64_t run_bytes, uint32_t nblocks) noexcept nogil:
    """Another run with the same key, head and meta: with more room, or for a list of so many blocks."""
    cdef Record* old = fill_run(s, f)
    cdef Record* r = make_run(s, granules(run_bytes))
    cdef uint64_t text = old.key_len + old.head_len + old.meta_len
    cdef uint64_t at = 0
    cdef uint64_t here
    cdef uint64_t made = 0
    cdef int64_t block = -1
    cdef uint16_t run
    if r == NULL:
        return False
    run = r.run
    memcpy(r, old, sizeof(Record) + text)
    r.run = run
    r.body = r.stretches = nblocks
    if nblocks == 0:
        memcpy(record_body(r), record_body(old), f.arrived)
    elif old.body:
        memcpy(record_blocks(r), record_blocks(old), (f.nblocks - f.base) * sizeof(uint32_t))
    else:
        while at < f.arrived:
            block = make_block(s, block, 1)
            if block < 0:
                while made > 0:
                    made -= 1
                    give_block(s, record_blocks(r)[made])
                give_run(s, r)
                return False
            record_blocks(r)[made] = <uint32_t> block
            made += 1
            here = min(f.arrived - at, <uint64_t> BLOCK_BYTES)
            memcpy(block_bytes(s, block), record_body(old) + at, here)
            at += here
    cdn_step(STEP_FILL_GROWN)
    store64_release(&f.run, granule_of(s, r))
    if old.body == 0:
        f.nblocks = made
    outgrow(s, f, old)
    return True


cdef void copy_in(Space* s, FillSlot* f, const char* data, uint64_t n) noexcept nogil:
    """Append what there is room for. `arrived` is the caller's to raise, so that nobody reads it before."""
    cdef uint64_t at = f.arrived
    cdef uint64_t whole = fill_whole(s, f)
    cdef uint64_t here
    while n:
        if at >= whole:
            memcpy(record_body(fill_run(s, f)) + (at - whole), data, n)
            break
        here = min(n, <uint64_t> BLOCK_BYTES - at % BLOCK_BYTES)
        memcpy(fill_block(s, f, at), data, here)
        at += here
        data += here
        n -= here
