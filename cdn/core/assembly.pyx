# Pieces of a response head, written forward into memory that the caller has sized.

cdef const char* REASONS[1000]

REASON_PHRASES = {
    100: b"Continue",
    101: b"Switching Protocols",
    102: b"Processing",
    103: b"Early Hints",
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    203: b"Non-Authoritative Information",
    204: b"No Content",
    205: b"Reset Content",
    206: b"Partial Content",
    207: b"Multi-Status",
    208: b"Already Reported",
    226: b"IM Used",
    300: b"Multiple Choices",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    305: b"Use Proxy",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    411: b"Length Required",
    412: b"Precondition Failed",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    416: b"Range Not Satisfiable",
    417: b"Expectation Failed",
    418: b"I'm a Teapot",
    421: b"Misdirected Request",
    422: b"Unprocessable Content",
    423: b"Locked",
    424: b"Failed Dependency",
    425: b"Too Early",
    426: b"Upgrade Required",
    428: b"Precondition Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    451: b"Unavailable For Legal Reasons",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    506: b"Variant Also Negotiates",
    507: b"Insufficient Storage",
    508: b"Loop Detected",
    510: b"Not Extended",
    511: b"Network Authentication Required",
}


cdef void fill_reasons():
    cdef int status
    for status in range(1000):
        REASONS[status] = b""
    for number, phrase in REASON_PHRASES.items():
        REASONS[<int>number] = phrase       # the table keeps the bytes alive


fill_reasons()


cdef const char* reason_phrase_c(int status) noexcept nogil:
    return REASONS[status if 0 <= status < 1000 else 0]


# hot
cdef char* put_uint(char* dst, uint64_t value) noexcept nogil:
    cdef char digits[20]
    cdef int n = 20
    if value < 10:
        dst[0] = <char>(0x30 + value)
        return dst + 1
    while value:
        n -= 1
        digits[n] = <char>(0x30 + value % 10)
        value //= 10
    memcpy(dst, digits + n, 20 - n)
    return dst + 20 - n


# hot
cdef char* put_bytes(char* dst, const char* src, size_t n) noexcept nogil:
    memcpy(dst, src, n)
    return dst + n


# hot
cdef char* put_status_line(char* dst, int status) noexcept nogil:
    """"HTTP/1.1 NNN reason CRLF"; status 100..999."""
    cdef const char* reason = reason_phrase_c(status)
    dst = put_bytes(dst, b"HTTP/1.1 ", 9)
    dst = put_uint(dst, status)
    dst[0] = 0x20
    dst = put_bytes(dst + 1, reason, strlen(reason))
    return put_bytes(dst, b"\r\n", 2)


# hot
cdef char* put_field(char* dst, const char* name, size_t nn, const char* value, size_t nv) noexcept nogil:
    """"name: value CRLF"; room for nn + nv + 4."""
    dst = put_bytes(dst, name, nn)
    dst = put_bytes(dst, b": ", 2)
    dst = put_bytes(dst, value, nv)
    return put_bytes(dst, b"\r\n", 2)


def reason_phrase(int status):
    """The registered reason phrase, "" when unknown."""
    return (<bytes>reason_phrase_c(status)).decode("ascii")


def format_uint(uint64_t value):
    """Decimal digits, as bytes."""
    cdef char dst[20]
    return dst[:put_uint(dst, value) - dst]


def format_field(bytes name not None, bytes value not None):
    """One field line with its CRLF, nothing checked."""
    cdef size_t room = len(name) + len(value) + 4
    cdef char* dst = <char*>malloc(room)
    if dst == NULL:
        raise MemoryError
    try:
        return dst[:put_field(dst, name, len(name), value, len(value)) - dst]
    finally:
        free(dst)


def _status_line(int status):
    """The HTTP/1.1 status line with its CRLF, as bytes; status 100..999 (else ValueError)."""
    cdef char dst[64]
    if not 100 <= status <= 999:
        raise ValueError("a status has three digits")
    return dst[:put_status_line(dst, status) - dst]
