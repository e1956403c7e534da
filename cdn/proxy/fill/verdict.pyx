# Part of cdn/proxy/_fill.pyx: what becomes of a response to a miss: stored, shown to its client only, or given away.
#
# The rules decide, now or when they were asked about one like it (recipe.pyx). Here is only what follows from their word.


cdef int judge(Passage passage, _wire.Connection conn, Shape shape, const char* base, ResponseHead* head,
               Framing framing) except -1:
    """May it be stored? As the rules said before of one like it, or as they say now."""
    cdef FillLane lane = passage.lane
    cdef char key[KEY]
    cdef Py_ssize_t n = -1          # of the key; -1: none
    cdef Recipe recipe = None
    cdef object draft = None
    cdef str reason = None
    cdef tuple vary = None
    cdef bytes names = None
    cdef bint away = False, of_request = False
    if shape.cooks:
        n = shape.key(base, head, passage.authorized, passage.encoding,
                      framing == BY_CHUNKS or (framing == BY_LENGTH and head.content_length >= CODED_FROM), key)
    if n >= 0:
        recipe = shape.recipe(key, n)
    if recipe is not None:
        reason, away, of_request = recipe.reason, recipe.away, recipe.of_request
        vary, names = recipe.vary, recipe.names
        if reason is None and not away:
            draft = recipe.cook(shape, base, head, passage.request_time, passage.response_time,
                                b"" if shape.tags == 0 else tags_of(passage, shape, base, head), lane.space)
    if draft is None and reason is None and not away:
        judged = filling.judge(passage.way.route, request_of(passage), response_of(base, head), passage.request_time,
                               passage.response_time, None if framing == BY_CHUNKS else
                               head.content_length if framing == BY_LENGTH else 0)
        reason, away, of_request, draft = judged.reason, judged.away, judged.of_request, judged.draft
        vary, names = judged.vary, judged.names
        if n >= 0 and recipe is None:
            recipe = _recipe(judged, shape, base, head, passage.request_time, passage.response_time, lane.space)
            if recipe is not None:
                shape.remember(key, n, recipe)
    if reason is not None:
        not_stored(passage, reason, of_request, base, head)
        return relay(passage, shape, base, head, framing, lane.unstored_line(head.status, reason, passage.specs is not None))
    if (away or shape.away or passage.kind == ALONE
            or (framing == BY_LENGTH and (<uint64_t>head.content_length > BODY
                                          or <uint64_t>head.content_length > lane.object_limit))):
        return give(passage, conn, base, head, framing)
    if names is None and passage.specs is not None:
        vary, names = (), b""
    if names is not None and not to_variant(passage, draft, vary, names):
        return give(passage, conn, base, head, framing)
    if store_whole(passage, conn, draft, base, head, framing):
        passage.whole = True
    elif not passage.fill.start(draft, None if framing == BY_CHUNKS else
                                head.content_length if framing == BY_LENGTH else 0):
        return give(passage, conn, base, head, framing)
    passage.drafted = draft
    passage.aged = shape.age >= 0
    passage.stored = True
    passage.most = min(<uint64_t>BODY, lane.object_limit)
    if passage.shared is not None:
        tell_flight(passage, conn.server)
        handover.streaming(passage.shared, draft, passage.aged)
    return serve(passage, draft, head, framing)


cdef bytes tags_of(Passage passage, Shape shape, const char* base, ResponseHead* head):
    """What the response is filed under, as its record has it."""
    cdef list lines = []
    cdef uint32_t i
    for i in range(shape.lines):
        if (shape.tags >> i) & 1:
            lines += _lines(base, &head.fields[i], 1)
    return filling.tagged(lines, request_of(passage) if shape.grouped else None)


cdef bint to_variant(Passage passage, object draft, tuple vary, bytes names) except -1:
    """It varies: it is stored under its variant's key from now on. False: that is filled by somebody else, or too long."""
    cdef FillLane lane = passage.lane
    cdef bytes key = passage.key
    cdef Fill fill
    if passage.specs is None or passage.specs[0] != vary:
        key = variant_of(passage, names)
        if key is None:
            return False
    fill = place(lane.site, passage.fill, passage.primary, key, vary, draft.response_time,
                 max(draft.fresh_until, draft.swr_until, draft.sie_until))
    if fill is None:
        return False
    if fill is passage.fill:
        return True
    passage.fill = fill
    passage.key = key
    if passage.shared is None:
        lane.flights[key] = passage
    else:
        passage.shared.moved(fill)
    return True


cdef bytes variant_of(Passage passage, bytes names):
    """The key of the variant by these fields; None: it is too long for the lane."""
    cdef FillLane lane = passage.lane
    cdef RequestHead head
    cdef size_t resume = 0, n = PyBytes_GET_SIZE(passage.primary)
    cdef const char* buf = PyBytes_AS_STRING(passage.head)
    cdef int64_t more
    _core.scan_request(buf, PyBytes_GET_SIZE(passage.head), &resume, PyBytes_GET_SIZE(passage.head), _core.MAX_FIELDS,
                       &head)
    memcpy(lane.space, PyBytes_AS_STRING(passage.primary), n)
    more = lane.hit.normaliser.append_variant(PyBytes_AS_STRING(names), PyBytes_GET_SIZE(names), buf, &head,
                                              passage.way.coding, passage.way.coding_len, lane.space + n, ROOM - n)
    return None if more < 0 else PyBytes_FromStringAndSize(lane.space, n + more)


cdef bint store_whole(Passage passage, _wire.Connection conn, object draft, const char* base, ResponseHead* head,
                      Framing framing) except -1:
    """Nobody follows it, and all of it is here: one step. False: as if there were more to come."""
    cdef Record t
    cdef const char* body = base + head.length
    cdef Py_ssize_t n
    if (type(draft) is not Drafted or conn.behind == 0 or passage.shared is not None
            or (passage.client is not None and passage.client.paused)):
        return False
    if framing == BY_CHUNKS:
        n = _wire.body_within(conn.behind, &body, passage.lane.space, ROOM)
    else:
        n = head.content_length if framing == BY_LENGTH and <uint64_t>head.content_length == conn.behind else -1
    if n <= 0 or <uint64_t>n > passage.lane.object_limit:
        return False
    (<Drafted>draft).record(&t)
    return passage.fill.store_whole(draft, &t, (<Drafted>draft).head, (<Drafted>draft).meta, body, n)


cdef int not_stored(Passage passage, str reason, bint of_request, const char* base, ResponseHead* head) except -1:
    """Whoever waits goes on alone at once; for a while nobody waits for this key again."""
    passage.reason = reason
    if not of_request:
        passage.lane.site.hindsight.predict(passage.primary, NoStoreReason(reason))
    if passage.fill is not None:
        passage.fill.abort(reason)
        if passage.shared is not None:
            tell_flight(passage, passage.origin.server)
            handover.not_stored(passage.shared, reason, response_of(base, head))
        passage._landed()
        passage.fill = None
    if passage.since is not None:
        passage.since.abort("answered")
        passage.since = None
    return 0
