# Heads as Python values, for tests and callers off the hot path.

RequestHeadView = namedtuple(
    "RequestHeadView",
    "method target minor fields content_length chunked close keep_alive upgrade length",
)
ResponseHeadView = namedtuple(
    "ResponseHeadView",
    "status reason minor fields content_length chunked close keep_alive upgrade length",
)


cdef list field_list(bytes data, const FieldSpan* fields, uint32_t count):
    cdef uint32_t i
    return [
        (
            data[fields[i].name:fields[i].name + fields[i].name_len].decode("latin-1"),
            data[fields[i].value:fields[i].value + fields[i].value_len].decode("latin-1"),
        )
        for i in range(count)
    ]


cdef tuple shared_view(bytes data, const Head* h):
    """What both kinds of head end with."""
    return (
        h.minor,
        field_list(data, h.fields, h.nfields),
        None if h.content_length < 0 else h.content_length,
        bool(h.chunked),
        bool(h.close),
        bool(h.keep_alive),
        bool(h.upgrade),
        h.length,
    )


cdef object request_view(bytes data, const RequestHead* h):
    return RequestHeadView(
        data[h.method:h.method + h.method_len].decode("latin-1"),
        data[h.target:h.target + h.target_len],
        *shared_view(data, h),
    )


cdef object response_view(bytes data, const ResponseHead* h):
    return ResponseHeadView(
        h.status,
        data[h.reason:h.reason + h.reason_len].decode("latin-1"),
        *shared_view(data, h),
    )


def scan_request_head(bytes data not None, uint32_t max_head=32768, uint32_t max_fields=128):
    """The request head that `data` begins with, or None while it is incomplete. Raises HeadError."""
    cdef RequestHead head
    cdef size_t resume = 0
    cdef int step = scan_request(data, len(data), &resume, max_head, max_fields, &head)
    if step < 0:
        raise head_error(step)
    return request_view(data, &head) if step else None


def scan_response_head(bytes data not None, uint32_t max_head=32768, uint32_t max_fields=128):
    """The response head that `data` begins with, or None while it is incomplete. Raises HeadError."""
    cdef ResponseHead head
    cdef size_t resume = 0
    cdef int step = scan_response(data, len(data), &resume, max_head, max_fields, &head)
    if step < 0:
        raise head_error(step)
    return response_view(data, &head) if step else None


cdef class HeadScanner:
    """One head that arrives in pieces: `feed` returns its view once it is complete, None before, and raises
    HeadError.

    `buffer` is all that was fed. Work is linear in the bytes, however they are cut.
    """
    cdef size_t resume
    cdef bint response
    cdef uint32_t max_head
    cdef uint32_t max_fields
    cdef readonly bytes buffer

    def __cinit__(self, bint response=False, uint32_t max_head=32768, uint32_t max_fields=128):
        self.resume = 0
        self.response = response
        self.max_head = max_head
        self.max_fields = max_fields
        self.buffer = b""

    def feed(self, bytes piece not None):
        cdef RequestHead request
        cdef ResponseHead response
        cdef int step
        cdef const char* buf
        cdef size_t n
        self.buffer += piece
        buf = self.buffer
        n = len(self.buffer)
        if self.response:
            step = scan_response(buf, n, &self.resume, self.max_head, self.max_fields, &response)
        else:
            step = scan_request(buf, n, &self.resume, self.max_head, self.max_fields, &request)
        if step < 0:
            raise head_error(step)
        if step == 0:
            return None
        return response_view(self.buffer, &response) if self.response else request_view(self.buffer, &request)
