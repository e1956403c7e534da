# Part of cdn/proxy/_lane.pyx: a stored head written as the head of an answer, for every lane.


cdef inline char* _literal(char* dst, const char* text, size_t n) noexcept nogil:
    memcpy(dst, text, n)
    return dst + n


cdef char* compose(char* dst, const char* head, size_t head_len, size_t status_line_len, uint64_t lines_304,
                   int status_as, int64_t content_length, int64_t first, int64_t total,
                   int64_t age) noexcept nogil:
    """Write a stored head as the head of a 200 (or whatever was stored: `status_as` 0), a 206 or a 304.

    `content_length` < 0 writes none. For a 206 it is the length of the part that starts at `first` of `total`. `age` is
    in seconds, negative for none. What follows (Via, Cache-Status, Connection, the empty line) is the caller's. `dst`
    needs head_len + 256 bytes.
    """
    cdef const char* p = head + status_line_len
    cdef const char* end = head + head_len
    cdef const char* line
    cdef uint32_t i = 0
    if status_as == 304:
        dst = _literal(dst, b"HTTP/1.1 304 Not Modified\r\n", 27)
        while p < end and i < 64:
            line = <const char*>memchr(p, b"\n", end - p)
            if line == NULL:
                break       # a record that is just being replaced: the caller finds that out
            line += 1
            if (lines_304 >> i) & 1:
                dst = _literal(dst, p, line - p)
            p = line
            i += 1
    elif status_as == 206:
        dst = _literal(dst, b"HTTP/1.1 206 Partial Content\r\n", 30)
        dst = _literal(dst, p, end - p)
        dst = _literal(dst, b"Content-Range: bytes ", 21)
        dst = put_uint(dst, first)
        dst[0] = b"-"
        dst = put_uint(dst + 1, first + content_length - 1)
        dst[0] = b"/"
        dst = put_uint(dst + 1, total)
        dst = _literal(dst, b"\r\n", 2)
    else:
        dst = _literal(dst, head, head_len)
    if content_length >= 0 and status_as != 304:
        dst = _literal(dst, b"Content-Length: ", 16)
        dst = put_uint(dst, content_length)
        dst = _literal(dst, b"\r\n", 2)
    if age >= 0:
        dst = _literal(dst, b"Age: ", 5)
        dst = put_uint(dst, age)
        dst = _literal(dst, b"\r\n", 2)
    return dst


def compose_head(bytes head, size_t status_line_len, uint64_t lines_304, int status_as=0,
                 int64_t content_length=-1, int64_t first=0, int64_t total=0, int64_t age=-1) -> bytes:
    """`compose` for the exchange: the same bytes, by the same function."""
    cdef char* dst = <char*>malloc(len(head) + 256)
    if dst == NULL:
        raise MemoryError
    cdef char* end = compose(dst, head, len(head), status_line_len, lines_304, status_as, content_length,
                             first, total, age)
    try:
        return dst[:end - dst]
    finally:
        free(dst)
