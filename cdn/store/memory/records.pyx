# A record and its body: how they are laid, found, held and given back. Knows runs and blocks; not who is evicted.


cdef inline uint64_t lead(uint64_t key_len, uint64_t head_len, uint64_t meta_len, uint64_t nblocks) noexcept nogil:
    """Bytes of a run before the body that lies in it."""
    cdef uint64_t n = sizeof(Record) + key_len + head_len + meta_len
    return n if nblocks == 0 else rounded(n, 4) + 4 * nblocks


cdef inline uint32_t* record_blocks(const Record* r) noexcept nogil:
    return <uint32_t*> (<char*> r + rounded(lead(r.key_len, r.head_len, r.meta_len, 0), 4))


cdef inline char* record_body(const Record* r) noexcept nogil:
    """The body, or what of it does not lie in whole pages."""
    return <char*> r + lead(r.key_len, r.head_len, r.meta_len, r.body)


cdef bint plan(uint64_t key_len, uint64_t head_len, uint64_t meta_len, uint64_t body,
               uint64_t* nblocks, uint64_t* run_bytes) noexcept nogil:
    """How a body of that length is laid: blocks, and bytes of the run. False: it fits no run."""
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


cdef inline int granules(uint64_t n) noexcept nogil:
    return <int> ((n + GRANULE - 1) // GRANULE)


cdef uint64_t free_record(Space* s, Record* r) noexcept nogil:
    """Give back a record that no slot points at and nobody holds; how many granules that freed."""
    cdef uint64_t freed = r.run
    cdef uint32_t* list = record_blocks(r)
    cdef uint8_t* refs
    cdef uint64_t i
    if r.body:
        refs = block_refs(s, list[0])
        refs[0] -= 1
        if refs[0] == 0:
            for i in range(r.body):
                give_block(s, list[i])
            freed += r.body * BLOCK_GRANULES
    give_run(s, r)
    return freed


cdef uint64_t retire(Space* s, Record* r) noexcept nogil:
    """r has left the index; its memory goes now, or with its last pin."""
    s.top.objects -= 1
    s.top.object_bytes -= payload(r)
    leave_queue(s, r)
    s.top.retired += 1
    cdn_or32(&r.pins, PIN_RETIRED)
    cdn_fence()
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
    cdef uint32_t* list
    cdef uint64_t whole = h.body * BLOCK_BYTES
    cdef uint64_t here
    cdef uint64_t done = 0
    cdef char* p
    cdef int n = 0
    if offset >= h.body_length:
        length = 0
    elif length > h.body_length - offset:
        length = h.body_length - offset
    while done < length:
        if offset < whole:
            list = <uint32_t*> (<char*> r + rounded(lead(h.key_len, h.head_len, h.meta_len, 0), 4))
            if list[offset // BLOCK_BYTES] >= s.top.npages * PAGE_BLOCKS:
                break
            p = block_bytes(s, list[offset // BLOCK_BYTES]) + offset % BLOCK_BYTES
            here = BLOCK_BYTES - offset % BLOCK_BYTES
        else:
            p = <char*> r + lead(h.key_len, h.head_len, h.meta_len, h.body) + (offset - whole)
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
