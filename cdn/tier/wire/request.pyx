# The request head as bytes: one pass over what was written proves that it is one message and no more.

cdef frozenset LENGTH_EXPECTED = frozenset(("POST", "PUT", "PATCH"))    # RFC 9110 §8.6

NO_BODY = -2
CHUNKED = -1


cdef inline bint _is_token(str text):
    cdef Py_UCS4 c
    for c in text:
        if not (c'a' <= c <= c'z' or c'A' <= c <= c'Z' or c'0' <= c <= c'9' or c in "!#$%&'*+-.^_`|~"):
            return False
    return len(text) > 0


def request_head(str method not None, str target not None, str host not None, object fields, int64_t length,
                 str upgrade=None):
    """One request head as bytes; `length`: NO_BODY, CHUNKED, or the body's Content-Length.

    Raises OriginError(UNSENDABLE) for what can't be one unambiguous message.
    """
    cdef list parts = [method, " ", target, " HTTP/1.1\r\nHost: ", host, "\r\n"]
    cdef Py_ssize_t lines = 2, found = 0, i
    cdef str name, value
    cdef bytes data
    cdef const char* p
    cdef unsigned char c
    if not _is_token(method) or not target or " " in target or "#" in target:
        raise OriginError(Kind.UNSENDABLE, "the method or target can't be sent")
    for name, value in fields:
        if name.lower() in OWN_FIELDS:
            continue
        if not _is_token(name):
            raise OriginError(Kind.UNSENDABLE, "a field name can't be sent")
        parts += (name, ": ", value, "\r\n")
        lines += 1
    if length == CHUNKED:
        parts.append("Transfer-Encoding: chunked\r\n")
        lines += 1
    elif length >= 0 or method in LENGTH_EXPECTED:
        parts.append(f"Content-Length: {max(length, 0)}\r\n")
        lines += 1
    if upgrade is not None:
        parts.append(f"Connection: upgrade\r\nUpgrade: {upgrade}\r\n")
        lines += 2
    parts.append("\r\n")
    lines += 1
    try:
        data = "".join(parts).encode("latin-1")
    except UnicodeEncodeError:
        raise OriginError(Kind.UNSENDABLE, "a field value can't be sent as bytes") from None
    p = PyBytes_AS_STRING(data)
    for i in range(PyBytes_GET_SIZE(data)):
        c = <unsigned char>p[i]
        if c < 32 or c == 127:
            if c == c'\r' and p[i + 1] == c'\n':            # a bytes object ends in NUL: p[i + 1] is there
                found += 1
            elif not (c == c'\t' or (c == c'\n' and i > 0 and p[i - 1] == c'\r')):
                raise OriginError(Kind.UNSENDABLE, "a control character can't be sent")
    if found != lines:
        raise OriginError(Kind.UNSENDABLE, "a line break inside a field can't be sent")
    return data
