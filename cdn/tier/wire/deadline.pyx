# What a connection waits for, and for how long. One deadline, one timer: data only moves the deadline, and the timer looks
# when it fires.

cdef int watch(Connection conn) except -1:
    return watch_at(conn, _monotonic())


cdef int watch_at(Connection conn, double now) except -1:
    """What is awaited now, and for how long. While our body goes out the origin owes nothing but room."""
    cdef double seconds = 0
    if conn.state == S_HEAD or conn.state == S_LENGTH or conn.state == S_CHUNKS or conn.state == S_CLOSE:
        if conn.sending:
            if conn.writing_paused:
                seconds = conn.between_bytes
                conn.unsent = conn.transport.get_write_buffer_size()
        elif conn.state == S_HEAD:
            seconds = conn.first_byte
        elif not conn.reading_paused:
            seconds = conn.between_bytes
        if conn.until != 0 and (seconds == 0 or now + seconds > conn.until):
            seconds = max(conn.until - now, 0.001)
    if seconds == 0:
        conn.deadline = 0
        return 0
    conn.graced = False
    conn.deadline = now + seconds
    return arm(conn, now, seconds)


cdef int arm(Connection conn, double now, double seconds) except -1:
    if conn.timer is not None:
        if conn.fires <= conn.deadline + 0.001:
            return 0
        conn.timer.cancel()
    conn.fires = now + seconds
    conn.timer = conn.loop.call_later(seconds, conn._on_timer)
    return 0


cdef int fired(Connection conn) except -1:
    """The deadline has come, or was moved since the timer was set."""
    cdef double left
    cdef Py_ssize_t unsent
    conn.timer = None
    if conn.deadline == 0 or conn.sink is None:
        return 0
    if conn.until != 0 and _monotonic() > conn.until - 0.0005:
        return conn._fail(Kind.TOTAL_TIMEOUT, f"not finished within {conn.total:g} s")
    left = conn.deadline - _monotonic()
    if left <= 0.0005 and conn.sending:
        unsent = conn.transport.get_write_buffer_size()
        if unsent < conn.unsent:
            conn.unsent = unsent
            left = conn.between_bytes
            conn.deadline = _monotonic() + left
    if left <= 0.0005 and not conn.graced and conn._waiting_bytes() > 0:
        conn.graced = True
        left = GRACE
        conn.deadline = _monotonic() + left
    if left > 0.0005:
        arm(conn, _monotonic(), left)
    elif conn.state == S_HEAD and not conn.sending:
        conn._fail(Kind.FIRST_BYTE_TIMEOUT, f"no response head within {conn.first_byte:g} s")
    elif conn.sending:
        conn._fail(Kind.BETWEEN_BYTES_TIMEOUT, f"read nothing for {conn.between_bytes:g} s")
    else:
        conn._fail(Kind.BETWEEN_BYTES_TIMEOUT, f"silent for {conn.between_bytes:g} s inside the body")
    return 0
