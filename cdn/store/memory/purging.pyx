# Invalidation: records leave the index, or are not fresh from now on, and fills on their way are not stored. Decides what is done
# where the lock is not to be had; must not know who asks for it, or which keys belong together otherwise than by their beginning.


cdef void leave(Space* s, Record* r, bint soft, int64_t now) noexcept nogil:
    """Hard: out of the index. Soft: not fresh any more; the one word of a published record that may change."""
    if not soft:
        withdraw(s, r)
    else:
        end_freshness(r, now)


cdef inline void end_freshness(Record* r, int64_t now) noexcept nogil:
    if r.fresh_until > now:
        store64_relaxed(<uint64_t*> &r.fresh_until, <uint64_t> now)


cdef bint expire(Memory memory, bytes key, int64_t now) noexcept:
    """Without the lock: not to be used any more (INT64_MIN), or not fresh any more."""
    cdef Record* r = memory.hold(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    if r == NULL:
        return False
    if now == INT64_MIN:
        never_stale(r)
    end_freshness(r, now)
    unpin_record(&memory.s, r)
    return True


cdef bint remove_key(Memory memory, bytes key, bint tell) except -1:
    cdef Record* r
    if tell and memory.tier is not None:
        memory.tier.gone(key)
    if not take_lock(&memory.s, LOCK_WAIT):
        return expire(memory, key, INT64_MIN)
    r = memory.find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    if r != NULL:
        withdraw(&memory.s, r)
    drop_lock(&memory.s)
    return r != NULL


cdef uint64_t purge_prefix(Memory memory, bytes key, bint soft, int64_t now) except? 0:
    cdef size_t n = PyBytes_GET_SIZE(key)
    cdef const char* text = PyBytes_AS_STRING(key)
    cdef uint64_t at
    cdef uint64_t count = 0
    cdef Record* r
    for other in list(memory.fills):
        if (<bytes> other).startswith(key):
            void_fill(memory, <bytes> other)
    must_lock(&memory.s)
    void_fills(&memory.s, text, n)
    for at in range(buckets_now(&memory.s) * SLOTS):
        r = record_in(&memory.s, at)
        if r != NULL and r.key_len >= n and memcmp(record_key(r), text, n) == 0:
            leave(&memory.s, r, soft, now)
            count += 1
    drop_lock(&memory.s)
    return count


cdef bint soft_purge_key(Memory memory, bytes key, int64_t now) except -1:
    cdef Entry entry
    cdef bint found
    void_fill(memory, key)
    found = expire(memory, key, now)
    if memory.tier is not None:
        entry = memory.lookup(key)
        if entry is None:
            memory.tier.gone(key)
        else:
            tell_stored(memory, entry)
    return found


cdef int void_fill(Memory memory, bytes key) except -1:
    cdef Fill fill
    cdef FillSlot* f
    borrowed = memory.fills.get(key)
    if borrowed is not None:
        fill = <Fill> <PyObject*> <size_t> borrowed
        fill.void("purged")
    elif memory.s.me >= 0:
        if not take_lock(&memory.s, LOCK_WAIT):
            # whichever it is: they all are
            add64_both(&memory.s.top.era, 1)
            return 0
        f = find_fill(&memory.s, memory.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)),
                      PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        if f != NULL:
            void_slot(f)
        drop_lock(&memory.s)
