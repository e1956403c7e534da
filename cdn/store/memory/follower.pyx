# The follower's side of a fill: what has arrived, and how it stands with it, whether this process fills it or another worker.
# Must not know how room is made, or what becomes of it in the end.


cdef uint32_t state_seen(Fill fill) noexcept:
    cdef uint32_t state = load32_acquire(&fill.slot.state)
    if fill.remote and state <= S_DONE and state != S_COMMITTED and fill.slot.flags & FILL_DETACHED:
        return S_ABORTED    # it goes on for the owner's own readers only
    return state


cdef object reason_seen(Fill fill):
    if fill.is_purged():
        return "purged"
    if fill.remote:
        if fill.slot.reason[0] == 0:
            return "detached" if fill.detached else None
        return fill.slot.reason.decode("ascii", "replace")
    return fill.why


cdef object draft_seen(Fill fill):
    if fill.given is None and fill.remote and fill.slot.state >= S_STREAMING:
        if fill.slot.state != S_ABORTED or fill.slot.flags & FILL_LOST:
            fill.given = draft_of(fill_run(&fill.memory.s, fill.slot))
    return fill.given


cdef bytes read_arrived(Fill fill, uint64_t offset, uint64_t n):
    cdef bytes out
    cdef uint64_t arrived
    if fill.entry is not None:
        return read_body(&fill.memory.s, fill.entry.record(), offset, n)
    if fill.released:
        raise ValueError("this fill holds its record no more")
    arrived = load64_acquire(&fill.slot.arrived)
    if offset >= arrived or fill.current() == S_ABORTED:
        return b""
    if offset < <uint64_t> fill.slot.gone * BLOCK_BYTES:
        raise ValueError("these bytes of the fill have been given back")
    n = min(n, arrived - offset)
    out = PyBytes_FromStringAndSize(NULL, n)
    fill_copy(&fill.memory.s, fill.slot, offset, PyBytes_AS_STRING(out), n)
    return out


cdef int look(Fill fill) except -1:
    """Another worker has news: of this fill?"""
    cdef uint32_t state = fill.current()
    cdef uint64_t arrived = load64_acquire(&fill.slot.arrived)
    if state != fill.seen_state or arrived != fill.seen_arrived:
        fill.seen_state = state
        fill.seen_arrived = arrived
        if state == S_COMMITTED:
            hold_stored(fill)
        fill.notify()


cdef int hold_stored(Fill fill) except -1:
    """Its owner has stored it: hold the record as any reader does, which counts, and follow no more.

    Nobody frees or moves it meanwhile, since we follow. Where too much is held already, we go on following.
    """
    cdef Record* r = fill_run(&fill.memory.s, fill.slot)
    if fill.slot == &fill.own or not pin_record(&fill.memory.s, r):
        return 0
    fill.entry = entry_of(fill.memory, r)
    if fill.given is None:
        fill.given = draft_of(r)
    fill.own = fill.slot[0]
    stop_following(fill)
    fill.slot = &fill.own
    return 0


cdef void stop_following(Fill fill) noexcept:
    cdef Space* s = &fill.memory.s
    fill.memory.following.pop(<size_t> <PyObject*> fill, None)
    if fill.memory.follows.get(fill.key) == <size_t> <PyObject*> fill:
        del fill.memory.follows[fill.key]
    if take_lock(s, LOCK_WAIT):
        unfollow(s, fill.slot, own_bit(s))
        drop_lock(s)
    else:
        or64_seq_cst(&fill.slot.leaving, own_bit(s))
        s.owing = True
