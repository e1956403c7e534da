# A record that is not held, as its readers find it again: by its key, and only where the same body lies there still.
#
# It is the same where the response is: it came in the same millisecond, with the same head and length (a fill of a key
# begins only after the one before is stored or given up, and of that nobody can be here); what a soft purge or a new epoch
# changes does not matter. And it is the same where status, length and a strong entity-tag are (RFC 9110 §8.8.3), as after
# a revalidation. Knows no reader, and not why nobody holds it.


cdef inline bint same_body(const Record* r, const Record* was, const char* head) noexcept nogil:
    if r.body_length != was.body_length or r.status != was.status:
        return False
    if (r.born == was.born and r.response_time == was.response_time and r.head_len == was.head_len
            and memcmp(record_head(r), head, r.head_len) == 0):
        return True
    return (was.etag_len > 1 and head[was.etag] == b'"' and r.etag_len == was.etag_len
            and memcmp(record_head(r) + r.etag, head + was.etag, was.etag_len) == 0)


@cython.final
cdef class Loose:

    def __init__(self, *args, **kwargs):
        raise TypeError("loose records come from the store")

    cdef Record* find_again(self) noexcept:
        """The record, pinned; NULL: it is gone, or another one lies there."""
        cdef Record* r = self.memory.hold(PyBytes_AS_STRING(self.key), PyBytes_GET_SIZE(self.key))
        if r == NULL or same_body(r, &self.was, PyBytes_AS_STRING(self.head)):
            return r
        unpin_record(&self.memory.s, r)
        return NULL

    cdef Record* hold(self, int64_t now) noexcept:
        """The same for who reads some of it, which is a use: what many read stays."""
        cdef Record* r = self.find_again()
        if r != NULL:
            self.memory.touch(r, now)
        return r

    def read(self, uint64_t offset, uint64_t n, int64_t now):
        cdef Record* r = self.hold(now)
        if r == NULL:
            return None
        try:
            return read_body(&self.memory.s, r, offset, n)
        finally:
            unpin_record(&self.memory.s, r)


cdef Loose loosened(Memory memory, Record* r):
    """What finds r, which is held, again. None: it would not be found now, so who reads it cannot do without its pin."""
    cdef Loose loose = Loose.__new__(Loose)
    cdef Record* found
    loose.memory = memory
    loose.key = PyBytes_FromStringAndSize(record_key(r), r.key_len)
    loose.head = PyBytes_FromStringAndSize(record_head(r), r.head_len)
    loose.was = r[0]
    found = loose.find_again()
    if found == NULL:
        return None
    unpin_record(&memory.s, found)
    return loose
