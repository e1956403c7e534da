# Whole heads: lines one after another, and what their fields mean for framing. RFC 9112 §6 read so that no
# two readers can disagree: whatever is ambiguous is refused here, and no later code looks at framing again.
#
# `resume` packs three offsets (line, token, checked up to), 21 bits each, so a head is at most 2 MiB - 1.

cdef enum:
    OFFSET_BITS = 21
    OFFSET_MASK = (1 << OFFSET_BITS) - 1


cdef inline int64_t decimal(const uint8_t* p, size_t n) noexcept nogil:
    """1*DIGIT up to INT64_MAX, or -1."""
    cdef int64_t value = 0
    cdef size_t i
    cdef int digit
    if n == 0:
        return -1
    for i in range(n):
        digit = p[i] - 0x30
        if digit < 0 or digit > 9 or value > (INT64_MAX - digit) // 10:
            return -1
        value = value * 10 + digit
    return value


cdef void connection_options(const uint8_t* p, size_t n,
                             bint* close, bint* keep, bint* upgrade) noexcept nogil:
    cdef const char* value = <const char*>p
    if n == 10 and same_folded(value, n, b"keep-alive", 10):
        keep[0] = True
        return
    if list_has_token(value, n, b"close", 5):
        close[0] = True
    if list_has_token(value, n, b"keep-alive", 10):
        keep[0] = True
    if list_has_token(value, n, b"upgrade", 7):
        upgrade[0] = True


cdef inline bint is_chunked(const uint8_t* p, size_t n) noexcept nogil:
    """Exactly "chunked", and no white space behind it: parsers in use disagree about that."""
    return same_folded(<const char*>p, n, b"chunked", 7) and p[7] == 0x0D


cdef int coding_error(const uint8_t* p, size_t n) noexcept nogil:
    """Which error a Transfer-Encoding deserves that is not exactly "chunked"."""
    if n and p[n] == 0x0D and skip_token(p, p + n) == p + n:
        return E_TRANSFER_CODING
    return E_TRANSFER_ENCODING


cdef int response_length(const uint8_t* p, size_t n, int64_t* length) noexcept nogil:
    """One Content-Length line; equal members and lines count as one (RFC 9112 §6.3)."""
    cdef const uint8_t* end = p + n
    cdef const uint8_t* start
    cdef const uint8_t* stop
    cdef const uint8_t* comma
    cdef int64_t one
    while True:
        comma = <const uint8_t*>memchr(p, 0x2C, end - p)
        start = p
        stop = comma if comma != NULL else end
        trim(&start, &stop)
        one = decimal(start, stop - start)
        if one < 0:
            return E_CONTENT_LENGTH
        if length[0] >= 0 and length[0] != one:
            return E_CONTENT_LENGTH_REPEATED
        length[0] = one
        if comma == NULL:
            return 0
        p = comma + 1


ctypedef fused Head:        # one text for both, compiled for each
    RequestHead
    ResponseHead


cdef inline bint is_request(const Head* out) noexcept nogil:
    if Head is RequestHead:
        return True
    else:
        return False


cdef inline int take_length(const uint8_t* value, size_t n, Head* out) noexcept nogil:
    """A request has one line and one number; of a response's, equal ones count as one."""
    if Head is RequestHead:
        if (out.present >> F_CONTENT_LENGTH) & 1:
            return E_CONTENT_LENGTH_REPEATED
        out.content_length = decimal(value, n)
        return E_CONTENT_LENGTH if out.content_length < 0 else 0
    else:
        return response_length(value, n, &out.content_length)


cdef inline int framing(const Cursor* c, Head* out, const FieldSpan* f) noexcept nogil:
    """Take in a field that decides framing; 0 or a ScanError."""
    cdef const uint8_t* value = c.buf + f.value
    if f.id == F_HOST:
        if is_request(out) and (out.present >> F_HOST) & 1:
            return E_HOST_REPEATED
    elif f.id == F_CONTENT_LENGTH:
        if (out.present >> F_TRANSFER_ENCODING) & 1:
            return E_TWO_LENGTHS
        return take_length(value, f.value_len, out)
    elif f.id == F_TRANSFER_ENCODING:
        if out.chunked or out.minor == 0:
            return E_TRANSFER_ENCODING
        if (out.present >> F_CONTENT_LENGTH) & 1:
            return E_TWO_LENGTHS
        if not is_chunked(value, f.value_len):
            return coding_error(value, f.value_len)
        out.chunked = True
    elif f.id == F_CONNECTION:
        connection_options(value, f.value_len, &out.close, &out.keep_alive, &out.upgrade)
    return 0


