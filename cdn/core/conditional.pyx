# Entity-tags: a list from a request against one stored tag (RFC 9110 §8.8.3, §13.1.1, §13.1.2).
#
# A malformed member never matches a well-formed tag. One without a quote is skipped; where a quote stands in the wrong
# place nobody can say where members begin, so the rest of the list matches nothing: the answer is then the full
# response or 412, never a wrong 304. A stored tag that lacks the quotes is matched, weakly only, by a member that repeats
# it byte for byte: clients send back what they were given.

cdef inline const uint8_t* opaque_end(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """Behind the opaque-tag that starts at p, or NULL."""
    if p == end or p[0] != 0x22:
        return NULL
    p += 1
    while p < end and CLASS[p[0]] & C_ETAG:
        p += 1
    return p + 1 if p < end and p[0] == 0x22 else NULL


cdef inline bint is_bare(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """Some bytes of which none is a quote, a comma, white space or a control."""
    if p == end:
        return False
    while p < end and CLASS[p[0]] & C_ETAG and p[0] != 0x2C:
        p += 1
    return p == end


cdef inline bint is_weak_mark(const uint8_t* p, const uint8_t* end) noexcept nogil:
    return end - p >= 2 and p[0] == 0x57 and p[1] == 0x2F


cdef bint etag_list_matches(const char* list, size_t n, const char* etag, size_t ne,
                            bint weak) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>list
    cdef const uint8_t* end = p + n
    cdef const uint8_t* own = <const uint8_t*>etag
    cdef const uint8_t* own_end = own + ne
    cdef const uint8_t* tag
    cdef const uint8_t* stop
    cdef bint own_weak, tag_weak, comparable, bare
    trim(&p, &end)
    if end - p == 1 and p[0] == 0x2A:
        return True
    bare = weak and is_bare(own, own_end)
    own_weak = not bare and is_weak_mark(own, own_end)
    if own_weak:
        own += 2
    comparable = bare or (opaque_end(own, own_end) == own_end and (weak or not own_weak))
    if not comparable:
        return False
    while p < end:
        if is_ows(p[0]) or p[0] == 0x2C:
            p += 1
            continue
        tag = p
        if bare and end - p >= own_end - own and memcmp(p, own, own_end - own) == 0:
            stop = p + (own_end - own)
            while stop < end and is_ows(stop[0]):
                stop += 1
            if stop == end or stop[0] == 0x2C:
                return True
        tag_weak = is_weak_mark(p, end)
        if tag_weak:
            tag += 2
        stop = opaque_end(tag, end)
        if stop == NULL:
            while p < end and p[0] != 0x2C:
                if p[0] == 0x22:
                    return False
                p += 1
            continue
        p = stop
        while p < end and is_ows(p[0]):
            p += 1
        if p < end and p[0] != 0x2C:
            return False
        if not bare and (weak or not tag_weak) and stop - tag == own_end - own and memcmp(tag, own, stop - tag) == 0:
            return True
    return False


def _etag_list_matches(bytes value not None, bytes etag not None, bint weak=True):
    """The list value (If-None-Match, If-Match) holds `etag` by weak or strong comparison, or is `*`."""
    return bool(etag_list_matches(value, len(value), etag, len(etag), weak))
