"""The strict HTTP/1.1 client: one connection's framing, its deadline, and the pool of kept connections.

Decides where a response ends, whether it was whole, and whether its connection may carry another request (RFC 9112
§6.3, §9.3). Must not know which server is chosen, what is retried, or what becomes of a response: that is told to a
`Sink`. `Stream` is the sink for `await`; the fill lane brings its own.

Rules of this file:
- What RFC 9112 calls ambiguous is MALFORMED, never repaired: a transfer coding other than exactly `chunked`, one beside
  a Content-Length, one in an HTTP/1.0 message, a 101 nobody asked for.
- A connection goes back to the pool only from `_finish`, when nothing is left to send and nothing arrived behind the
  end. In the pool any byte or end discards it, and `take` looks into the socket before it is used again.
- One deadline a connection, one timer, armed lazily: data only moves the deadline, the timer looks when it fires.
"""

from collections import deque
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset
from libc.errno cimport EAGAIN, EINTR, errno
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeLatin1

from cdn cimport _core
from cdn.rules.message import Fields, ResponseHead
from cdn.tier.seam import OWN_FIELDS, Kind, OriginError

cdef extern from "<sys/socket.h>" nogil:
    enum: MSG_PEEK
    enum: MSG_DONTWAIT
    Py_ssize_t recv(int fd, void* buf, size_t n, int flags)

cdef enum:
    MAX_INTERIM = 32                # 1xx responses before the final one
    QUEUE_HIGH = 256 << 10          # body bytes that may wait for a reader
    QUEUE_LOW = 64 << 10
    WRITE_HIGH = 64 << 10           # request bytes in the transport; small, because a stall is seen in such steps
    WRITE_LOW = 16 << 10

cdef double GRACE = 0.02            # a late loop reads what had arrived in time before it calls a timeout

cdef frozenset LENGTH_EXPECTED = frozenset(("POST", "PUT", "PATCH"))    # RFC 9110 §8.6

NO_BODY = -2
CHUNKED = -1


cdef inline double _monotonic() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <double>t.tv_sec + t.tv_nsec * 1e-9


cdef inline bint _is_token(str text):
    cdef Py_UCS4 c
    for c in text:
        if not (c'a' <= c <= c'z' or c'A' <= c <= c'Z' or c'0' <= c <= c'9' or c in "!#$%&'*+-.^_`|~"):
            return False
    return len(text) > 0


