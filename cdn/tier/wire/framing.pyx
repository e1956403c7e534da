# Where a response's head ends, what frames its body, and where that ends (RFC 9112 §6.3).
#
# Decides nothing about the connection: that a response is over, or wrong, is told to it by `_finish` and `_fail`.

cdef int take_bytes(Connection conn, const char* data, Py_ssize_t n) except -1:
    """Bytes from the origin, while an exchange waits for them."""
    cdef Py_ssize_t at = 0, take
    cdef Sink sink          # held: it may let go of us inside of a call
    conn.heard_at = _monotonic()
    if conn.answered_at == 0:
        conn.answered_at = conn.heard_at
    conn.received = True
    while conn.state == S_HEAD:
        at = take_head(conn, data, n, at)
        if at >= n:
            break
    if conn.state == S_DONE or conn.state == S_IDLE or conn.sink is None:
        return 0
    if conn.deadline != 0 and conn.state != S_HEAD:
        if conn.until != 0:
            watch_at(conn, conn.heard_at)
        else:
            conn.deadline = conn.heard_at + conn.between_bytes
            conn.graced = False
    if at >= n:
        return 0
    if conn.state == S_LENGTH:
        take = n - at
        if <uint64_t>take > conn.left:
            take = <Py_ssize_t>conn.left
        conn.left -= take
        sink = conn.sink
        sink.on_data(data + at, take)
        if conn.left == 0 and conn.state == S_LENGTH:
            conn._finish(True, at + take < n)
    elif conn.state == S_CHUNKS:
        dechunk(conn, data, n, at)
    elif conn.state == S_CLOSE or conn.state == S_TUNNEL:
        sink = conn.sink
        sink.on_data(data + at, n - at)
    return 0


cdef Py_ssize_t take_head(Connection conn, const char* data, Py_ssize_t size, Py_ssize_t at) except -1:
    """Scan one head that starts or goes on at `at`; where its end is, or the end of `data`."""
    cdef _core.ResponseHead head
    cdef const char* base
    cdef size_t n
    cdef Py_ssize_t before = 0, end
    cdef bytearray kept = conn.partial
    cdef int got
    if kept is None:
        base = data + at
        n = size - at
    else:
        before = PyByteArray_GET_SIZE(kept)
        kept += data[at:size]
        base = PyByteArray_AS_STRING(kept)
        n = PyByteArray_GET_SIZE(kept)
    got = _core.scan_response(base, n, &conn.resume, conn.max_head, conn.max_fields, &head)
    if got == 0:
        if kept is None:
            conn.partial = bytearray(data[at:size])
        return size
    if got < 0:
        detail = _core.scan_error_name(got).decode("ascii")
        conn._fail(Kind.MALFORMED, f"the response head is refused ({detail})")
        return size
    end = at + head.length - before
    conn.partial = None
    conn.resume = 0
    conn.behind = size - end
    judge(conn, base, &head, conn.behind > 0)
    return end


cdef int judge(Connection conn, const char* base, _core.ResponseHead* head, bint more) except -1:
    """RFC 9112 §6.3: what frames the body, in its order of precedence."""
    cdef Sink sink
    cdef bint coded = (head.present >> _core.F_TRANSFER_ENCODING) & 1
    cdef Framing framing
    if coded and (head.content_length >= 0 or not head.chunked or head.minor == 0):
        conn._fail(Kind.MALFORMED, "the response's Transfer-Encoding is ambiguous")
        return 0
    if head.status < 200:
        return take_interim(conn, base, head)
    conn.keep = head.minor == 1 and not head.close and conn.upgrade is None
    conn.bodyless = conn.for_head or head.status == 204 or head.status == 304
    if conn.bodyless:
        framing = BY_NOTHING
        if head.status == 204 and (coded or head.content_length > 0):
            conn.keep = False       # it may send what it announced
    elif coded:
        framing = BY_CHUNKS
        conn.state = S_CHUNKS
        memset(&conn.chunks, 0, sizeof(conn.chunks))
    elif head.content_length >= 0:
        framing = BY_LENGTH
        conn.left = head.content_length
        conn.state = S_LENGTH
    else:
        framing = BY_CLOSE
        conn.state = S_CLOSE
        conn.keep = False
    if head.status >= 300:
        conn._stop_sending()        # an answer that does not want the rest (RFC 9112 §9.6)
    watch_at(conn, conn.heard_at)
    sink = conn.sink
    sink.on_head(conn, base, head, framing)
    if conn.sink is not None and (framing == BY_NOTHING or (framing == BY_LENGTH and conn.left == 0)):
        conn._finish(True, more)
    return 0


cdef int take_interim(Connection conn, const char* base, _core.ResponseHead* head) except -1:
    cdef object fields
    cdef Sink sink
    if head.status == 101:
        fields = _fields(base, head)
        if conn.upgrade is None or not head.upgrade or not _has_token(fields, "upgrade", conn.upgrade):
            conn._fail(Kind.MALFORMED, "the origin switched protocols without being asked")
            return 0
        conn.state = S_TUNNEL
        watch(conn)
        conn.sink.on_tunnel(conn, base, head)
        return 0
    conn.interims += 1
    if (conn.interims > MAX_INTERIM or head.status < 100 or head.content_length > 0
            or (head.present >> _core.F_TRANSFER_ENCODING) & 1):
        conn._fail(Kind.MALFORMED, "the origin's interim responses are malformed or too many")
        return 0
    watch(conn)
    if head.status != 100:
        sink = conn.sink
        sink.on_interim(head.status, _fields(base, head))
    return 0
