# Part of cdn/proxy/_fill.pyx: where a miss belongs.
#
# It is the lane's where nothing is stored for it in any form, and nobody is fetching it. Where the URL's responses vary, a
# marker lies under its key and lists by which fields: the miss is then one of that variant, found as the general lane
# finds it (`lookup.look_up`). Must not know what a record means.


cdef bint seek(FillLane lane, Passage p, const char* buf, RequestHead* head, Located* at, uint64_t* h,
               int64_t now) except -1:
    """Say what `p` is for, and under which key; `h` gets that key's hash. False: not for the lane."""
    cdef Memory memory = lane.memory
    cdef Record* r
    cdef bint alone
    memory.hash_both(at.key, at.key_len, h)
    if lane.site.equivalents.learnt:
        return False
    r = memory.find_hashed(h[0], h[1], at.key, at.key_len)
    alone = memory.is_uncacheable(h, now)
    if r == NULL:
        if lane._behind(<char*>at.key, at.key_len):
            return False
        p.primary = p.key = PyBytes_FromStringAndSize(at.key, at.key_len)
        if lane.disk is not None and lane._on_disk(p.key):
            return False
    elif not further(lane, p, r, buf, head, at, h):
        return False
    p.door = p.key
    if p.way.codings:
        p.encoding = p.way.encoding(buf, head)
    if head.method_id == M_HEAD:
        p.kind = TOLD
        p.reason = METHOD
        return True
    if p.key in lane.flights:
        return False
    p.kind = ALONE if alone else MISSED
    if p.specs is not None and not alone:       # whoever goes alone asks with its own fields
        p.entries, briefs = about(lane.site, p.primary, encodings_of(p, buf, head), p.way.codings)
        if briefs:
            p.question = filling.asks_about(briefs)
    return True


cdef bint further(FillLane lane, Passage p, Record* r, const char* buf, RequestHead* head, Located* at,
                  uint64_t* h) except -1:
    """The key of a variant of which nothing is stored where something else lies under the URL's; False: not for the lane."""
    cdef Memory memory = lane.memory
    cdef object disk = lane.disk
    cdef char* key = <char*>at.key
    cdef size_t n = at.key_len
    cdef char meta[MARKER]
    cdef Specs specs
    cdef const char* names
    cdef size_t length
    cdef int64_t more
    cdef Record copy
    cdef int got
    cdef bytes one
    if not memory.snapshot(r, &copy) or not copy.flags & RECORD_VARY_MARKER or copy.meta_len > MARKER:
        return False
    memcpy(meta, <const char*>(r + 1) + copy.key_len + copy.head_len, copy.meta_len)
    if not memory.unchanged():
        return False
    if lane._behind(key, n):
        return False
    p.primary = PyBytes_FromStringAndSize(key, n)
    if disk is not None and (disk.has(p.primary + lane.parts) or disk.has(p.primary + lane.slices)):
        return False
    p.specs = filling.specs_of(PyBytes_FromStringAndSize(meta, copy.meta_len))
    if p.specs is None or not specs_begin(&specs, meta, copy.meta_len):
        return False
    while True:
        got = next_spec(&specs, &names, &length)
        if got == 0:
            return p.key is not None
        more = -1 if got < 0 else lane.hit.normaliser.append_variant(
            names, length, buf, head, p.way.coding, p.way.coding_len, key + n, KEY_ROOM - n)
        if more < 0 or memory.find(key, n + more) != NULL or lane._behind(key, n + more):
            return False
        if p.key is None or disk is not None:
            one = PyBytes_FromStringAndSize(key, n + more)
            if p.key is None:           # by the first of them
                p.key = one
                memory.hash_both(key, n + more, h)
            if disk is not None and lane._on_disk(one):
                return False


cdef object encodings_of(Passage p, const char* buf, RequestHead* head):
    """Of a request's fields, as its origin gets them, those that a variant's coding has to fit."""
    cdef list lines = []
    cdef uint32_t i
    if p.encoding is not None:
        return Fields([("Accept-Encoding", p.encoding.decode("latin-1"))])
    for i in range(head.nfields):
        if head.fields[i].id == F_ACCEPT_ENCODING:
            lines += _lines(buf, &head.fields[i], 1)
    return Fields(lines)
