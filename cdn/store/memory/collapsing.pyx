# Who fills and who follows under a key, so that many requests for it become one: request collapsing. Decides that there is one
# fill for a key at a time, whichever worker it is that began it; must not know what is asked for, or whom.


cdef Fill begin_or_follow(Memory memory, bytes key, Fill since, uint64_t h0, bint* won):
    """`begin_fill`; `h0` is the first half of the key's hash."""
    cdef Space* s = &memory.s
    cdef FillSlot* f = NULL
    cdef Fill fill
    borrowed = memory.fills.get(key)
    if borrowed is None and memory.follows:
        borrowed = memory.follows.get(key)
    if borrowed is not None:
        fill = <Fill> <PyObject*> <size_t> borrowed
        if load32_relaxed(&fill.slot.flags) & FILL_REGISTERED and not fill.is_purged():
            return fill
        # another worker has voided it
        memory.follows.pop(key, None) if fill.remote else fill.unregister()
    fill = Fill.__new__(Fill)
    fill.open(memory, key, memory.epoch() if since is None else since.stamp)
    h0 &= memory.hash_mask
    if take_lock(s, LOCK_WAIT):
        f = find_fill(s, h0, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        if f != NULL and s.me >= 0 and f.owner != own_name(s):
            fill.remote = True
            fill.slot = f
            fill.stamp = f.stamp
            or64_seq_cst(&f.followers, own_bit(s))
        else:
            if f != NULL:
                f.flags &= ~<uint32_t> FILL_REGISTERED
            f = new_fill(s, h0, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            if f != NULL:
                f.stamp = fill.stamp
                if since is not None:
                    f.era = since.slot.era
        drop_lock(s)
    if fill.remote:
        fill.seen_state, fill.seen_arrived = fill.current(), load64_acquire(&f.arrived)
        memory.follows[key] = memory.following[<size_t> <PyObject*> fill] = <size_t> <PyObject*> fill
        return fill
    if f != NULL:
        fill.enter(f)
    if since is not None and since.is_purged():
        fill.void("purged")
    won[0] = True
    return fill
