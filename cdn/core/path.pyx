# The one normal form of a path: what the key, the route match and the origin see. RFC 3986 §6.2.2 in one
# pass.
#
# Escapes of unreserved bytes are decoded, other escapes get upper-case hex, dot segments (also written %2e)
# are resolved, "//" and %2f stay. Bytes that no path may hold raw but browsers send (" < > ^ ` { | } [ ]) are
# percent-encoded. Refused: a backslash or control, raw or escaped, a malformed escape, space, "?", "#" and
# bytes above 0x7e.

cdef inline bint path_escaped(uint8_t c) noexcept nogil:
    """Visible bytes outside RFC 3986 pchar that are sent raw and get percent-encoded."""
    return CLASS[c] & C_VISIBLE and c != 0x5C and c != 0x3F and c != 0x23 and c != 0x25


cdef inline size_t close_segment(char* dst, size_t segment, size_t out, bint last) noexcept nogil:
    """The segment dst[segment:out] is complete; the new length: with its "/" where another follows, resolved
    where it is a dot segment."""
    cdef size_t n = out - segment
    if n == 1 and dst[segment] == 0x2E:
        return segment
    if n == 2 and dst[segment] == 0x2E and dst[segment + 1] == 0x2E:
        if segment == 1:
            return 1
        segment -= 1
        while dst[segment - 1] != 0x2F:
            segment -= 1
        return segment
    if last:
        return out
    dst[out] = 0x2F
    return out + 1


cdef int normal_path(const char* src, size_t n, char* dst) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>src
    cdef const uint8_t* end = p + n
    cdef size_t out = 1
    cdef size_t segment = 1
    cdef uint8_t c
    dst[0] = 0x2F
    if n == 0:
        return 1
    if n > 0x7FFFFFFF // 3 or p[0] != 0x2F:
        return -1
    p += 1
    while p < end:
        c = p[0]
        p += 1
        if CLASS[c] & C_PATH:
            dst[out] = c
            out += 1
        elif c == 0x2F:
            out = segment = close_segment(dst, segment, out, False)
        elif c == 0x25:
            if end - p < 2 or not CLASS[p[0]] & C_HEX or not CLASS[p[1]] & C_HEX:
                return -1
            c = HEX_VALUE[p[0]] << 4 | HEX_VALUE[p[1]]
            p += 2
            if CLASS[c] & C_UNRESERVED:
                dst[out] = c
                out += 1
            elif c < 0x20 or c == 0x7F or c == 0x5C:
                return -1
            else:
                dst[out] = 0x25
                dst[out + 1] = HEX_UPPER[c >> 4]
                dst[out + 2] = HEX_UPPER[c & 15]
                out += 3
        elif path_escaped(c):
            dst[out] = 0x25
            dst[out + 1] = HEX_UPPER[c >> 4]
            dst[out + 2] = HEX_UPPER[c & 15]
            out += 3
        else:
            return -1
    return <int>close_segment(dst, segment, out, True)


cdef object path_bytes(bytes path):
    cdef char* dst = <char*>malloc(3 * len(path) + 1)
    cdef int n
    if dst == NULL:
        raise MemoryError
    try:
        n = normal_path(path, len(path), dst)
        return None if n < 0 else dst[:n]
    finally:
        free(dst)


def _normal_path(bytes path not None):
    """The normal form of a path (no query), as str. Raises HeadError(400, "path")."""
    found = path_bytes(path)
    if found is None:
        raise head_error(E_PATH)
    return found.decode("ascii")
