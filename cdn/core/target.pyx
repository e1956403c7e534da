# The request target (RFC 9112 §3.2) taken apart and normalised: authority, path, query. Which method takes
# which form is decided here; a query passes as it is.

cdef int target_query(const char* target, size_t n, size_t offset, TargetParts* out) noexcept nogil:
    """Record the query of target[0:n], which begins at `offset` of its buffer; the length of what stands
    before it, or an error for a fragment."""
    cdef const char* mark = <const char*>memchr(target, 0x3F, n)
    if memchr(target, 0x23, n) != NULL:
        return -E_TARGET_FORM
    if mark == NULL:
        out.query = 0
        out.query_len = -1
        return <int>n
    out.query = <uint32_t>(offset + (mark - target) + 1)
    out.query_len = <int32_t>(n - (mark - target) - 1)
    return <int>(mark - target)


cdef int target_path(const char* target, size_t n, size_t offset, char* path,
                     TargetParts* out) noexcept nogil:
    cdef int before = target_query(target, n, offset, out)
    cdef int length
    if before < 0:
        return before
    length = normal_path(target, before, path)
    if length < 0:
        return -E_PATH
    out.path_len = length
    return 0


cdef int absolute_target(const char* target, size_t n, size_t offset, bint https, bint is_options,
                         char* authority, char* path, TargetParts* out) noexcept nogil:
    """http(s)://host[:port][path][?query]. The scheme is checked, then the listener's stands."""
    cdef size_t start
    cdef size_t stop
    cdef int length
    if n > 7 and same_folded(target, 7, b"http://", 7):
        start = 7
    elif n > 8 and same_folded(target, 8, b"https://", 8):
        start = 8
    else:
        return -E_TARGET_FORM
    stop = start
    while stop < n and target[stop] != 0x2F and target[stop] != 0x3F and target[stop] != 0x23:
        stop += 1
    length = normal_authority(target + start, stop - start, https, authority)
    if length < 0:
        return -E_AUTHORITY
    out.authority_len = length
    if stop == n and is_options:
        path[0] = 0x2A              # RFC 9112 §3.2.4
        out.path_len = 1
        out.query = 0
        out.query_len = -1
        return TARGET_ASTERISK
    length = target_path(target + stop, n - stop, offset + stop, path, out)
    return length if length < 0 else TARGET_ABSOLUTE


cdef int authority_target(const char* target, size_t n, bint https, char* authority,
                          TargetParts* out) noexcept nogil:
    """host:port of a CONNECT; the port is required (RFC 9112 §3.2.3)."""
    cdef int length = normal_authority(target, n, https, authority)
    if length < 0 or not CLASS[<uint8_t>target[n - 1]] & C_DIGIT or memchr(target, 0x3A, n) == NULL:
        return -E_AUTHORITY
    out.authority_len = length
    out.path_len = 0
    out.query = 0
    out.query_len = -1
    return TARGET_AUTHORITY


cdef int split_spans(const char* target, size_t n, size_t offset, int method, bint needs_host,
                     const char* host, int64_t host_len, bint https,
                     char* authority, char* path, TargetParts* out) noexcept nogil:
    cdef int form, length
    cdef char other[HOST_MAX + 17]
    if method == M_CONNECT:
        form = authority_target(target, n, https, authority, out)
    elif n and target[0] == 0x2F:
        if host_len < 0:
            if needs_host:
                return -E_HOST_MISSING
            out.authority_len = 0
            form = TARGET_NO_HOST
        else:
            length = normal_authority(host, host_len, https, authority)
            if length < 0:
                return -E_AUTHORITY
            out.authority_len = length
            form = TARGET_PLAIN
        length = target_path(target, n, offset, path, out)
        return length if length < 0 else form
    elif n == 1 and target[0] == 0x2A:
        if method != M_OPTIONS:
            return -E_TARGET_FORM
        out.authority_len = 0
        if host_len >= 0:
            length = normal_authority(host, host_len, https, authority)
            if length < 0:
                return -E_AUTHORITY
            out.authority_len = length
        elif needs_host:
            return -E_HOST_MISSING
        path[0] = 0x2A
        out.path_len = 1
        out.query = 0
        out.query_len = -1
        return TARGET_ASTERISK
    else:
        form = absolute_target(target, n, offset, https, method == M_OPTIONS, authority, path, out)
    if form < 0:
        return form
    if host_len < 0:
        return -E_HOST_MISSING if needs_host else form
    length = normal_authority(host, host_len, https, other)
    if length < 0:
        return -E_AUTHORITY
    if <uint32_t>length != out.authority_len or memcmp(other, authority, length) != 0:
        return -E_HOST_MISMATCH
    return form