cdef inline void cursor_at(Cursor* c, const char* buf, size_t n, uint32_t limit) noexcept nogil:
    c.buf = <const uint8_t*>buf
    c.end = c.buf + min(n, <size_t>limit)
    c.known = NULL
    c.known_to = NULL
    c.token = c.buf
    c.stop = c.buf
    c.error = 0


cdef inline bint continue_line(Cursor* c, size_t resume, const uint8_t** line) noexcept nogil:
    """True where the new bytes end no line, so that only the line in progress has to be looked at, from where
    it was left; else the head is read from its start."""
    cdef const uint8_t* checked = c.buf + ((resume >> (2 * OFFSET_BITS)) & OFFSET_MASK)
    if resume == 0 or checked > c.end or memchr(checked, 0x0A, c.end - checked) != NULL:
        return False
    line[0] = c.buf + (resume & OFFSET_MASK)
    c.known = c.buf + ((resume >> OFFSET_BITS) & OFFSET_MASK)
    c.known_to = checked
    return True


cdef inline int wait_or_refuse(const Cursor* c, const uint8_t* line, bint first, size_t n, uint32_t limit,
                               size_t* resume) noexcept nogil:
    if c.error:
        return -c.error
    if n >= limit:
        return -(E_TARGET_TOO_LONG if first else E_HEAD_TOO_LARGE)
    resume[0] = (
        <size_t>(line - c.buf)
        | (<size_t>(c.token - c.buf) << OFFSET_BITS)
        | (<size_t>(c.stop - c.buf) << (2 * OFFSET_BITS))
    )
    return 0


cdef uint64_t FRAMING = (
    (<uint64_t>1 << F_HOST)
    | (<uint64_t>1 << F_CONTENT_LENGTH)
    | (<uint64_t>1 << F_TRANSFER_ENCODING)
    | (<uint64_t>1 << F_CONNECTION)
)


cdef inline const uint8_t* first_line(Cursor* c, Head* out) noexcept nogil:
    if Head is RequestHead:
        return request_line(c, out)
    else:
        return status_line(c, out)


cdef inline int scan(const char* buf, size_t n, size_t* resume, uint32_t max_head, uint32_t max_fields,
                     Head* out) noexcept nogil:
    cdef Cursor c
    cdef FieldSpan spare
    cdef FieldSpan* f
    cdef const uint8_t* p
    cdef const uint8_t* line
    cdef uint32_t limit = min(max_head, <uint32_t>OFFSET_MASK)
    cdef uint32_t count = 0
    cursor_at(&c, buf, n, limit)
    if continue_line(&c, resume[0], &line):
        if line == c.buf:
            first_line(&c, out)
        else:
            if not (line < c.end and line[0] == 0x0D and line_end(&c, line, line) == NULL):
                field_line(&c, line, &spare)
        return wait_or_refuse(&c, line, is_request(out) and line == c.buf, n, limit, resume)

    max_fields = min(max_fields, <uint32_t>MAX_FIELDS)
    out.present = 0
    out.content_length = -1
    out.chunked = out.close = out.keep_alive = out.upgrade = False
    p = first_line(&c, out)
    if p == NULL:
        return wait_or_refuse(&c, c.buf, is_request(out), n, limit, resume)
    while True:
        line = p
        if p < c.end and p[0] == 0x0D:
            p = line_end(&c, p, p)
            if p == NULL:
                return wait_or_refuse(&c, line, False, n, limit, resume)
            break
        f = &out.fields[count] if count < max_fields else &spare
        p = field_line(&c, p, f)
        if p == NULL:
            return wait_or_refuse(&c, line, False, n, limit, resume)
        if count == max_fields:
            return -E_TOO_MANY_FIELDS
        count += 1
        f.id = known_id(c.buf + f.name, f.name_len)
        if f.id:
            if (FRAMING >> f.id) & 1:
                c.error = framing(&c, out, f)
                if c.error:
                    return -c.error
            out.present |= <uint64_t>1 << f.id
    out.length = p - c.buf
    out.nfields = count
    if is_request(out) and out.minor == 1 and not (out.present >> F_HOST) & 1:
        return -E_HOST_MISSING
    return 1


cdef int scan_request(const char* buf, size_t n, size_t* resume, uint32_t max_head, uint32_t max_fields,
                      RequestHead* out) noexcept nogil:
    return scan(buf, n, resume, max_head, max_fields, out)


cdef int scan_response(const char* buf, size_t n, size_t* resume, uint32_t max_head, uint32_t max_fields,
                       ResponseHead* out) noexcept nogil:
    return scan(buf, n, resume, max_head, max_fields, out)