def request_head(str method not None, str target not None, str host not None, object fields, int64_t length,
                 str upgrade=None):
    """One request head as bytes; `length`: NO_BODY, CHUNKED, or the body's Content-Length.

    Raises OriginError(UNSENDABLE) for what can't be one unambiguous message.
    """
    cdef list parts = [method, " ", target, " HTTP/1.1\r\nHost: ", host, "\r\n"]
    cdef Py_ssize_t lines = 2, found = 0, i
    cdef str name, value
    cdef bytes data
    cdef const char* p
    cdef unsigned char c
    if not _is_token(method) or not target or " " in target or "#" in target:
        raise OriginError(Kind.UNSENDABLE, "the method or target can't be sent")
    for name, value in fields:
        if name.lower() in OWN_FIELDS:
            continue
        if not _is_token(name):
            raise OriginError(Kind.UNSENDABLE, "a field name can't be sent")
        parts += (name, ": ", value, "\r\n")
        lines += 1
    if length == CHUNKED:
        parts.append("Transfer-Encoding: chunked\r\n")
        lines += 1
    elif length >= 0 or method in LENGTH_EXPECTED:
        parts.append(f"Content-Length: {max(length, 0)}\r\n")
        lines += 1
    if upgrade is not None:
        parts.append(f"Connection: upgrade\r\nUpgrade: {upgrade}\r\n")
        lines += 2
    parts.append("\r\n")
    lines += 1
    try:
        data = "".join(parts).encode("latin-1")
    except UnicodeEncodeError:
        raise OriginError(Kind.UNSENDABLE, "a field value can't be sent as bytes") from None
    p = PyBytes_AS_STRING(data)
    for i in range(PyBytes_GET_SIZE(data)):
        c = <unsigned char>p[i]
        if c < 32 or c == 127:
            if c == c'\r' and p[i + 1] == c'\n':            # a bytes object ends in NUL: p[i + 1] is there
                found += 1
            elif not (c == c'\t' or (c == c'\n' and i > 0 and p[i - 1] == c'\r')):
                raise OriginError(Kind.UNSENDABLE, "a control character can't be sent")
    if found != lines:
        raise OriginError(Kind.UNSENDABLE, "a line break inside a field can't be sent")
    return data


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

    cdef int on_head(self, Connection conn, const char* base, _core.ResponseHead* head, Framing framing) except -1:
        return 0

    cdef int on_tunnel(self, Connection conn, const char* base, _core.ResponseHead* head) except -1:
        return 0

    cdef int on_data(self, bytes chunk, Py_ssize_t at, Py_ssize_t n) except -1:
        return 0

    cdef int on_end(self, bint whole) except -1:
        return 0

    cdef int on_fail(self, object error) except -1:
        return 0

    cdef int on_writable(self) except -1:
        return 0


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
        self.state = S_NEW
        self.fd = -1

    # -- the protocol side -------------------------------------------------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport
        if transport.get_extra_info("ssl_object") is None:
            sock = transport.get_extra_info("socket")
            if sock is not None:
                self.fd = sock.fileno()
        transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
        self.pool.live.add(self)
        self.pool.opened += 1

    def data_received(self, bytes data not None):
        if self.state == S_IDLE or self.state == S_NEW:
            self._discard()
            return
        try:
            self._feed(data)
        except Exception as exc:        # a sink's own failure: it must hear of it, the loop must not
            self._raise(exc)

    def eof_received(self):
        self._ended(None)
        return self.state == S_TUNNEL and self.fd >= 0

    def connection_lost(self, exc):
        self.lost = True
        self.pool.live.discard(self)
        self._ended(exc)
        self.state = S_DONE
        self.fd = -1
        self.deadline = 0
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def pause_writing(self):
        self.writing_paused = True
        self._watch()

    def resume_writing(self):
        self.writing_paused = False
        self._watch()
        if self.sink is not None:
            self.sink.on_writable()

    # -- the exchange's side -----------------------------------------------------------------------------------------

    cpdef start(self, Sink sink, bytes head, bint for_head, bint has_body, str upgrade):
        """Send a request head on this new or just taken connection; the body, if any, goes by `write`."""
        self.sink = sink
        self.for_head = for_head
        self.upgrade = upgrade
        self.body_open = has_body
        self.sending = has_body
        self.keep = False
        self.sent = False
        self.received = False
        self.interims = 0
        self.partial = None
        self.resume = 0
        self.state = S_HEAD
        self.asked_at = _monotonic()
        self.answered_at = 0
        if self.transport.is_closing():
            self._fail(Kind.RESET, "the connection was closed before the request")
            return
        self.sent = True
        self._watch()
        self.transport.write(head)

    def write(self, data):
        """Request body or tunnel bytes as framed by the caller: bytes, or a list of bytes for one message part."""
        if self.state == S_DONE or self.transport.is_closing():
            return
        if type(data) is list:
            self.transport.writelines(data)
        else:
            self.transport.write(data)

    def body_sent(self):
        """The request's body is all written: from now on the response is awaited."""
        self.body_open = False
        self.sending = False
        self.sender = None
        self._watch()

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
            error = OriginError(Kind.REQUEST_BODY, "the request's body ended early", server=self.server, sent=True,
                                received=self.received)
            error.__cause__ = exc
        self._raise(error)

    def readable(self):
        """Whether the socket holds bytes or an end that the loop has not delivered: read before writing on."""
        return self._waiting_bytes() != 0

    def detach(self):
        """Leave a tunnel's transport to somebody else."""
        self._let_go()
        self.state = S_DONE
        self.pool.live.discard(self)

    cpdef abort(self):
        """Forget the exchange and close at once; its sink hears nothing."""
        self._let_go()
        self._discard()

    cdef int _discard(self) except -1:
        if self.state == S_IDLE:
            self.pool.forget(self)
        self.state = S_DONE
        self.deadline = 0
        if self.transport is not None:
            self.transport.abort()
        return 0

    cdef pause(self):
        if not self.reading_paused and self.state != S_DONE:
            self.reading_paused = True
            self.transport.pause_reading()
            self._watch()

    cdef resume_reading(self):
        if self.reading_paused:
            self.reading_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
            self._watch()

    # -- framing -----------------------------------------------------------------------------------------------------

    cdef int _feed(self, bytes data) except -1:
        cdef Py_ssize_t n = PyBytes_GET_SIZE(data), at = 0, take
        if self.answered_at == 0:
            self.answered_at = _monotonic()
        self.received = True
        while self.state == S_HEAD:
            at = self._head(data, at)
            if at >= n:
                break
        if self.state == S_DONE or self.state == S_IDLE or self.sink is None:
            return 0
        if self.deadline != 0 and self.state != S_HEAD:
            self.deadline = self.loop.time() + self.between_bytes
            self.graced = False
        if at >= n:
            return 0
        if self.state == S_LENGTH:
            take = n - at
            if <uint64_t>take > self.left:
                take = <Py_ssize_t>self.left
            self.left -= take
            self.sink.on_data(data, at, take)
            if self.left == 0 and self.state == S_LENGTH:
                self._finish(True, at + take < n)
        elif self.state == S_CHUNKS:
            self._dechunk(data, at)
        elif self.state == S_CLOSE or self.state == S_TUNNEL:
            self.sink.on_data(data, at, n - at)
        return 0

    cdef Py_ssize_t _head(self, bytes data, Py_ssize_t at) except -1:
        """Scan one head that starts or goes on at `at`; where its end is, or the end of `data`."""
        cdef _core.ResponseHead head
        cdef const char* base
        cdef size_t n
        cdef Py_ssize_t before = 0, end
        cdef bytearray kept = self.partial
        cdef int got
        if kept is None:
            base = PyBytes_AS_STRING(data) + at
            n = PyBytes_GET_SIZE(data) - at
        else:
            before = PyByteArray_GET_SIZE(kept)
            kept += data[at:]
            base = PyByteArray_AS_STRING(kept)
            n = PyByteArray_GET_SIZE(kept)
        got = _core.scan_response(base, n, &self.resume, self.max_head, self.max_fields, &head)
        if got == 0:
            if kept is None:
                self.partial = bytearray(data[at:])
            return PyBytes_GET_SIZE(data)
        if got < 0:
            self._fail(Kind.MALFORMED, f"the response head is refused ({_core.scan_error_name(got).decode('ascii')})")
            return PyBytes_GET_SIZE(data)
        end = at + head.length - before
        self.partial = None
        self.resume = 0
        self._judge(base, &head, end < PyBytes_GET_SIZE(data))
        return end

    cdef int _judge(self, const char* base, _core.ResponseHead* head, bint more) except -1:
        """RFC 9112 §6.3: what frames the body, in its order of precedence."""
        cdef bint coded = (head.present >> _core.F_TRANSFER_ENCODING) & 1
        cdef Framing framing
        if coded and (head.content_length >= 0 or not head.chunked or head.minor == 0):
            self._fail(Kind.MALFORMED, "the response's Transfer-Encoding is ambiguous")
            return 0
        if head.status < 200:
            return self._interim(base, head)
        self.keep = head.minor == 1 and not head.close and self.upgrade is None
        if self.for_head or head.status == 204 or head.status == 304:
            framing = BY_NOTHING
            if head.status == 204 and (coded or head.content_length > 0):
                self.keep = False       # it may send what it announced
        elif coded:
            framing = BY_CHUNKS
            self.state = S_CHUNKS
            memset(&self.chunks, 0, sizeof(self.chunks))
        elif head.content_length >= 0:
            framing = BY_LENGTH
            self.left = head.content_length
            self.state = S_LENGTH
        else:
            framing = BY_CLOSE
            self.state = S_CLOSE
            self.keep = False
        if head.status >= 300:
            self._stop_sending()        # an answer that does not want the rest (RFC 9112 §9.6)
        self._watch()
        self.sink.on_head(self, base, head, framing)
        if self.sink is not None and (framing == BY_NOTHING or (framing == BY_LENGTH and self.left == 0)):
            self._finish(True, more)
        return 0

    cdef int _interim(self, const char* base, _core.ResponseHead* head) except -1:
        cdef object fields
        if head.status == 101:
            fields = _fields(base, head)
            if self.upgrade is None or not head.upgrade or not _has_token(fields, "upgrade", self.upgrade):
                self._fail(Kind.MALFORMED, "the origin switched protocols without being asked")
                return 0
            self.state = S_TUNNEL
            self._watch()
            self.sink.on_tunnel(self, base, head)
            return 0
        self.interims += 1
        if (self.interims > MAX_INTERIM or head.status < 100 or head.content_length > 0
                or (head.present >> _core.F_TRANSFER_ENCODING) & 1):
            self._fail(Kind.MALFORMED, "the origin's interim responses are malformed or too many")
            return 0
        self._watch()
        if head.status != 100:
            self.sink.on_interim(head.status, _fields(base, head))
        return 0

    cdef int _dechunk(self, bytes data, Py_ssize_t at) except -1:
        """Give the segment's body as one piece: many small chunks must not become many small objects."""
        cdef const char* base = PyBytes_AS_STRING(data)
        cdef size_t n = PyBytes_GET_SIZE(data), pos = at, first = 0, start = 0, size = 0, pieces = 0
        cdef size_t held = 0
        cdef bytearray joined = None
        cdef bytes whole
        cdef int step
        while True:
            step = _core.chunked_next(&self.chunks, base, n, &pos, &start, &size)
            if step != _core.CHUNK_DATA:
                break
            if size == 0:
                continue
            pieces += 1
            if pieces == 1:
                first = start
                held = size
            else:
                if joined is None:
                    joined = bytearray(base[first:first + held])
                joined += base[start:start + size]
        if joined is not None:
            whole = bytes(joined)
            self.sink.on_data(whole, 0, PyBytes_GET_SIZE(whole))
        elif pieces == 1:
            self.sink.on_data(data, first, held)
        if self.state != S_CHUNKS or self.sink is None:
            return 0
        if step == _core.CHUNK_END:
            self._finish(True, pos < n)
        elif step == _core.CHUNK_BAD:
            self._fail(Kind.MALFORMED, "the response's chunks are malformed")
        return 0

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
        return self._raise(OriginError(kind, detail, server=self.server, sent=self.sent, received=self.received))

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

    # -- the deadline ------------------------------------------------------------------------------------------------

    cdef int _watch(self) except -1:
        """What is awaited now, and for how long. While our body is still going out the origin owes nothing but room."""
        cdef double seconds = 0
        if self.state == S_HEAD or self.state == S_LENGTH or self.state == S_CHUNKS or self.state == S_CLOSE:
            if self.sending:
                if self.writing_paused:
                    seconds = self.between_bytes
                    self.unsent = self.transport.get_write_buffer_size()
            elif self.state == S_HEAD:
                seconds = self.first_byte
            elif not self.reading_paused:
                seconds = self.between_bytes
        if seconds == 0:
            self.deadline = 0
            return 0
        self.graced = False
        self.deadline = self.loop.time() + seconds
        return self._arm(seconds)

    cdef int _arm(self, double seconds) except -1:
        if self.timer is not None:
            if self.fires <= self.deadline + 0.001:
                return 0
            self.timer.cancel()
        self.fires = self.loop.time() + seconds
        self.timer = self.loop.call_later(seconds, self._on_timer)
        return 0

    def _on_timer(self):
        cdef double left
        cdef Py_ssize_t unsent
        self.timer = None
        if self.deadline == 0 or self.sink is None:
            return
        left = self.deadline - self.loop.time()
        if left <= 0.0005 and self.sending:
            unsent = self.transport.get_write_buffer_size()
            if unsent < self.unsent:
                self.unsent = unsent
                left = self.between_bytes
                self.deadline = self.loop.time() + left
        if left <= 0.0005 and not self.graced and self._waiting_bytes() > 0:
            self.graced = True
            left = GRACE
            self.deadline = self.loop.time() + left
        if left > 0.0005:
            self._arm(left)
        elif self.state == S_HEAD and not self.sending:
            self._fail(Kind.FIRST_BYTE_TIMEOUT, f"no response head within {self.first_byte:g} s")
        elif self.sending:
            self._fail(Kind.BETWEEN_BYTES_TIMEOUT, f"took nothing of the request's body for {self.between_bytes:g} s")
        else:
            self._fail(Kind.BETWEEN_BYTES_TIMEOUT, f"silent for {self.between_bytes:g} s inside the response's body")

    cdef int _waiting_bytes(self) noexcept:
        """1: bytes wait in the socket; -1: it ended or broke; 0: neither (or TLS, where bytes say nothing)."""
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


