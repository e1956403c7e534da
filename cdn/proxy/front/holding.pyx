# Part of cdn/proxy/_front.pyx: who holds memory of the store, and how a reader does without holding it.
#
# A body on its way to a client is pinned. A reader that has lost its pin holds the record while it sends only: before
# that it looks under the key whether the same record lies there still, and if not its client is cut. Knows how fast each
# reader is; not how much may be held, nor who has to give.


cdef double pace(uint64_t n, int64_t ms) noexcept nogil:
    """Bytes a second."""
    return n * 1000.0 / (ms if ms > 0 else 1)


cdef double pace_of_holder(Connection c, int64_t now):
    """How fast a client is for which memory is held; -1: there is none."""
    cdef Transfer transfer
    cdef ClientStream stream = c.stream
    if c.state == SENDING and c.send is not None:
        transfer = c.send
        if transfer.key is None:
            return pace(c.written - transfer.mark, now - transfer.began)
    elif c.state == BUSY and stream is not None and stream.source is not None and stream.source.holds():
        return pace(stream.bytes_sent, stream.elapsed_us() // 1000)
    return -1


cdef bint loosen(Connection c):
    """Nothing is held for this client any more. False: that cannot be had without cutting it."""
    cdef Transfer transfer
    cdef Record* r
    if c.state == SENDING and c.send is not None:
        transfer = c.send
        if transfer.key is None:
            r = transfer.record
            transfer.was = r[0]
            transfer.head = PyBytes_FromStringAndSize(<char*> (r + 1) + r.key_len, r.head_len)
            transfer.key = PyBytes_FromStringAndSize(<char*> (r + 1), r.key_len)
            let_go(transfer)
    elif c.state == BUSY and c.stream is not None and c.stream.source is not None:
        if not c.stream.source.loosen():
            return False
    c.front.census.loosened += 1
    return True


cdef void let_go(Transfer transfer):
    cdef Record* r = transfer.record
    if r != NULL:
        transfer.record = NULL
        transfer.lane.memory.unpin(r)


cdef bint regain(Transfer transfer):
    """Hold the record again. False: it is gone, or another one lies there."""
    cdef Record* r
    cdef Record* was = &transfer.was
    if transfer.record != NULL:
        return True
    r = transfer.lane.memory.hold(PyBytes_AS_STRING(transfer.key), PyBytes_GET_SIZE(transfer.key))
    if r == NULL:
        return False
    transfer.record = r
    if (r.stamp == was.stamp and r.born == was.born and r.response_time == was.response_time
            and r.body_length == was.body_length and r.status == was.status and r.head_len == was.head_len
            and memcmp(<char*> (r + 1) + r.key_len, PyBytes_AS_STRING(transfer.head), r.head_len) == 0):
        return True
    let_go(transfer)
    return False
