# From a key to a record that is held, and which keys there are. Decides how often a record that is being moved is looked for
# again; must not know what a response is, or whether it may be used.


cdef Record* hold_record(Memory memory, const char* key, size_t n) noexcept nogil:
    """The record under a key, pinned. NULL also where it is being moved and the lock is not to be had."""
    cdef Record* r
    cdef int turn
    for turn in range(4):
        r = memory.find(key, n)
        if r == NULL or pin_seen(&memory.s, r):
            return r
    if not take_lock(&memory.s, LOCK_WAIT):
        return NULL
    r = memory.find(key, n)
    if r != NULL and not pin_record(&memory.s, r):
        r = NULL
    drop_lock(&memory.s)
    return r


cdef Record* record_in(Space* s, uint64_t at) noexcept nogil:
    """Of the slot with that number, or NULL."""
    cdef uint64_t word = bucket_at(s, at // SLOTS).slot[at % SLOTS]
    return NULL if word == 0 else record_at(s, word & GRANULE_MASK)


cdef list list_keys(Memory memory, uint64_t most):
    cdef list out = []
    cdef uint64_t at
    cdef Record* r
    if not take_lock(&memory.s, LONG_WAIT):
        return out
    for at in range(buckets_now(&memory.s) * SLOTS):
        if <uint64_t> len(out) >= most:
            break
        r = record_in(&memory.s, at)
        if r != NULL:
            out.append(PyBytes_FromStringAndSize(record_key(r), r.key_len))
    drop_lock(&memory.s)
    return out
