# A record comes into the index, in one step under the lock, and the tier behind the store is told. Decides when it is published in
# place of another one; must not know how it is laid, or why it may be stored.


cdef void reveal(Space* s, Record* r) noexcept nogil:
    if r.response_time > s.now:
        s.now = r.response_time
    publish_record(s, r)
    s.top.commits += 1


cdef int tell_stored(Memory memory, Entry entry) except -1:
    """Tell the tier behind this one what is stored now; outside of any lock."""
    if memory.tier is not None and entry is not None and not entry.r.flags & RECORD_UNCACHEABLE:
        memory.tier.stored(entry)
    return 0


cdef Entry publish_run(Memory memory, Record* r):
    """Publish, let the lock go, and give it to Python. None: there is none, or it cannot be held."""
    if r != NULL and not pin_record(&memory.s, r):
        free_record(&memory.s, r)
        r = NULL
    if r != NULL:
        reveal(&memory.s, r)
    drop_lock(&memory.s)
    return None if r == NULL else entry_of(memory, r)


cdef Entry publish_draft(Memory memory, bytes key, object draft, object body, bint tell, bint aside, bint exchange, Entry old):
    cdef Record t
    cdef Record* r
    cdef Record* expected = NULL if old is None else old.record()
    cdef Py_buffer view
    cdef Entry entry
    cdef tuple text = read_draft(draft, memory.epoch(), key, &t)
    if text is None:
        return None
    t.hash0 = memory.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    if aside or not tell:       # the tier may have sent either
        store64_release(&memory.s.top.asides, 1)
    PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
    try:
        if not take_lock(&memory.s, LOCK_WAIT):
            return None
        # `old` is pinned: it is not moved, and nothing else lies where it lay
        if exchange and memory.find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)) != expected:
            drop_lock(&memory.s)
            return None
        t.body_length = view.len
        r = lay(memory, &t, key, text[0], text[1], <const char*> view.buf)
        entry = publish_run(memory, r)      # lets the lock go
    finally:
        PyBuffer_Release(&view)
    if tell:
        tell_stored(memory, entry)
    return entry


cdef Entry publish_over(Memory memory, Entry entry, object draft, bint tell):
    cdef Record t
    cdef Record* old = entry.record()
    cdef Record* r
    cdef bytes key
    cdef tuple text
    if entry.memory is not memory:
        raise ValueError("an entry of another store")
    key = PyBytes_FromStringAndSize(record_key(old), old.key_len)
    text = read_draft(draft, memory.epoch(), key, &t)
    if text is None or not take_lock(&memory.s, LOCK_WAIT):
        return None
    t.hash0, t.body_length, t.body, t.stretches = old.hash0, old.body_length, old.body, old.stretches
    # what is pinned is not evicted for this
    r = NULL if load32_relaxed(&old.pins) & PIN_RETIRED else lay_over(memory, &t, old, key, text[0], text[1])
    fresh = publish_run(memory, r)
    if tell:
        tell_stored(memory, fresh)
    return fresh


cdef bint publish_marker(Memory memory, bytes key, bytes meta, bytes body, int64_t now, int64_t until) except -1:
    cdef Record t
    cdef Record* r
    if PyBytes_GET_SIZE(key) > 0xffff or PyBytes_GET_SIZE(meta) > 0xffff or memory.tier is not None:
        return False
    memset(&t, 0, sizeof(Record))
    t.born = t.response_time = record_time(now)
    t.fresh_until = until
    t.swr_until = t.sie_until = record_time(until)
    t.last_modified = NO_TIME
    t.flags = RECORD_VARY_MARKER
    t.status_line_len = PyBytes_GET_SIZE(NO_HEAD)
    t.stamp = record_stamp(memory.epoch())
    t.key_len, t.head_len, t.meta_len = PyBytes_GET_SIZE(key), PyBytes_GET_SIZE(NO_HEAD), PyBytes_GET_SIZE(meta)
    t.hash0 = memory.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    t.body_length = PyBytes_GET_SIZE(body)
    if not take_lock(&memory.s, LOCK_WAIT):
        return False
    r = NULL
    if memory.find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)) == NULL:
        r = lay(memory, &t, key, NO_HEAD, meta, PyBytes_AS_STRING(body))
        if r != NULL:
            reveal(&memory.s, r)
    drop_lock(&memory.s)
    return r != NULL
