# A record and its body: how they are laid, found, held and given back. Knows runs and blocks; not who is evicted.


cdef inline uint64_t lead(uint64_t key_len, uint64_t head_len, uint64_t meta_len, uint64_t nblocks) noexcept nogil:
    """Bytes of a run before the body that lies in it."""
    cdef uint64_t n = sizeof(Record) + key_len + head_len + meta_len
    return n if nblocks == 0 else rounded(n, 4) + 4 * nblocks


cdef inline uint32_t* record_blocks(const Record* r) noexcept nogil:
    return <uint32_t*> (<char*> r + rounded(lead(r.key_len, r.head_len, r.meta_len, 0), 4))


cdef inline uint32_t* record_quarters(const Record* r) noexcept nogil:
    return record_blocks(r) + r.stretches


cdef inline char* record_body(const Record* r) noexcept nogil:
    """The body, or what of it lies in neither blocks nor quarters."""
    return <char*> r + lead(r.key_len, r.head_len, r.meta_len, r.stretches + r.quarters)


cdef inline uint64_t first_of(uint32_t stretch) noexcept nogil:
    return stretch & STRETCH_MASK


cdef inline uint64_t length_of(uint32_t stretch) noexcept nogil:
    return (stretch >> STRETCH_SHIFT) + 1


cdef uint64_t join_blocks(const uint32_t* blocks, uint64_t n, uint32_t* to) noexcept nogil:
    """List n blocks as stretches; how many those are. `to` may be NULL."""
    cdef uint64_t made = 0
    cdef uint64_t i = 0
    cdef uint64_t k
    while i < n:
        k = 1
        while i + k < n and k < MOST_STRETCH and blocks[i + k] == blocks[i] + k:
            k += 1
        if to != NULL:
            to[made] = blocks[i] | <uint32_t> (k - 1) << STRETCH_SHIFT
        made += 1
        i += k
    return made


cdef enum:
    LOOSE_ENOUGH = 8        # quarters that may lie about before they take the place of blocks,
    IDLE_ENOUGH = 64        # and those of free blocks, too, before one is taken for a little less than its length
    MOST_LOOSENED = 4       # of one body
    NEARLY_QUARTER = 3584   # bytes; for less, what is wasted comes to as much as what is free


cdef inline uint64_t largest_body(Space* s) noexcept nogil:
    """Bytes. One page at least holds the run, one what tables have grown into."""
    return min((<uint64_t> s.top.npages - 2) * PAGE_BLOCKS, <uint64_t> MOST_BLOCKS) * BLOCK_BYTES


cdef bint plan(Space* s, uint64_t key_len, uint64_t head_len, uint64_t meta_len, uint64_t body,
               uint64_t* nblocks, uint64_t* nquarters, uint64_t* run_bytes) noexcept nogil:
    """How a body of that length is laid: blocks, quarters, and bytes of the run where each block is listed by itself. False: it
    fits no run. s may be NULL: its blocks are there already."""
    cdef int loosened = 0
    nblocks[0] = body // BLOCK_BYTES
    nquarters[0] = body % BLOCK_BYTES // QUARTER_BYTES
    run_bytes[0] = lead(key_len, head_len, meta_len, nblocks[0] + nquarters[0]) + body % QUARTER_BYTES
    if run_bytes[0] <= MOST_RUN:
        while (s != NULL and nblocks[0] and loosened < MOST_LOOSENED and run_bytes[0] + 12 <= MOST_RUN
               and s.top.loose >= nquarters[0] + 4 + LOOSE_ENOUGH):
            loosened += 1
            nblocks[0] -= 1
            nquarters[0] += 4
            run_bytes[0] += 12
        if (s != NULL and body % QUARTER_BYTES >= NEARLY_QUARTER and s.top.idle >= nquarters[0] + 1 + IDLE_ENOUGH):
            nquarters[0] += 1
            run_bytes[0] = lead(key_len, head_len, meta_len, nblocks[0] + nquarters[0])
        return True
    nblocks[0] = (body + BLOCK_BYTES - 1) // BLOCK_BYTES
    nquarters[0] = 0
    run_bytes[0] = lead(key_len, head_len, meta_len, nblocks[0])
    return run_bytes[0] <= MOST_RUN


cdef bint plan_fill(uint64_t key_len, uint64_t head_len, uint64_t meta_len, uint64_t body,
                    uint64_t* nblocks, uint64_t* run_bytes) noexcept nogil:
    """The same while it is on its way in."""
    nblocks[0] = 0
    run_bytes[0] = lead(key_len, head_len, meta_len, 0) + body
    if run_bytes[0] <= RUN_BYTES:
        return True
    nblocks[0] = body // BLOCK_BYTES
    run_bytes[0] = lead(key_len, head_len, meta_len, nblocks[0]) + body % BLOCK_BYTES
    if run_bytes[0] <= MOST_RUN:
        return True
    nblocks[0] = (body + BLOCK_BYTES - 1) // BLOCK_BYTES
    run_bytes[0] = lead(key_len, head_len, meta_len, nblocks[0])
    return run_bytes[0] <= MOST_RUN


