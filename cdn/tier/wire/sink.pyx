# A scanned head as Python values, and the sink that hears nothing.

cdef object _fields(const char* base, _core.ResponseHead* head):
    cdef list lines = []
    cdef uint32_t i
    cdef _core.FieldSpan* f
    for i in range(head.nfields):
        f = &head.fields[i]
        lines.append((PyUnicode_DecodeLatin1(base + f.name, f.name_len, NULL),
                      PyUnicode_DecodeLatin1(base + f.value, f.value_len, NULL)))
    return Fields(lines)


cdef object _head_value(const char* base, _core.ResponseHead* head):
    return ResponseHead(head.status, _fields(base, head),
                        PyUnicode_DecodeLatin1(base + head.reason, head.reason_len, NULL), (1, head.minor))


cdef bint _has_token(object fields, str name, str token):
    value = fields.get(name) or ""
    return token in [part.strip(" \t").lower() for part in value.split(",")]


cdef class Sink:
    cdef int on_interim(self, int status, object fields) except -1:
        return 0

    cdef int on_head(self, Connection conn, const char* base, _core.ResponseHead* head,
                     Framing framing) except -1:
        return 0

    cdef int on_tunnel(self, Connection conn, const char* base, _core.ResponseHead* head) except -1:
        return 0

    cdef int on_data(self, const char* data, Py_ssize_t n) except -1:
        return 0

    cdef int on_told(self) except -1:
        return 0

    cdef int on_end(self, bint whole) except -1:
        return 0

    cdef int on_fail(self, object error) except -1:
        return 0

    cdef int on_writable(self) except -1:
        return 0
