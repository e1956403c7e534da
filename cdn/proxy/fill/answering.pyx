# Part of cdn/proxy/_fill.pyx: what the client is sent, in the bytes that the general lane would send.


cdef int relay(Passage passage, Shape shape, const char* base, ResponseHead* head, Framing framing,
               bytes status_line) except -1:
    """The head of a response that only this client gets."""
    cdef char* p = passage.lane.space
    cdef uint32_t i
    passage._worked(head.status)
    if passage.client is None:
        return passage._give_up()
    p = _status_line(p, base, head)
    for i in range(shape.lines):
        if (shape.passed >> i) & 1:
            p = _line(p, base, &head.fields[i])
    p = _put(p, shape.set_lines)
    if not shape.dated:
        p = _date_line(p, passage.response_time // 1000)
    p = _put(p, passage.lane.old_via if head.minor == 0 else passage.lane.via)
    p = _put(p, status_line)
    if passage.for_head:
        if head.content_length >= 0 and head.status != 204 and head.status != 304 and _one_length(base, head):
            p = _length(p, head.content_length)
    elif framing == BY_LENGTH:
        p = _length(p, head.content_length)
    elif framing == BY_CHUNKS:
        p = _in_chunks(passage, p)
    return head_out(passage, p, head.status)


cdef int tell(Passage passage, const char* base, ResponseHead* head, bytes status_line) except -1:
    """The same for a HEAD whose answer says what a GET would be given, in a coding: the rules make it, each time."""
    cdef char* p = passage.lane.space
    cdef int64_t length
    passage._worked(head.status)
    if passage.client is None:
        return passage._give_up()
    lines, length = filling.told(passage.way.route, request_of(passage), response_of(base, head), passage.request_time,
                                 passage.response_time)
    p = _put(p, lines)
    p = _put(p, passage.lane.old_via if head.minor == 0 else passage.lane.via)
    p = _put(p, status_line)
    if length >= 0:
        p = _length(p, length)
    return head_out(passage, p, head.status)


cdef int serve(Passage passage, object draft, ResponseHead* head, Framing framing) except -1:
    """The head of a response that is being stored, as the general lane writes it (`answer._full`)."""
    cdef FillLane lane = passage.lane
    cdef bint varies = passage.specs is not None
    cdef char* p = lane.space
    cdef int64_t now = passage.response_time, ttl, born, until
    cdef bytes text
    passage._worked(head.status)
    if passage.client is None:
        return 0
    if type(draft) is Drafted:
        text, born, until = (<Drafted>draft).head, (<Drafted>draft).born, (<Drafted>draft).fresh_until
    else:
        text, born, until = draft.head, draft.born, draft.fresh_until
    p = _put(p, text)
    if framing == BY_LENGTH:
        p = _length(p, head.content_length)
    if passage.aged:
        p = _core.put_bytes(p, b"Age: ", 5)
        p = put_uint(p, max(0, now - born) // 1000)
        p = _core.put_bytes(p, b"\r\n", 2)
    p = _put(p, lane.old_via if head.minor == 0 else lane.via)
    p = _put(p, <bytes>lane.stored[varies][0])
    ttl = until - now
    if ttl < 0:
        p[0] = b"-"
        p = put_uint(p + 1, (999 - ttl) // 1000)
    else:
        p = put_uint(p, ttl // 1000)
    p = _put(p, <bytes>lane.stored[varies][1])
    if framing == BY_CHUNKS:
        p = _in_chunks(passage, p)
    return head_out(passage, p, head.status)


cdef int head_out(Passage passage, char* p, int status) except -1:
    """The head is written up to `p`: it leaves with what follows it in the same segment."""
    if passage.client.last:
        p = _core.put_bytes(p, b"Connection: close\r\n", 19)
    p = _core.put_bytes(p, b"\r\n", 2)
    passage.line.status = status
    passage.lane.held = p - passage.lane.space
    return 0


cdef int send_out(Passage passage, const char* data, size_t n, bint ends) except -1:
    """Send a head that waits, and body bytes behind it; `ends`: the last of them."""
    cdef iovec pieces[4]
    cdef int count = 0
    cdef char size[20]
    if passage.client is None:
        passage.lane.held = 0
        return 0
    if passage.lane.held:
        pieces[0].iov_base = passage.lane.space
        pieces[0].iov_len = passage.lane.held
        passage.lane.held = 0
        count = 1
    if n:
        passage.sent += n
        if passage.chunked:
            pieces[count].iov_base = size
            pieces[count].iov_len = _hex(size, n)
            count += 1
        pieces[count].iov_base = <void*>data
        pieces[count].iov_len = n
        count += 1
        if passage.chunked:
            passage.closed = ends
            pieces[count].iov_base = <void*><const char*>b"\r\n0\r\n\r\n"
            pieces[count].iov_len = 7 if ends else 2
            count += 1
    if count == 1:
        send_bytes(passage.client, <const char*>pieces[0].iov_base, pieces[0].iov_len)
    elif count:
        send_pieces(passage.client, pieces, count)
    return 0


cdef inline char* _in_chunks(Passage passage, char* p) noexcept:
    passage.chunked = True
    return _core.put_bytes(p, b"Transfer-Encoding: chunked\r\n", 28)


cdef inline char* _length(char* p, int64_t n) noexcept nogil:
    p = put_uint(_core.put_bytes(p, b"Content-Length: ", 16), n)
    return _core.put_bytes(p, b"\r\n", 2)


cdef bint _one_length(const char* base, ResponseHead* head) noexcept nogil:
    """Whether Content-Length is one line of digits: what is repeated to a HEAD."""
    cdef uint32_t i, j, lines = 0
    for i in range(head.nfields):
        if head.fields[i].id == _core.F_CONTENT_LENGTH:
            lines += 1
            for j in range(head.fields[i].value_len):
                if not b"0" <= base[head.fields[i].value + j] <= b"9":
                    return False
    return lines == 1


cdef int _hex(char* dst, size_t n) noexcept nogil:
    """The size line of a chunk; returns its length."""
    cdef const char* digits = b"0123456789abcdef"
    cdef int shift = 60, length = 0
    while shift and not (n >> shift) & 15:
        shift -= 4
    while shift >= 0:
        dst[length] = digits[(n >> shift) & 15]
        length += 1
        shift -= 4
    dst[length] = b"\r"
    dst[length + 1] = b"\n"
    return length + 2
