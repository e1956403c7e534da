# The owner's side of a fill: the head is judged storable, bytes arrive, and it is published, or ends without that. Decides in which
# order that may happen, and what becomes of it where there is no room or a purge came. Must not know who reads along, or where
# bytes lie.


cdef tuple as_started(Fill fill, Record* t):
    """What `start` read from the draft, out of the run that it wrote: (head, meta); None: read the draft again."""
    cdef const Record* r
    cdef bytes head
    cdef bytes meta
    if fill.slot == &fill.own or fill.slot.length == ~(<uint64_t> 0) or fill.slot.flags & FILL_DETACHED:
        return None
    head, meta = fill.given.head, fill.given.meta
    r = fill_run(&fill.memory.s, fill.slot)
    if not (r.head_len == PyBytes_GET_SIZE(head) > 0 and r.meta_len == PyBytes_GET_SIZE(meta)):
        return None
    memcpy(t, r, sizeof(Record))
    return head, meta


cdef int owned(Fill fill, uint32_t least, uint32_t most, str what) except -1:
    if fill.remote or not least <= fill.slot.state <= most:
        raise ValueError(f"this fill is not open for {what}")


cdef bint start_fill(Fill fill, draft, length) except -1:
    cdef Space* s = &fill.memory.s
    cdef Record t
    cdef uint64_t nblocks = 0
    cdef uint64_t run_bytes = 0
    cdef uint64_t body = 0
    cdef tuple text
    cdef bint fits
    if fill.remote or fill.slot.state != S_WAITING:
        raise ValueError("this fill has been started before")
    text = read_draft(draft, fill.stamp, fill.key, &t)
    fits = text is not None
    if length is not None:
        body = length
    if fill.slot == &fill.own:
        fill.why = "busy"
        return False
    if not (fill.slot.flags & FILL_DETACHED):
        if not (fits and body <= largest_body(&fill.memory.s)
                and plan_fill(t.key_len, t.head_len, t.meta_len, body, &nblocks, &run_bytes)):
            fill.why = "too-large"
            return False
    if fits:
        if length is None:
            nblocks = 0
            run_bytes = lead(t.key_len, t.head_len, t.meta_len, 0)
            run_bytes = FIRST_RUN if run_bytes <= FIRST_RUN else max(<uint64_t> SECOND_RUN, run_bytes)
        elif fill.slot.flags & FILL_DETACHED:
            nblocks = 0
            run_bytes = lead(t.key_len, t.head_len, t.meta_len, 0)
        t.hash0 = fill.slot.hash0
        t.body = t.stretches = nblocks
        t.body_length = body
        if ((run_bytes > MOST_RUN or not begin_run(s, fill.slot, &t, fill.key, text[0], text[1], run_bytes))
                and not fill.slot.flags & FILL_DETACHED):
            fill.why = "no-space"
            return False
    fill.given = draft
    fill.slot.length = ~(<uint64_t> 0) if length is None else body
    store32_relaxed(&fill.slot.state, S_STREAMING)
    fill.notify()
    return True


cdef bint write_fill(Fill fill, data) except -1:
    cdef Py_buffer view
    owned(fill, S_STREAMING, S_STREAMING, "writing")
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if fill.slot.arrived + <uint64_t> view.len > fill.slot.length:
            raise ValueError("more bytes than the length that the fill was started with")
        if not append(fill, <const char*> view.buf, view.len):
            return False
        if view.len == 0:
            return True
    finally:
        PyBuffer_Release(&view)
    fill.notify()
    return True


cdef bint append(Fill fill, const char* data, uint64_t n) except -1:
    cdef Space* s = &fill.memory.s
    cdef FillSlot* f = fill.slot
    cdef uint64_t total = f.arrived + n
    if total > largest_body(s) and not f.flags & FILL_DETACHED:
        fill.why = "too-large"
        return False
    if n == 0:
        return True
    if not room_for(s, f, total):
        if not fill.is_purged() and not f.flags & FILL_DETACHED:
            fill.why = "no-space"
        return False
    copy_in(s, f, data, n)
    store64_release(&f.arrived, total)
    return True


