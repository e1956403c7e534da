# Part of cdn/proxy/_front.pyx: the body of a request, from the client's bytes to the exchange that has the turn.
#
# Decides where a body ends and how much of it may wait. Must not know what it is for: whoever has answered already does
# not hear of it, and it is dropped.


cdef int begin_body(Connection c, RequestHead* head):
    """What the head announces; -1: it is refused."""
    cdef ClientStream stream = c.stream
    c.body_seen = 0
    c.body = BODY_NONE
    stream.body_done = True
    if head.chunked:
        c.body = BODY_CHUNKED
        memset(&c.chunked, 0, sizeof(Chunked))
    elif head.content_length >= 0:
        stream.body_length = head.content_length
        if head.content_length > c.front.body_limit:
            c._refuse(413, "body-limit")
            return -1
        if head.content_length > 0:
            c.body = BODY_LENGTH
            c.body_left = head.content_length
    if c.body != BODY_NONE:
        stream.has_body = True
        stream.body_done = False
    return 0


cdef int feed_body(Connection c, const char* buf, size_t n, size_t* pos):
    """Move body bytes from buf[pos:] to the stream (or drop them); -1: the connection is no longer ours."""
    cdef ClientStream stream = c.stream
    cdef size_t data = 0, length = 0
    cdef int step
    while pos[0] < n and c.body != BODY_NONE:
        if c.body == BODY_LENGTH:
            data = pos[0]
            length = n - data
            if length > c.body_left:
                length = c.body_left
            c.body_left -= length
            pos[0] += length
            step = CHUNK_DATA
        else:
            step = chunked_next(&c.chunked, buf, n, pos, &data, &length)
        if step == CHUNK_BAD:
            c.body = BODY_NONE
            c._count("chunked")
            spoil(c, "the request's chunked framing is broken")
            return -1
        if step == CHUNK_DATA:
            c.body_seen += length
            c.written += length
            if c.body_seen > c.front.body_limit:
                c.body = BODY_NONE
                c._count("body-limit")
                spoil(c, "the request's body is larger than the limit")
                return -1
            if stream is not None and not stream.finished:
                stream._push(PyBytes_FromStringAndSize(buf + data, length))
                if stream.waiting > BODY_WINDOW:
                    c._hold()
        if step == CHUNK_END or (c.body == BODY_LENGTH and c.body_left == 0):
            c.body = BODY_NONE
            if stream is not None:
                stream._body_end()
        if step == CHUNK_MORE:
            break
    return 0


cdef int spoil(Connection c, str why) except -1:
    """The request body broke its framing: the exchange hears of it, nothing behind it is read as a request."""
    cdef ClientStream stream = c.stream
    c.last = True
    if stream is None or stream.finished:
        c._linger()
        return 0
    stream._fail(ValueError(why))
    return 0
