# A stored response as Python sees it, and a draft as the store sees it.


cdef bytes NO_HEAD = b"\r\n"

cdef enum:
    MOST_STATUS = 999
    PIECES = 64         # of a body that are copied at a time


cdef tuple read_draft(draft, uint64_t stamp, bytes key, Record* t):
    """Fill a record's header from a Draft; returns (head, meta), or None where they fit no run. Hash and
    body are left to the caller.

    ValueError for what contradicts itself, OverflowError for a number out of its field's range.
    """
    cdef bytes head = draft.head
    cdef bytes meta = draft.meta
    cdef uint16_t status = draft.status
    memset(t, 0, sizeof(Record))
    if max(PyBytes_GET_SIZE(key), PyBytes_GET_SIZE(head), PyBytes_GET_SIZE(meta)) > 0xffff:
        return None
    t.key_len, t.head_len, t.meta_len = PyBytes_GET_SIZE(key), PyBytes_GET_SIZE(head), PyBytes_GET_SIZE(meta)
    t.stamp = record_stamp(stamp if draft.stamp is None else draft.stamp)
    t.born = record_time(draft.born)
    t.fresh_until = draft.fresh_until
    t.swr_until = record_time(draft.swr_until)
    t.sie_until = record_time(draft.sie_until)
    t.response_time = record_time(draft.response_time)
    t.last_modified = NO_TIME if draft.last_modified is None else record_time(draft.last_modified)
    t.lines_304 = draft.lines_304
    t.flags = draft.flags
    if status > MOST_STATUS:
        raise OverflowError("a status of more than three digits")
    t.status = status
    t.status_line_len = draft.status_line_len
    t.etag = draft.etag_offset
    t.etag_len = draft.etag_len
    if t.status_line_len > t.head_len or t.etag + t.etag_len > t.head_len:
        raise ValueError("a draft whose status line or entity-tag lies outside of its head")
    return head, meta


cdef void write_run(Record* r, const Record* t, bytes key, bytes head, bytes meta) noexcept:
    """Header, key, head and meta into a run that was made for them; `run` and `pins` stay.

    They stay at any instant: a fill's followers read on in a run that is written over where it lies, and a death in
    between must not leave one of no length.
    """
    cdef Record header = t[0]
    cdef char* at = <char*> (r + 1)
    header.run = r.run
    header.pins = r.pins
    memcpy(r, &header, sizeof(Record))
    memcpy(at, PyBytes_AS_STRING(key), t.key_len)
    at += t.key_len
    memcpy(at, PyBytes_AS_STRING(head), t.head_len)
    at += t.head_len
    memcpy(at, PyBytes_AS_STRING(meta), t.meta_len)


cdef bytes read_body(Space* s, const Record* r, uint64_t offset, uint64_t length):
    cdef iovec iov[PIECES]
    cdef bytes out
    cdef char* to
    cdef int n
    cdef int i
    if offset >= r.body_length:
        return b""
    if length > r.body_length - offset:
        length = r.body_length - offset
    out = PyBytes_FromStringAndSize(NULL, length)
    to = PyBytes_AS_STRING(out)
    while length:
        offset += body_pieces(s, r, r, offset, length, iov, PIECES, &n)
        for i in range(n):
            memcpy(to, iov[i].iov_base, iov[i].iov_len)
            to += iov[i].iov_len
            length -= iov[i].iov_len
    return out


cdef inline bint same_text(const Record* r, bytes head, bytes meta) noexcept:
    """Of heads and metas of the same length."""
    return (memcmp(record_head(r), PyBytes_AS_STRING(head), r.head_len) == 0
            and memcmp(record_meta(r), PyBytes_AS_STRING(meta), r.meta_len) == 0)


cdef draft_of(const Record* r):
    return Draft(
        status=r.status, head=PyBytes_FromStringAndSize(record_head(r), r.head_len),
        status_line_len=r.status_line_len, born=r.born, fresh_until=r.fresh_until, swr_until=r.swr_until,
        sie_until=r.sie_until, response_time=r.response_time, flags=r.flags, stamp=r.stamp,
        last_modified=None if r.last_modified == NO_TIME else r.last_modified,
        etag_offset=r.etag, etag_len=r.etag_len, lines_304=r.lines_304,
        meta=PyBytes_FromStringAndSize(record_meta(r), r.meta_len),
    )


cdef Entry entry_of(Memory memory, Record* r):
    """Of a record that is pinned for it: what is allocated here may let a dropped fill go, and that writes."""
    cdef Entry entry = Entry.__new__(Entry)
    entry.memory = memory
    entry.r = r
    return entry


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Entry:

    def __init__(self, *args, **kwargs):
        raise TypeError("entries come from the store")

    def __dealloc__(self):
        if self.r != NULL:
            unpin_record(&self.memory.s, self.r)

    cdef Record* record(self) except NULL:
        if self.r == NULL:
            raise ValueError("this entry has been released")
        return self.r

    def release(self):
        cdef Record* r = self.r
        if r != NULL:
            self.r = NULL
            unpin_record(&self.memory.s, r)

    @property
    def released(self):
        return self.r == NULL

    @property
    def current(self):
        return not load32_relaxed(&self.record().pins) & PIN_RETIRED

    @property
    def status(self):
        return self.record().status

    @property
    def flags(self):
        return self.record().flags

    @property
    def stamp(self):
        return self.record().stamp

    @property
    def born(self):
        return self.record().born

    @property
    def fresh_until(self):
        return <int64_t> load64_acquire(<uint64_t*> &self.record().fresh_until)

    @property
    def swr_until(self):
        return self.record().swr_until

    @property
    def sie_until(self):
        return self.record().sie_until

    @property
    def response_time(self):
        return self.record().response_time

    @property
    def last_modified(self):
        cdef int64_t value = self.record().last_modified
        return None if value == NO_TIME else value

    @property
    def etag_offset(self):
        return self.record().etag

    @property
    def etag(self):
        cdef Record* r = self.record()
        return PyBytes_FromStringAndSize(record_head(r) + r.etag, r.etag_len) if r.etag_len else None

    @property
    def lines_304(self):
        return self.record().lines_304

    @property
    def status_line_len(self):
        return self.record().status_line_len

    @property
    def body_length(self):
        return self.record().body_length

    @property
    def key(self):
        cdef Record* r = self.record()
        return PyBytes_FromStringAndSize(record_key(r), r.key_len)

    @property
    def head(self):
        cdef Record* r = self.record()
        return PyBytes_FromStringAndSize(record_head(r), r.head_len)

    @property
    def meta(self):
        cdef Record* r = self.record()
        return PyBytes_FromStringAndSize(record_meta(r), r.meta_len)

    @property
    def key_hash(self):
        return f"{self.record().hash0:016x}"

    def read(self, uint64_t offset=0, length=None):
        cdef Record* r = self.record()
        return read_body(&self.memory.s, r, offset, r.body_length if length is None else <uint64_t> length)

    def touch(self, int64_t now):
        self.memory.touch(self.record(), now)

    def draft(self):
        return draft_of(self.record())

    def loosen(self):
        return loosened(self.memory, self.record())

    def __repr__(self):
        if self.r == NULL:
            return "<Entry released>"
        return f"<Entry {self.status} {self.key!r} {self.body_length} bytes>"
