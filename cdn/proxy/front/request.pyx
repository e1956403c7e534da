# Part of cdn/proxy/_front.pyx: a request as the exchange gets it. Decides nothing; must not know who answers it.


cdef ClientStream new_stream(Connection c):
    cdef ClientStream stream = ClientStream.__new__(ClientStream)
    stream.connection = c
    stream.began = microseconds()
    stream.secure = c.front.secure
    stream.address = c.address
    stream.length_left = -1
    return stream


cdef ClientStream stream_of(Connection c, const char* buf, RequestHead* head):
    cdef ClientStream stream = new_stream(c)
    cdef FieldSpan* f
    cdef uint32_t i
    stream.method = buf[head.method:head.method + head.method_len].decode("latin-1")
    stream.target = PyBytes_FromStringAndSize(buf + head.target, head.target_len)
    stream.version = (1, head.minor)
    stream.fields = []
    for i in range(head.nfields):
        f = &head.fields[i]
        stream.fields.append((
            buf[f.name:f.name + f.name_len].decode("latin-1"),
            buf[f.value:f.value + f.value_len].decode("latin-1"),
        ))
    stream.upgrade = head.upgrade and (head.present >> F_UPGRADE) & 1
    return stream


cdef ClientStream stream_of_no_request(Connection c):
    """What a fault is answered on that came before there was a whole head."""
    cdef ClientStream stream = new_stream(c)
    stream.method = "-"
    stream.target = b"-"
    stream.version = (1, 1)
    stream.fields = []
    return stream