cdef int split_request_target(const RequestHead* head, const char* buf, bint https,
                              char* authority, char* path, TargetParts* out) noexcept nogil:
    cdef int at = find_field(head.fields, head.nfields, F_HOST, 0)
    cdef const char* host = NULL
    cdef int64_t host_len = -1
    if at >= 0:
        host = buf + head.fields[at].value
        host_len = head.fields[at].value_len
    return split_spans(buf + head.target, head.target_len, head.target, head.method_id, head.minor == 1,
                       host, host_len, https, authority, path, out)


cdef object target_tuple(const char* buf, const char* authority, const char* path, const TargetParts* parts):
    query = None
    if parts.query_len >= 0:
        query = buf[parts.query:parts.query + parts.query_len].decode("ascii")
    return authority[:parts.authority_len].decode("ascii"), path[:parts.path_len].decode("ascii"), query


def split_target(bytes target not None, bint https, host, str method="GET"):
    """(authority, path, query or None) of a request target, normalised, as str.

    `host` is the Host value or None (an HTTP/1.0 request without one: the authority is then "", or the
    target's own). The path is "*" for `OPTIONS *` and "" for CONNECT. Raises HeadError.
    """
    cdef size_t n = len(target)
    cdef bytes host_bytes = b"" if host is None else host
    cdef bytes name = method.encode("latin-1")
    cdef const char* text = target
    cdef const char* name_text = name
    cdef const uint8_t* start = <const uint8_t*>text
    cdef size_t host_room = max(n, <size_t>len(host_bytes)) + 1
    cdef TargetParts parts
    cdef char* room
    cdef int form
    if n == 0 or n >= OFFSET_MASK or skip_visible(start, start + n) != start + n:
        raise head_error(E_TARGET)
    room = <char*>malloc(host_room + 3 * n + 1)
    if room == NULL:
        raise MemoryError
    try:
        form = split_spans(text, n, 0, method_id(<const uint8_t*>name_text, len(name)), False,
                           host_bytes, -1 if host is None else <int64_t>len(host_bytes), https,
                           room, room + host_room, &parts)
        if form < 0:
            raise head_error(form)
        return target_tuple(text, room, room + host_room, &parts)
    finally:
        free(room)


def split_head(bytes data not None, bint https):
    """The same of a complete request head (its own Host, method and version count): (form, (authority,
    path, query)), where form is "plain", "absolute", "asterisk", "authority" or "no-host". Raises
    HeadError; ValueError for an incomplete head."""
    cdef RequestHead head
    cdef TargetParts parts
    cdef size_t resume = 0
    cdef const char* buf = data
    cdef size_t n = len(data)
    cdef char* room
    cdef int step = scan_request(buf, n, &resume, OFFSET_MASK, MAX_FIELDS, &head)
    if step == 0:
        raise ValueError("the head is incomplete")
    if step < 0:
        raise head_error(step)
    room = <char*>malloc(n + 3 * <size_t>head.target_len + 1)
    if room == NULL:
        raise MemoryError
    try:
        step = split_request_target(&head, buf, https, room, room + n, &parts)
        if step < 0:
            raise head_error(step)
        form = ("plain", "absolute", "asterisk", "authority", "no-host")[step]
        return form, target_tuple(buf, room, room + n, &parts)
    finally:
        free(room)
