# One line of a head at a time, by the strictest reading of RFC 9112: CRLF only, single SPs, no folding, no
# white space before a colon, no control but HTAB in a value.
#
# A line that is not complete leaves in the cursor where its unfinished token starts and how far that was
# checked, so that the next call goes on from there: the bytes of a line are looked at once, however they
# arrive.

cdef struct Cursor:
    const uint8_t* buf
    const uint8_t* end
    const uint8_t* known        # NULL, or the token that an earlier call left unfinished ...
    const uint8_t* known_to     # ... and where its checked bytes end
    const uint8_t* token        # the same, left for the next call
    const uint8_t* stop
    int error                   # 0 after a NULL: more bytes are needed


cdef inline const uint8_t* more(Cursor* c, const uint8_t* token, const uint8_t* stop) noexcept nogil:
    c.token = token
    c.stop = stop
    c.error = 0
    return NULL


cdef inline const uint8_t* refuse(Cursor* c, int error) noexcept nogil:
    c.error = error
    return NULL


cdef inline const uint8_t* skip_token(const uint8_t* p, const uint8_t* end) noexcept nogil:
    while p < end and CLASS[p[0]] & C_TOKEN:
        p += 1
    return p


cdef inline const uint8_t* skip_visible(const uint8_t* p, const uint8_t* end) noexcept nogil:
    cdef uint64_t marks
    while end - p >= 8:
        marks = marks_not_visible(load8(p))
        if marks:
            return p + first_byte(marks)
        p += 8
    while p < end and CLASS[p[0]] & C_VISIBLE:
        p += 1
    return p