cdef class Pool:
    """The kept connections of one server, last in first out. Its sweep timer runs only while some are idle."""

    def __init__(self, str server not None, object loop, int64_t idle_ms, Py_ssize_t max_idle=256):
        self.server = server
        self.loop = loop
        self.ttl = idle_ms / 1000.0
        self.max_idle = max_idle
        self.idle = []
        self.live = set()

    @property
    def idle_count(self):
        return len(self.idle)

    @property
    def live_count(self):
        return len(self.live)

    @property
    def sweeping(self):
        return self.sweeper is not None

    cpdef Connection take(self):
        """A connection that is fit for use, or None."""
        cdef Connection conn
        cdef double now
        if not self.idle:
            return None
        now = self.loop.time()
        while self.idle:
            conn = self.idle.pop()
            conn.state = S_NEW
            if (now - conn.idle_since < self.ttl and not conn.transport.is_closing()
                    and conn._waiting_bytes() == 0):
                self.reused += 1
                conn.connect_ms = 0
                return conn
            conn._discard()
        return None

    cdef give(self, Connection conn):
        if self.ttl <= 0:
            conn._discard()
            return
        conn.idle_since = self.loop.time()
        self.idle.append(conn)
        if len(self.idle) > self.max_idle:
            (<Connection>self.idle[0])._discard()
        if self.sweeper is None:
            self.sweeper = self.loop.call_later(self.ttl, self._sweep)

    cdef forget(self, Connection conn):
        try:
            self.idle.remove(conn)
        except ValueError:
            pass

    def _sweep(self):
        cdef double now = self.loop.time()
        self.sweeper = None
        while self.idle and now - (<Connection>self.idle[0]).idle_since >= self.ttl - 0.001:
            (<Connection>self.idle[0])._discard()
        if self.idle:
            self.sweeper = self.loop.call_later(
                max(self.ttl - (now - (<Connection>self.idle[0]).idle_since), self.ttl / 4), self._sweep)

    def close(self):
        """Close every connection, those in use too; their exchanges hear a RESET."""
        cdef Connection conn
        if self.sweeper is not None:
            self.sweeper.cancel()
            self.sweeper = None
        for conn in list(self.live):
            if conn.sink is not None:
                conn._fail(Kind.RESET, "the client of the origins was closed")
            else:
                conn._discard()


