# Part of cdn/proxy/_front.pyx: how long a client may take.
#
# Decides what a deadline that has come means in each state, and who moves bytes too slowly. When it comes is the wheel's.


cdef void watch(Connection c):
    """From now on the peer's rate counts."""
    cdef uint64_t waits = c.transport.get_write_buffer_size()
    c.still = c.marked = monotonic()
    c.mark = c.written - waits if c.written > waits else 0
    c.slow = 0
    c._due(c.marked + GRACE)


cdef bint too_slow(Connection c, int64_t now):
    """Whether the peer holds up the transfer.

    While it is the peer's turn to move bytes, moving some but fewer than the minimum rate is too slow; moving none
    is a pause (a player whose buffer is full), bounded as idleness is.
    """
    cdef uint64_t waits = c.transport.get_write_buffer_size()
    cdef uint64_t moved = c.written - waits if c.written > waits else 0
    cdef bint theirs = c.paused or waits > 0 or (
        c.stream is not None and c.stream.reader is not None)
    cdef bint slow
    if not theirs or moved != c.mark:
        c.still = now
    elif now - c.still >= c.front.idle_timeout:
        return True
    slow = theirs and moved > c.mark and (
        (moved - c.mark) * 1000 < <uint64_t>(c.front.min_rate * (now - c.marked)))
    c.mark = moved
    c.marked = now
    # twice in a row: a pause may end just before we look
    c.slow = c.slow + 1 if slow else 0
    return c.slow > 1


cdef void check(Connection c, int64_t now):
    """The wheel calls at or after the deadline, or earlier when it was moved."""
    if c.transport is None:
        return
    if now < c.deadline:
        c.front.wheel.schedule(c, c.deadline)
        return
    if c.state == LINGERING and c.transport.get_write_buffer_size() == 0:
        if c.emptied:
            c._abort()
        else:
            c.emptied = True
            c._due(now + LINGER)
    elif c.state == READING and not c.paused:
        c.front.census.timeouts += 1
        if c.pending is not None:
            c._refuse(408, "head-timeout")
        else:
            c._close()
    elif c.state == DRAINING:
        c._abort()
    elif c.state != TUNNEL or c.paused:
        if too_slow(c, now):
            c.front.census.timeouts += 1
            c._abort()
        else:
            c._due(now + GRACE)
