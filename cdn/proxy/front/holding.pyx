# Part of cdn/proxy/_front.pyx: who holds memory of the store, and how a reader does without holding it.
#
# A body on its way to a client is pinned. A reader that has lost its pin holds the record while it sends only: before
# that it looks under the key whether the same body lies there still (`store/memory/loose.pyx`), and if not its client is
# cut. Who would not find it even now keeps the pin. Knows how fast each reader is; not how much may be held, nor who has
# to give.


cdef double pace(uint64_t n, int64_t ms) noexcept nogil:
    """Bytes a second."""
    return n * 1000.0 / (ms if ms > 0 else 1)


cdef double pace_of_holder(Connection c, int64_t now):
    """How fast a client is for which memory is held; -1: there is none."""
    cdef Transfer transfer
    cdef ClientStream stream = c.stream
    if c.state == SENDING and c.send is not None:
        transfer = c.send
        if transfer.loose is None:
            return pace(c.written - transfer.mark, now - transfer.began)
    elif c.state == BUSY and c.turn is not None:
        return c.front.second.pace(c.turn)
    elif c.state == BUSY and stream is not None and stream.source is not None and stream.source.holds():
        return pace(stream.bytes_sent, stream.elapsed_us() // 1000)
    return -1


cdef bint loosen(Connection c):
    """Nothing is held for this client any more. False: that cannot be had without cutting it."""
    cdef Transfer transfer
    if c.state == SENDING and c.send is not None:
        transfer = c.send
        if transfer.loose is None:
            transfer.loose = loosened(transfer.lane.memory, transfer.record)
            if transfer.loose is None:
                return False
            let_go(transfer)
    elif c.state == BUSY and c.turn is not None:
        if not c.front.second.loosen(c.turn):
            return False
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
    """Hold the record again. False: it is gone, or another body lies there."""
    if transfer.record == NULL:
        transfer.record = transfer.loose.hold(transfer.lane.clock.read())
    return transfer.record != NULL