cdef Entry commit_fill(Fill fill, dict changes):
    cdef Space* s = &fill.memory.s
    cdef Record t
    cdef Record* r = NULL
    cdef FillSlot* f = fill.slot
    cdef tuple text
    cdef bint pinned = False
    owned(fill, S_STREAMING, S_STREAMING, "committing")
    if fill.slot.length != ~(<uint64_t> 0) and fill.slot.arrived != fill.slot.length:
        raise ValueError("a body shorter than the length that the fill was started with")
    if changes:
        fill.given = dataclasses.replace(fill.given, **changes)
    text = None if changes else as_started(fill, &t)
    if text is None:
        text = read_draft(fill.given, fill.stamp, fill.key, &t)
    if not take_lock(s, LOCK_WAIT):
        fill.why = "no-space"
        fill.end(S_DONE)
        return None
    # by a purge of another worker, too
    if fill.is_purged() or not f.flags & FILL_REGISTERED:
        if fill.is_purged():
            or32_seq_cst(&f.flags, FILL_PURGED)
        drop_lock(s)
        fill.end(S_DONE)
        return None
    t.hash0, t.body_length = f.hash0, f.arrived
    if text is not None:
        r = settle(s, f, &t, fill.key, text[0], text[1])
    if r != NULL:
        f.nblocks, f.gone = r.body, 0
        pinned = pin_record(s, r)
        if pinned:
            cdn_step(STEP_SETTLED)
            if f.followers:
                or32_seq_cst(&r.pins, PIN_FOLLOWED)
            reveal(s, r)
            f.nblocks = 0
            store64_release(&f.run, granule_of(s, r))
            f.flags = (f.flags | FILL_PUBLISHED) & ~<uint32_t> FILL_REGISTERED
            swap32_seq_cst(&f.state, S_COMMITTED)       # behind `run`: who sees this takes hold of that
    if not pinned:
        drop_lock(s)
        fill.why = "no-space"
        fill.end(S_DONE)
        return None
    fill.wake_followers()
    fill.own = f[0]
    fill.slot = &fill.own
    disown(s, f)
    drop_lock(s)
    fill.entry = entry_of(fill.memory, r)
    tell_stored(fill.memory, fill.entry)
    fill.end(S_COMMITTED)
    return fill.entry


cdef bint fill_at_once(Fill fill, object draft, Record* t, bytes head, bytes meta, const char* body, uint64_t n) except -1:
    """`start`, `write` and `commit` in one, for a body that is here and fits into a run.

    `t` says what `read_draft` would, but for hash, stamp and lengths. False: nothing has happened, since somebody
    follows it, it was purged, or there is no room at once; then the steps say what becomes of it.
    """
    cdef Space* s = &fill.memory.s
    cdef FillSlot* f = fill.slot
    cdef Record* r = NULL
    cdef uint64_t nblocks
    cdef uint64_t nquarters
    cdef uint64_t run_bytes
    if fill.remote or f == &fill.own or f.state != S_WAITING or f.flags & FILL_DETACHED or fill.callbacks:
        return False
    if max(PyBytes_GET_SIZE(fill.key), PyBytes_GET_SIZE(head), PyBytes_GET_SIZE(meta)) > 0xffff:
        return False
    t.key_len, t.head_len, t.meta_len = PyBytes_GET_SIZE(fill.key), PyBytes_GET_SIZE(head), PyBytes_GET_SIZE(meta)
    t.stamp, t.hash0, t.body_length = record_stamp(fill.stamp), f.hash0, n
    if not plan(NULL, t.key_len, t.head_len, t.meta_len, n, &nblocks, &nquarters, &run_bytes) or nblocks:
        return False
    if not take_lock(s, LOCK_WAIT):
        return False
    # nobody can come to follow it while the lock is held
    if f.followers == 0 and f.flags & FILL_REGISTERED and not fill.is_purged():
        r = lay(fill.memory, t, fill.key, head, meta, body)
        if r != NULL and not pin_record(s, r):
            free_record(s, r)
            r = NULL
    if r == NULL:
        drop_lock(s)
        return False
    cdn_step(STEP_SETTLED)
    reveal(s, r)
    f.length = f.arrived = n
    fill.own = f[0]
    fill.slot = &fill.own
    disown(s, f)
    drop_lock(s)
    fill.given = draft
    fill.entry = entry_of(fill.memory, r)
    tell_stored(fill.memory, fill.entry)
    fill.end(S_COMMITTED)
    return True


cdef int detach_fill(Fill fill, str reason) except -1:
    if fill.remote or fill.slot.state > S_STREAMING or (
            fill.slot.flags & FILL_DETACHED and fill.slot != &fill.own):
        return 0
    if not fill.is_purged():
        fill.why = reason
    fill.unregister()
    or32_seq_cst(&fill.slot.flags, FILL_DETACHED)
    fill.notify()


cdef int release_blocks(Fill fill, uint64_t offset) except -1:
    cdef Space* s = &fill.memory.s
    cdef uint64_t upto = min(offset, fill.slot.arrived) // BLOCK_BYTES
    if not fill.detached or fill.remote:
        raise ValueError("only a detached fill gives memory back before its end")
    if upto > fill.slot.nblocks:
        upto = fill.slot.nblocks
    if upto <= fill.slot.gone or load64_acquire(&fill.slot.followers) or not take_lock(s, LOCK_WAIT):
        return 0
    give_blocks(s, fill.slot, <uint32_t> upto)
    drop_lock(s)