cdef inline uint64_t weight_of(const Record* r) noexcept nogil:
    """Bytes that it takes: what eviction and pins count, however the body is laid."""
    return rounded(sizeof(Record) + payload(r), GRANULE)


cdef inline int granules(uint64_t n) noexcept nogil:
    return <int> ((n + GRANULE - 1) // GRANULE)


cdef uint64_t free_quarters(Space* s, const Record* r) noexcept nogil:
    cdef uint32_t* list = record_quarters(r)
    cdef int i
    for i in range(<int> r.quarters):
        give_quarter(s, list[i])
    return <uint64_t> r.quarters * QUARTER_GRANULES


cdef uint64_t free_record(Space* s, Record* r) noexcept nogil:
    """Give back a record that no slot points at and nobody holds; how many granules that freed."""
    cdef uint64_t freed = r.run
    cdef uint32_t* list = record_blocks(r)
    cdef uint8_t* refs
    cdef uint64_t i
    cdef uint64_t k
    if r.body:
        refs = block_refs(s, first_of(list[0]))
        refs[0] -= 1
        if refs[0] == 0:
            for i in range(r.stretches):
                for k in range(length_of(list[i])):
                    give_block(s, first_of(list[i]) + k)
            freed += r.body * BLOCK_GRANULES
    freed += free_quarters(s, r)
    give_run(s, r)
    return freed


cdef uint64_t retire(Space* s, Record* r) noexcept nogil:
    """r has left the index; its memory goes now, or with its last pin."""
    s.top.objects -= 1
    s.top.object_bytes -= payload(r)
    leave_queue(s, r)
    s.top.retired += 1
    or32_seq_cst(&r.pins, PIN_RETIRED)
    fence_seq_cst()
    cdn_step(STEP_RETIRED)
    return 0 if held(s, r) else free_retired(s, r)


cdef uint64_t free_retired(Space* s, Record* r) noexcept nogil:
    s.top.retired -= 1
    return free_record(s, r)


# hot
cdef int64_t body_pieces(Space* s, const Record* r, const Record* h, uint64_t offset, uint64_t length, iovec* iov,
                         int most, int* count) noexcept nogil:
    """Where body bytes [offset, offset + length) lie, in at most so many pieces; how many bytes those hold.

    h is the header of r, or a copy: then r may be anything by now, but no piece lies outside of the mapping.
    """
    cdef uint32_t* list = NULL
    cdef uint64_t whole = h.body * <uint64_t> BLOCK_BYTES
    cdef uint64_t listed = whole + h.quarters * <uint64_t> QUARTER_BYTES
    cdef uint64_t here
    cdef uint64_t number
    cdef uint64_t block
    cdef uint64_t at = 0        # a stretch,
    cdef uint64_t begins = 0    # and with which of its blocks
    cdef uint64_t done = 0
    cdef char* p
    cdef int n = 0
    if offset >= h.body_length:
        length = 0
    elif length > h.body_length - offset:
        length = h.body_length - offset
    if offset < listed:
        list = <uint32_t*> (<char*> r + rounded(lead(h.key_len, h.head_len, h.meta_len, 0), 4))
        if h.stretches == h.body and offset < whole:
            at = begins = offset // BLOCK_BYTES
    while done < length:
        if offset < whole:
            block = offset // BLOCK_BYTES
            while at < h.stretches and block >= begins + length_of(list[at]):
                begins += length_of(list[at])
                at += 1
            if at == h.stretches:
                break
            number = first_of(list[at]) + block - begins
            here = begins + length_of(list[at]) - block
            if number + here > s.top.npages * <uint64_t> PAGE_BLOCKS:
                break
            p = block_bytes(s, number) + offset % BLOCK_BYTES
            here = min(here * BLOCK_BYTES, whole - block * BLOCK_BYTES) - offset % BLOCK_BYTES
        elif offset < listed:
            number = list[h.stretches + (offset - whole) // QUARTER_BYTES]
            if number >= s.top.npages * <uint64_t> PAGE_QUARTERS:
                break
            p = quarter_bytes(s, number) + offset % QUARTER_BYTES
            here = QUARTER_BYTES - offset % QUARTER_BYTES
        else:
            p = <char*> r + lead(h.key_len, h.head_len, h.meta_len, h.stretches + h.quarters) + (offset - listed)
            here = length - done
        if here > length - done:
            here = length - done
        if n and <char*> iov[n - 1].iov_base + iov[n - 1].iov_len == p:
            iov[n - 1].iov_len += here
        elif n < most:
            iov[n].iov_base = p
            iov[n].iov_len = here
            n += 1
        else:
            break
        offset += here
        done += here
    count[0] = n
    return <int64_t> done


cdef void copy_body(Space* s, const Record* r, uint64_t offset, char* to, uint64_t n) noexcept nogil:
    """Bytes of the body of a record that is held."""
    cdef iovec iov[4]
    cdef int pieces
    cdef int i
    while n:
        offset += body_pieces(s, r, r, offset, n, iov, 4, &pieces)
        for i in range(pieces):
            memcpy(to, iov[i].iov_base, iov[i].iov_len)
            to += iov[i].iov_len
            n -= iov[i].iov_len