cdef inline const uint8_t* skip_text(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """To the first control that is not HTAB."""
    cdef uint64_t marks
    while end - p >= 8:
        marks = marks_control(load8(p))
        if marks == 0:
            p += 8
            continue
        p += first_byte(marks)
        if p[0] != 0x09:
            return p
        p += 1
    while p < end and (p[0] == 0x09 or (p[0] >= 0x20 and p[0] != 0x7F)):
        p += 1
    return p


cdef inline const uint8_t* line_end(Cursor* c, const uint8_t* p, const uint8_t* token) noexcept nogil:
    """Behind the CRLF that must stand at p."""
    if p == c.end:
        return more(c, token, p)
    if p[0] != 0x0D:
        return refuse(c, E_LINE_END)
    if p + 1 == c.end:
        return more(c, token, p)
    if p[1] != 0x0A:
        return refuse(c, E_LINE_END)
    return p + 2


cdef inline int http_version(const uint8_t* p, const uint8_t* end, int* minor) noexcept nogil:
    """8: complete; 0: more bytes are needed; negative: refused."""
    cdef const char* name = b"HTTP/"
    cdef ptrdiff_t i
    cdef ptrdiff_t n = min(end - p, <ptrdiff_t>8)
    if n == 8 and memcmp(p, b"HTTP/1.", 7) == 0 and (p[7] & 0xFE) == 0x30:
        minor[0] = p[7] & 1
        return 8
    for i in range(n):
        if i < 5:
            if p[i] != <uint8_t>name[i]:
                return -E_VERSION
        elif i == 6:
            if p[i] != 0x2E:
                return -E_VERSION
        elif not CLASS[p[i]] & C_DIGIT:
            return -E_VERSION
    return 0 if n < 8 else -E_VERSION_UNSUPPORTED


cdef inline const uint8_t* request_line(Cursor* c, RequestHead* out) noexcept nogil:
    """METHOD SP target SP HTTP/1.x CRLF (RFC 9112 §3), one empty line before it allowed (§2.2)."""
    cdef const uint8_t* p = c.buf
    cdef const uint8_t* start
    cdef int step
    if p < c.end and p[0] == 0x0D:
        p = line_end(c, p, p)
        if p == NULL:
            return NULL
    start = p
    if c.known <= start:
        if c.known == start:
            p = c.known_to
        p = skip_token(p, c.end)
        if p == c.end:
            return more(c, start, p)
        if p == start or p[0] != 0x20:
            return refuse(c, E_LINE_END if p == start and p[0] == 0x0A else E_METHOD)
        out.method = start - c.buf
        out.method_len = p - start
        out.method_id = method_id(start, p - start)
        p += 1
        start = p
        if c.known == start:
            p = c.known_to
    else:
        start = c.known
        p = c.known_to
    p = skip_visible(p, c.end)
    if p == c.end:
        return more(c, start, p)
    if p == start or p[0] != 0x20:
        return refuse(c, E_VERSION if p > start and p[0] == 0x0D else E_TARGET)
    out.target = start - c.buf
    out.target_len = p - start
    step = http_version(p + 1, c.end, &out.minor)
    if step <= 0:
        return refuse(c, -step) if step else more(c, start, p)
    if line_end(c, p + 9, start) == NULL:
        if c.error == 0:
            c.stop = p              # the version is looked at again, it is short
        return NULL
    return p + 11


cdef inline const uint8_t* status_line(Cursor* c, ResponseHead* out) noexcept nogil:
    """HTTP/1.x SP 3DIGIT [SP [reason]] CRLF (RFC 9112 §4); a missing reason is tolerated, with or without its
    SP."""
    cdef const uint8_t* p = c.buf
    cdef const uint8_t* start
    cdef int step = http_version(p, c.end, &out.minor)
    cdef int i
    if step <= 0:
        return refuse(c, -step) if step else more(c, p, p)
    p += 8
    if p == c.end:
        return more(c, c.buf, c.buf)
    if p[0] != 0x20:
        return refuse(c, E_STATUS_LINE)
    p += 1
    out.status = 0
    for i in range(3):
        if p == c.end:
            return more(c, c.buf, c.buf)
        if not CLASS[p[0]] & C_DIGIT or (i == 0 and p[0] == 0x30):
            return refuse(c, E_STATUS_LINE)
        out.status = out.status * 10 + p[0] - 0x30
        p += 1
    if p == c.end:
        return more(c, c.buf, c.buf)
    start = p
    if p[0] == 0x20:
        p += 1
        start = p
        if c.known == start:
            p = c.known_to
        p = skip_text(p, c.end)
    elif p[0] != 0x0D:
        return refuse(c, E_STATUS_LINE)
    out.reason = start - c.buf
    out.reason_len = p - start
    if p < c.end and p[0] != 0x0D and p[0] != 0x0A:
        return refuse(c, E_STATUS_LINE)
    return line_end(c, p, start)


cdef inline const uint8_t* field_line(Cursor* c, const uint8_t* p, FieldSpan* f) noexcept nogil:
    """name ":" OWS value OWS CRLF (RFC 9112 §5)."""
    cdef const uint8_t* start = p
    cdef const uint8_t* stop
    cdef const uint8_t* behind
    if c.known <= start:
        if c.known == start:
            p = c.known_to
        p = skip_token(p, c.end)
        if p == c.end:
            return more(c, start, p)
        if p == start or p[0] != 0x3A:
            if p == start and is_ows(p[0]):
                return refuse(c, E_FOLD)
            return refuse(c, E_LINE_END if p[0] == 0x0A else E_FIELD_NAME)
        f.name = start - c.buf
        f.name_len = p - start
        p += 1
        start = p
        if c.known == start:
            p = c.known_to
    else:
        start = c.known
        p = c.known_to
    p = skip_text(p, c.end)
    if p < c.end and p[0] != 0x0D and p[0] != 0x0A:
        return refuse(c, E_FIELD_VALUE)
    behind = line_end(c, p, start)
    if behind == NULL:
        return NULL
    stop = p
    trim(&start, &stop)
    f.value = start - c.buf
    f.value_len = stop - start
    return behind
