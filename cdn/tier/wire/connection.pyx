# One origin connection: whose exchange it serves, and whether it may serve another one.
#
# Must not know how a response is framed (`framing`, `chunks`), nor how long anything may take (`deadline`).

cdef class Connection:
    """An asyncio protocol: one origin connection, one exchange at a time."""

    def __init__(self, Pool pool not None, object timeouts, uint32_t max_head, uint32_t max_fields):
        self.pool = pool
        self.server = pool.server
        self.loop = pool.loop
        self.max_head = max_head
        self.max_fields = min(max_fields, <uint32_t>_core.MAX_FIELDS)
        self.first_byte = timeouts.first_byte / 1000.0
        self.between_bytes = timeouts.between_bytes / 1000.0
        self.total = (timeouts.total or 0) / 1000.0
        self.state = S_NEW
        self.fd = -1

    # -- the protocol side -----------------------------------------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport
        if self.state == S_DONE:            # given up while it was connecting
            transport.abort()
            return
        self.secure = transport.get_extra_info("ssl_object") is not None
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self.fd = sock.fileno()
        transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
        self.era = self.pool.era
        self.pool.live.add(self)
        self.pool.opened += 1

    def data_received(self, bytes data not None):
        self._take_in(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int _take_in(self, const char* data, Py_ssize_t n) except -1:
        cdef Sink sink
        if self.state == S_IDLE or self.state == S_NEW:
            return self._discard()
        try:
            take_bytes(self, data, n)
            sink = self.sink
            if sink is not None:
                sink.on_told()
        except Exception as exc:        # a sink's own failure: it must hear of it, the loop must not
            self._raise(exc)
        return 0

    def eof_received(self):
        self._ended(None)
        return self.state == S_TUNNEL and not self.secure

    def connection_lost(self, exc):
        self.lost = True
        self._unhook()
        self.pool._leaves(self)
        if exc is None and self.secure and self.state == S_CLOSE and self.sink is not None:
            # No eof_received: the end of TLS never came, and what it would have ended is not whole (RFC 9112 §9.8).
            self._fail(Kind.TRUNCATED, "the connection was cut inside a body that only its end delimits")
        self._ended(exc)
        self.state = S_DONE
        self.fd = -1
        self.deadline = 0
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def pause_writing(self):
        self.writing_paused = True
        watch(self)

    def resume_writing(self):
        self.writing_paused = False
        watch(self)
        if self.sink is not None:
            self.sink.on_writable()

    # -- the exchange's side ---------------------------------------------------------------------------------

    cpdef start(self, Sink sink, bytes head, bint for_head, bint has_body, str upgrade):
        """Send a request head on this new or just taken connection; the body, if any, goes by `write`."""
        self._begin(sink, for_head, has_body, upgrade)
        if self.transport.is_closing():
            self._fail(Kind.RESET, "the connection was closed before the request")
            return
        self.sent = True
        watch_at(self, self.asked_at)
        self._send(PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))

    cdef int ask(self, Sink sink, const char* head, Py_ssize_t n, bint for_head) except -1:
        """`start` without a body, on a connection that the pool has just given; the time for all of it begins now."""
        self._begin(sink, for_head, False, None)
        self.sent = True
        if self.total > 0:
            self.until = self.asked_at + self.total
        watch_at(self, self.asked_at)
        return self._send(head, n)

    cdef int _begin(self, Sink sink, bint for_head, bint has_body, str upgrade) except -1:
        self.sink = sink
        self.for_head = for_head
        self.upgrade = upgrade
        self.body_open = has_body
        self.sending = has_body
        self.keep = False
        self.sent = False
        self.received = False
        self.at_end = False
        self.interims = 0
        self.partial = None
        self.resume = 0
        self.state = S_HEAD
        self.asked_at = _monotonic()
        self.answered_at = 0
        self.until = 0
        if (self.intake is None and self.fd >= 0 and not self.secure and upgrade is None and self.pool.ttl > 0
                and not self.transport.is_closing()):
            self._hook()
        return 0

    cdef int _send(self, const char* head, Py_ssize_t n) except -1:
        """Past the transport, which would wait for the end of this turn of the loop, where nothing waits in it."""
        cdef Py_ssize_t sent = 0
        if self.queued and self.transport.get_write_buffer_size() == 0:
            self.queued = False
        if self.fd >= 0 and not self.secure and not self.queued:
            sent = send(self.fd, head, n, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent == n:
                return 0
            if sent < 0:
                sent = 0        # full, or broken: the transport finds out which
        self.queued = True
        self.transport.write(PyBytes_FromStringAndSize(head + sent, n - sent))
        return 0

    def write(self, data):
        """Request body or tunnel bytes as framed by the caller: bytes, or a list of bytes for one part."""
        if self.state == S_DONE or self.transport.is_closing():
            return
        self.queued = True
        if type(data) is list:
            self.transport.writelines(data)
        else:
            self.transport.write(data)

    def body_sent(self):
        """The request's body is all written: from now on the response is awaited."""
        self.body_open = False
        self.sending = False
        self.sender = None
        watch(self)

    def set_sender(self, task):
        """The task to cancel when the body need not be sent any more."""
        if self.sending and self.sink is not None:
            self.sender = task
        else:
            task.cancel()

    def body_failed(self, exc):
        """The request's body can't be sent to its end: the connection is worthless."""
        cdef object error = exc
        self.sender = None
        if self.state != S_HEAD:
            error = OriginError(Kind.REQUEST_BODY, "the request's body ended early", server=self.server,
                                sent=True, received=self.received)
            error.__cause__ = exc
        self._raise(error)

    def readable(self):
        """Whether the socket holds bytes, or an end, that the loop has not delivered: hear it first."""
        return self._waiting_bytes() != 0

    def detach(self):
        """Leave a tunnel's transport to somebody else."""
        self._let_go()
        self.state = S_DONE
        if self.intake is not None:
            self._unhook()
            self.transport.resume_reading()
        self.fd = -1
        self.pool._leaves(self)

    cpdef abort(self):
        """Forget the exchange and close at once; its sink hears nothing."""
        self._let_go()
        self._discard()

    def leave(self, Sink sink not None):
        """`abort`, if the exchange is still that of `sink`: the connection may serve another one by now."""
        if self.sink is sink:
            self.abort()

    cpdef limit(self, double at):
        """The exchange under way has to be over at `at`, loop time, whoever hears of it by then."""
        self.until = at
        watch(self)

    cdef int _discard(self) except -1:
        if self.state == S_IDLE:
            self.pool.forget(self)
        self.state = S_DONE
        self.deadline = 0
        self._unhook()
        # Now, not in connection_lost: uvloop never calls that where a connect is cancelled at its very end.
        self.pool._leaves(self)
        self.fd = -1                        # closed with the transport, and soon somebody else's
        if self.transport is not None:
            self.transport.abort()
        return 0

    cpdef give_back(self):
        """It was taken from the pool and not used."""
        self.state = S_IDLE
        self.pool.give(self)

    cdef pause(self):
        if not self.reading_paused and self.state != S_DONE:
            self.reading_paused = True
            if self.intake is None:
                self.transport.pause_reading()
            else:
                self.intake.drop(self)
            watch(self)

    cdef resume_reading(self):
        if self.reading_paused:
            self.reading_paused = False
            if not self.transport.is_closing():
                if self.intake is None:
                    self.transport.resume_reading()
                else:
                    self.intake.add(self)
            watch(self)

    cdef void _unhook(self) noexcept:
        if self.intake is not None:
            self.intake.drop(self)
            self.intake = None

    cdef int _hook(self) except -1:
        """Read it ourselves from now on. Not from the beginning: a transport starts to read once it has told that it is
        connected."""
        try:
            if self.pool.intake is None:
                self.pool.intake = Intake(self.loop)
            self.transport.pause_reading()
            self.pool.intake.add(self)
        except OSError:                 # no descriptor, or no watch, to be had: the transport reads on
            self.transport.resume_reading()
            return 0
        self.intake = self.pool.intake
        return 0

    # -- the end of an exchange ------------------------------------------------------------------------------

    cdef int _finish(self, bint whole, bint surplus) except -1:
        """The response ended. Surplus is dropped and costs the connection, so does an unfinished request."""
        cdef Sink sink
        cdef bint again = self.keep and not surplus and not self.body_open and not self.writing_paused
        sink = self._let_go()
        if again and not self.transport.is_closing():
            self.state = S_IDLE
            self.deadline = 0
            self.resume_reading()
            self.pool.give(self)
        else:
            self._discard()
        sink.on_end(whole)
        return 0

    cdef int _stop_sending(self) except -1:
        self.sending = False
        if self.sender is not None:
            self.sender.cancel()
            self.sender = None
        return 0

    cdef Sink _let_go(self):
        cdef Sink sink = self.sink
        self._stop_sending()
        self.sink = None
        self.partial = None
        self.upgrade = None
        return sink

    cdef int _fail(self, object kind, str detail) except -1:
        return self._raise(
            OriginError(kind, detail, server=self.server, sent=self.sent, received=self.received))

    cdef int _raise(self, object error) except -1:
        cdef Sink sink = self._let_go()
        self._discard()
        if sink is not None:
            sink.on_fail(error)
        return 0

    cdef int _ended(self, object exc) except -1:
        """The origin closed (exc is None), or the connection broke."""
        cdef Sink sink
        if self.state == S_IDLE or self.state == S_NEW:
            self._discard()
        elif self.sink is None:
            return 0
        elif exc is not None and type(exc).__module__ == "ssl":
            # An alert: TLS 1.3 refuses our certificate only when we believe the handshake over (RFC 8446 §4.4.2).
            self._fail(Kind.TLS, f"TLS failed ({getattr(exc, 'reason', None) or type(exc).__name__})")
        elif exc is not None:
            self._fail(Kind.RESET, f"the connection broke ({type(exc).__name__})")
        elif self.state == S_HEAD:
            self._fail(Kind.RESET, "the connection was closed before a response head")
        elif self.state == S_CLOSE:
            self._finish(False, False)
        elif self.state == S_TUNNEL:
            self.sink.on_end(False)
        else:
            self._fail(Kind.TRUNCATED, "the response's body is shorter than its framing says")
        return 0

    def _on_timer(self):
        fired(self)

    cdef bint _heard_lately(self, double now) noexcept:
        """A body that came with a response which has none follows it closely: after such a one, only the socket knows."""
        return self.intake is not None and not self.bodyless and now - self.intake.heard < LATELY

    cdef int _waiting_bytes(self) noexcept:
        """1: bytes (under TLS: records) wait in the socket; -1: it ended or broke; 0: neither."""
        cdef char byte
        cdef Py_ssize_t got
        if self.fd < 0:
            return 0
        got = recv(self.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)
        if got > 0:
            return 1
        if got == 0:
            return -1
        return 0 if errno == EAGAIN or errno == EINTR else -1
