# A chunked response body as its sink hears it: without its framing, and one piece for each segment.
#
# What is well-formed is the leaf's to say (`core/chunked.pyx`).

cdef int dechunk(Connection conn, const char* base, size_t n, Py_ssize_t at) except -1:
    """Give the segment's body as one piece: many small chunks must not become many small objects."""
    cdef size_t pos = at, first = 0, start = 0, size = 0, pieces = 0
    cdef size_t held = 0
    cdef bytearray joined = None
    cdef Sink sink = conn.sink
    cdef int step
    while True:
        step = _core.chunked_next(&conn.chunks, base, n, &pos, &start, &size)
        if step != _core.CHUNK_DATA:
            break
        if size == 0:
            continue
        pieces += 1
        if pieces == 1:
            first = start
            held = size
        else:
            if joined is None:
                joined = bytearray(base[first:first + held])
            joined += base[start:start + size]
    conn.at_end = step == _core.CHUNK_END
    if joined is not None:
        sink.on_data(PyByteArray_AS_STRING(joined), PyByteArray_GET_SIZE(joined))
    elif pieces == 1:
        sink.on_data(base + first, held)
    if conn.state != S_CHUNKS or conn.sink is None:
        return 0
    if step == _core.CHUNK_END:
        conn._finish(True, pos < n)
    elif step == _core.CHUNK_BAD:
        conn._fail(Kind.MALFORMED, "the response's chunks are malformed")
    return 0


cdef Py_ssize_t body_within(size_t n, const char** body, char* room, size_t most) noexcept nogil:
    """The length of a chunked body that is whole within the `n` bytes at `body`, which is then where it lies: where it was
    received, or in `room` where it came in several chunks. -1: more is to come, it is malformed, or it is over `most`."""
    cdef _core.Chunked chunks
    cdef const char* base = body[0]
    cdef size_t pos = 0, start = 0, size = 0, held = 0
    cdef int step
    memset(&chunks, 0, sizeof(chunks))
    while True:
        step = _core.chunked_next(&chunks, base, n, &pos, &start, &size)
        if step != _core.CHUNK_DATA:
            return <Py_ssize_t>held if step == _core.CHUNK_END else -1
        if held + size > most:
            return -1
        if held == 0:
            body[0] = base + start
        else:
            if body[0] != room:
                memcpy(room, body[0], held)
                body[0] = room
            memcpy(room + held, base + start, size)
        held += size


def whole_body(bytes data not None, size_t most):
    """What `body_within` makes of these bytes; None: not a whole body."""
    cdef const char* body = PyBytes_AS_STRING(data)
    cdef bytes room = PyBytes_FromStringAndSize(NULL, most)
    cdef Py_ssize_t n = body_within(PyBytes_GET_SIZE(data), &body, PyBytes_AS_STRING(room), most)
    return None if n < 0 else body[:n]
