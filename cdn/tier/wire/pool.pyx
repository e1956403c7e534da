# The kept connections of one server.

cdef class Pool:
    """The kept connections of one server, last in first out. A sweep timer runs only while some are idle."""

    def __init__(self, str server not None, object loop, int64_t idle_ms, Py_ssize_t max_idle=256):
        self.server = server
        self.text = server.encode("ascii", "replace")
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
    def busy(self):
        """Connections that serve an exchange or a tunnel now."""
        return len(self.live) - len(self.idle)

    @property
    def sweeping(self):
        return self.sweeper is not None

    cpdef Connection take(self, bint lately=False):
        """A connection that is fit for use, or None.

        The socket is asked whether something came unasked. `lately`, for requests that may be sent twice: not where the
        intake has heard all there was less than `LATELY` ago, which under load is always so.
        """
        cdef Connection conn
        cdef double now
        if not self.idle:
            return None
        now = _monotonic()
        while self.idle:
            conn = self.idle.pop()
            conn.state = S_NEW
            if (now - conn.idle_since < self.ttl and not conn.transport.is_closing()
                    and ((lately and conn._heard_lately(now)) or conn._waiting_bytes() == 0)):
                self.reused += 1
                conn.connect_ms = 0
                return conn
            conn._discard()
        return None

    cdef give(self, Connection conn):
        if self.ttl <= 0 or conn.era != self.era:
            conn._discard()
            return
        conn.idle_since = _monotonic()
        self.idle.append(conn)
        if len(self.idle) > self.max_idle:
            (<Connection>self.idle[0])._discard()
        if self.sweeper is None:
            self.sweeper = self.loop.call_later(self.ttl, self._sweep)
        if self.on_free is not None:
            self.on_free()

    cdef int _leaves(self, Connection conn) except -1:
        """It is not connected any more, or somebody else's."""
        if conn in self.live:
            self.live.discard(conn)
            if not self.live and self.intake is not None:
                self.intake.close()
                self.intake = None
            if self.on_free is not None:
                self.on_free()
        return 0

    cdef forget(self, Connection conn):
        try:
            self.idle.remove(conn)
        except ValueError:
            pass

    def _sweep(self):
        cdef double now = _monotonic()
        self.sweeper = None
        while self.idle and now - (<Connection>self.idle[0]).idle_since >= self.ttl - 0.001:
            (<Connection>self.idle[0])._discard()
        if self.idle:
            self.sweeper = self.loop.call_later(
                max(self.ttl - (now - (<Connection>self.idle[0]).idle_since), self.ttl / 4), self._sweep)

    def renew(self):
        """Use none of the connections made so far for another exchange: the server has moved."""
        self.era += 1
        while self.idle:
            (<Connection>self.idle[0])._discard()

    def retire(self):
        """Close what is kept and keep nothing any more; connections in use stay until their exchange ends."""
        self.ttl = 0
        if self.sweeper is not None:
            self.sweeper.cancel()
            self.sweeper = None
        while self.idle:
            (<Connection>self.idle[0])._discard()

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