cdef class Stream(Sink):
    """The sink for `await`: the head once, then the body piece by piece. See `seam.OriginResponse`."""

    cdef Connection conn                # None once the connection has forgotten this exchange
    cdef object loop
    cdef object heard                   # callback for interim responses, or None
    cdef object head_waiter
    cdef object read_waiter
    cdef object room_waiter
    cdef object chunks
    cdef Py_ssize_t waiting
    cdef object error
    cdef bint ended
    cdef readonly object head
    cdef readonly object length
    cdef readonly bint by_close
    cdef readonly bint tunnel
    cdef readonly bint complete
    cdef readonly double first_byte_ms

    def __init__(self, loop, heard=None):
        self.loop = loop
        self.heard = heard
        self.chunks = deque()

    cdef int on_interim(self, int status, object fields) except -1:
        if self.heard is not None:
            self.heard(status, fields)
        return 0

    cdef int on_head(self, Connection conn, const char* base, _core.ResponseHead* head, Framing framing) except -1:
        self.conn = conn
        self.head = _head_value(base, head)
        self.first_byte_ms = (conn.answered_at - conn.asked_at) * 1000
        if framing == BY_NOTHING:
            self.length = 0
        elif framing == BY_LENGTH:
            self.length = head.content_length
        self.by_close = framing == BY_CLOSE
        _wake(self.head_waiter)
        return 0

    cdef int on_tunnel(self, Connection conn, const char* base, _core.ResponseHead* head) except -1:
        self.tunnel = True
        return self.on_head(conn, base, head, BY_CLOSE)

    cdef int on_data(self, bytes chunk, Py_ssize_t at, Py_ssize_t n) except -1:
        if n == 0:
            return 0
        if n != PyBytes_GET_SIZE(chunk):
            chunk = PyBytes_FromStringAndSize(PyBytes_AS_STRING(chunk) + at, n)
        self.chunks.append(chunk)
        self.waiting += n
        if self.waiting > QUEUE_HIGH and self.conn is not None:
            self.conn.pause()
        _wake(self.read_waiter)
        return 0

    cdef int on_end(self, bint whole) except -1:
        self.ended = True
        self.complete = whole
        if not self.tunnel:
            self.conn = None
        _wake(self.read_waiter)
        _wake(self.room_waiter)
        return 0

    cdef int on_fail(self, object error) except -1:
        self.error = error
        self.conn = None
        _wake(self.head_waiter)
        _wake(self.read_waiter)
        _wake(self.room_waiter)
        return 0

    cdef int on_writable(self) except -1:
        _wake(self.room_waiter)
        return 0

    async def answer(self):
        """Wait for the final response's head (or the 101)."""
        if self.head is None and self.error is None:
            self.head_waiter = self.loop.create_future()
            try:
                await self.head_waiter
            finally:
                self.head_waiter = None
        if self.head is None:
            raise self.error

    async def read(self):
        """The next piece, or b"" at the end; raises what ended it too early."""
        cdef bytes chunk
        while True:
            if self.chunks:
                chunk = self.chunks.popleft()
                self.waiting -= PyBytes_GET_SIZE(chunk)
                if self.conn is not None and self.waiting <= QUEUE_LOW:
                    self.conn.resume_reading()
                return chunk
            if self.error is not None:
                raise self.error
            if self.ended:
                return b""
            if self.read_waiter is not None:
                raise RuntimeError("a body has one reader at a time")
            self.read_waiter = self.loop.create_future()
            try:
                await self.read_waiter
            finally:
                self.read_waiter = None

    async def room(self, Connection conn not None):
        """Wait until the transport takes more; returns at once, too, when the exchange ended."""
        while conn.writing_paused and self.error is None and not (self.ended and not self.tunnel):
            self.room_waiter = self.loop.create_future()
            try:
                await self.room_waiter
            finally:
                self.room_waiter = None

    def broken(self):
        """What ended the exchange, or None."""
        return self.error

    def detach(self):
        """A tunnel's pieces that wait to be read, and whether the origin ended its side; for `attach`."""
        cdef Connection conn = self.conn
        chunks = list(self.chunks)
        self.chunks.clear()
        self.waiting = 0
        self.conn = None
        if conn is not None:
            conn.detach()
        return chunks, self.ended

    def abort(self):
        cdef Connection conn = self.conn
        self.conn = None
        if not self.ended or self.tunnel:
            self.chunks.clear()
            self.waiting = 0
            if self.error is None:
                self.error = OriginError(Kind.RESET, "the exchange was given up", sent=True, received=True)
        if conn is not None:
            conn.abort()
        _wake(self.head_waiter)
        _wake(self.read_waiter)
        _wake(self.room_waiter)


cdef int _wake(object waiter) except -1:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
    return 0
