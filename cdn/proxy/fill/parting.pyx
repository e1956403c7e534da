# Part of cdn/proxy/_fill.pyx: how a passage becomes somebody else's (`handover.py`), and how others board it.
#
#   restart    before a byte came: the exchange asks anew
#   give       with the response's head in hand, before a byte was sent
#   carry_on   in the middle of a body that is being stored: a flight goes on storing, the exchange sending


cdef int forget(Passage passage) except -1:
    """The client goes to another lane, with its own line in the log."""
    passage.client.turn = None
    passage.client = None
    return passage._rest()


cdef int restart(Passage passage, object attempt) except -1:
    """The connection had been closed before the origin saw the request, or its server has failed: it is asked again."""
    cdef Connection client = passage.client
    cdef object shared = passage.shared, site = passage.lane.site
    if passage.since is not None:
        passage.since.abort("restarted")
    if shared is not None:
        handover.restart(passage.lane.site, shared, attempt)
    elif passage.fill is not None:
        passage._landed()
        passage.fill.abort("restarted")
    if client is None:
        passage._rest()
        return 0
    passage.lane.handed_over += 1
    forget(passage)
    handover.again(site, client.hand_over(passage.head, passage._began()), None if shared is not None else attempt)
    return 0


cdef int give(Passage passage, _wire.Connection conn, const char* base, ResponseHead* head, Framing framing) except -1:
    """Nothing was sent yet: the general lane goes on with the response in hand."""
    cdef Connection client = passage.client
    cdef Stream stream = Stream(passage.lane.loop)
    cdef object site = passage.lane.site, flight = None
    passage.origin = None
    conn.sink = stream
    stream.on_head(conn, base, head, framing)
    response = passage.asked.response(stream, conn.server, 0.0)
    passage.way.requests -= 1
    site.counters.origin(passage.way.origin)["requests"] += 1
    if passage.way.shields is not None:
        passage.way.shields.asked(1)
    passage.lane.handed_over += 1
    if passage.fill is not None:
        flight = flight_of(passage)
        handover.fly_on(site, flight, response, passage.request_time, passage.response_time, client is not None)
    if client is None:
        if flight is None:
            response.abort()
        passage._rest()
        return 0
    given = handover.Given(passage.way.route, response, passage.request_time, passage.response_time, flight,
                           passage.since, passage.key, passage.specs or ())
    forget(passage)
    handover.exchange(site, client.hand_over(passage.head, passage._began()), given)
    return 0


cdef int carry_on(Passage passage, const char* data, Py_ssize_t n) except -1:
    """`data` and what follows is not for this lane. Its readers, the client among them, read what the flight makes of it."""
    cdef FillLane lane = passage.lane
    cdef Connection client
    cdef _wire.Connection conn = passage.origin
    cdef Stream stream = Stream(lane.loop)
    cdef object flight = flight_of(passage), route = passage.way.route
    cdef int64_t left = -1
    if lane.held:
        send_out(passage, NULL, 0, False)
    client = passage.client
    passage.origin = None
    stream.take_over(conn, handover.head_of(flight))
    rest = passage.asked.rest(stream, conn.server, 0.0)
    stream.on_data(data, n)
    passage.way.received -= n           # the flight counts them
    lane.handed_over += 1
    if client is None:
        passage._rest()
    else:
        if passage.fill.length is not None:
            left = passage.fill.length - passage.sent
        forget(passage)
        client.hand_over(passage.head, passage._began()).go_on(passage.line.status, passage.chunked, left, passage.sent)
        handover.read_on(lane.site, client.stream, route, flight, passage.sent)
    handover.carry_on(lane.site, flight, rest)
    return 0


cdef object flight_of(Passage passage):
    """The flight that others board; made when the first of them asks."""
    cdef object query = None if passage.query is None else passage.query.decode("latin-1")
    if passage.shared is None:
        passage.shared = handover.flight_of(
            passage.lane.site, passage.way.route, passage.fill, passage.door, passage.primary, request_of(passage),
            query, passage.address, passage.trusted, passage.specs or (), passage.entries or [])
        for status, fields in passage.interims or ():
            passage.shared.interims.hear(status, fields)
        if passage.stored:
            tell_flight(passage, passage.asked.pool.server)
            handover.streaming(passage.shared, passage.drafted, passage.aged)
    return passage.shared


cdef int tell_flight(Passage passage, str server) except -1:
    passage.shared.server = server
    passage.shared.first_byte_us = passage.line.first_byte_us
    return 0


cdef object request_of(Passage passage):
    """The request as a value, as the store sees it."""
    cdef RequestHead head
    cdef size_t resume = 0
    cdef const char* buf = PyBytes_AS_STRING(passage.head)
    _core.scan_request(buf, PyBytes_GET_SIZE(passage.head), &resume, PyBytes_GET_SIZE(passage.head), _core.MAX_FIELDS,
                       &head)
    request = handover.request_head_of(
        "HEAD" if passage.for_head else "GET", buf[head.target:head.target + head.target_len], passage.secure,
        _lines(buf, head.fields, head.nfields))
    return request if passage.encoding is None else coding.asked(passage.way.route, request)


cdef object response_of(const char* base, ResponseHead* head):
    return ResponseValue(head.status, Fields(_lines(base, head.fields, head.nfields)),
                         base[head.reason:head.reason + head.reason_len].decode("latin-1"), (1, head.minor))
