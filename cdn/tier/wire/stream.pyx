# The sink for `await`.

cdef class Stream(Sink):
    """The sink for `await`: the head once, then the body piece by piece. See `seam.OriginResponse`."""

    def __init__(self, loop, heard=None):
        self.loop = loop
        self.heard = heard
        self.chunks = deque()

    cdef int on_interim(self, int status, object fields) except -1:
        if self.heard is not None:
            self.heard(status, fields)
        return 0

    cdef int on_head(self, Connection conn, const char* base, _core.ResponseHead* head,
                     Framing framing) except -1:
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

    cdef int take_over(self, Connection conn, object head) except -1:
        """From another sink, in the middle of a body; `head`: what came before it."""
        conn.sink = self
        self.conn = conn
        self.head = head
        self.first_byte_ms = (conn.answered_at - conn.asked_at) * 1000
        return 0

    cdef int on_tunnel(self, Connection conn, const char* base, _core.ResponseHead* head) except -1:
        self.tunnel = True
        return self.on_head(conn, base, head, BY_CLOSE)

    cdef int on_data(self, const char* data, Py_ssize_t n) except -1:
        if n == 0:
            return 0
        self.chunks.append(PyBytes_FromStringAndSize(data, n))
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
            self._over(None)
        _wake(self.read_waiter)
        _wake(self.room_waiter)
        return 0

    cdef int on_fail(self, object error) except -1:
        self.error = error
        self.conn = None
        self._over(error)
        _wake(self.head_waiter)
        _wake(self.read_waiter)
        _wake(self.room_waiter)
        return 0

    cdef int _over(self, object error) except -1:
        cdef object over = self.over
        self.over = None
        if over is not None:
            over(error)
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

    cdef bytes _next(self):
        cdef bytes chunk = self.chunks.popleft()
        self.waiting -= PyBytes_GET_SIZE(chunk)
        if self.conn is not None and self.waiting <= QUEUE_LOW:
            self.conn.resume_reading()
        return chunk

    async def read(self):
        """The next piece, or b"" at the end; raises what ended it too early."""
        while True:
            if self.chunks:
                return self._next()
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

    def ready(self):
        """What `read` would give at once, or None."""
        if self.read_waiter is not None:
            return None
        if self.chunks:
            return self._next()
        return b"" if self.ended and self.error is None else None

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

    def limit(self, double at):
        """It has to be whole at `at`, loop time, or it breaks; what had arrived is still read first."""
        if self.conn is not None:
            self.conn.limit(at)

    def abort(self):
        cdef Connection conn = self.conn
        self.conn = None
        self._over(None)
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
