# Part of cdn/proxy/_front.pyx: deadlines and limits of all connections of a worker.


cdef class Wheel:
    """A connection stands in one bucket. Moving its deadline later costs nothing: the bucket finds out when it is due."""

    def __cinit__(self, loop):
        self.loop = loop
        self.buckets = {}
        self.armed = 0

    cdef int schedule(self, Connection connection, int64_t deadline) except -1:
        """See that `check` runs for it at `deadline` (monotonic ms) or up to a second later."""
        cdef int64_t second = deadline // 1000 + 1
        if connection.slot and connection.slot <= second:
            return 0
        if connection.slot:
            self.forget(connection)
        connection.slot = second
        bucket = self.buckets.get(second)
        if bucket is None:
            bucket = self.buckets[second] = set()
        bucket.add(connection)
        if self.armed == 0 or second < self.armed:
            self._arm(second)

    cdef void forget(self, Connection connection):
        if connection.slot:
            bucket = self.buckets.get(connection.slot)
            if bucket is not None:
                bucket.discard(connection)
                if not bucket:
                    del self.buckets[connection.slot]
            connection.slot = 0
            if not self.buckets and self.timer is not None:
                self.timer.cancel()         # nobody is there: an idle worker is not woken for nothing
                self.timer = None
                self.armed = 0

    def _arm(self, int64_t second):
        if self.timer is not None:
            self.timer.cancel()
        self.armed = second
        self.timer = self.loop.call_later(max(0.0, (second * 1000 - monotonic()) / 1000.0), self._turn)

    def _turn(self):
        cdef int64_t now = monotonic()
        cdef Connection connection
        self.timer = None
        self.armed = 0
        for second in sorted(s for s in self.buckets if s * 1000 <= now):
            for connection in self.buckets.pop(second):
                connection.slot = 0
                try:
                    check(connection, now)
                except Exception as fault:
                    # a fault of ours: told, and the others of this bucket still have their turn
                    self.loop.call_exception_handler({"message": "a deadline's check failed", "exception": fault})
        if self.buckets and self.armed == 0:
            self._arm(min(self.buckets))

    def close(self):
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.buckets.clear()


cdef class Census:
    def __cinit__(self, uint32_t most, uint32_t most_per_address, Board board=None):
        self.board = board
        self.most = most
        self.most_per_address = most_per_address
        self.by_address = {}
        self.faults = {}

    cpdef bint enter(self, str address) except -1:
        """Count a connection in; False when that is one too many (it is counted all the same, until it leaves)."""
        cdef uint32_t same = self.by_address.get(address, 0)
        self.accepted += 1
        self.open += 1
        if self.board is not None:
            self.board.tell(self.open)
        self.by_address[address] = same + 1
        if self.open > self.most or same >= self.most_per_address:
            self.refused += 1
            return False
        return True

    cpdef int leave(self, str address) except -1:
        same = self.by_address.get(address, 1) - 1
        self.open -= 1
        if self.board is not None:
            self.board.tell(self.open)
        if same > 0:
            self.by_address[address] = same
        else:
            self.by_address.pop(address, None)
        return 0

    def stats(self):
        return {
            "open": self.open, "accepted": self.accepted, "refused": self.refused,
            "timeouts": self.timeouts, "loosened": self.loosened, "cut_for_memory": self.cut_for_memory, "bytes_out": self.bytes_out, "faults": dict(self.faults),
        }


cdef class Lane:
    """One that takes nothing."""

    cdef bint take(self, Connection c, const char* buf, RequestHead* head):
        return False

    cdef void left(self, object turn):
        pass

    cdef void room(self, object turn):
        pass

    cdef double pace(self, object turn):
        return -1

    cdef bint loosen(self, object turn):
        return True


cdef class Front:
    """`exchange(stream)` must return at once (it starts a task); `refuse(stream, status, name)` answers a fault."""

    def __cinit__(self, loop, HitLane lane, Wheel wheel, Census census, Lookout lookout, exchange, refuse, *,
                  bint secure, NameSet names, HitLog log, limits, timeouts, Lane second=None):
        self.loop = loop
        self.lane = lane
        self.second = second
        self.wheel = wheel
        self.census = census
        self.lookout = lookout
        self.exchange = exchange
        self.refuse = refuse
        self.secure = secure
        self.names = names
        self.log = log
        self.connections = set()
        self.configure(limits, timeouts)

    def configure(self, limits, timeouts):
        """Take over new limits (sizes in bytes) and timeouts (ms)."""
        self.head_limit = limits.head
        self.field_limit = limits.fields
        self.body_limit = limits.body
        self.head_timeout = timeouts.head
        self.idle_timeout = timeouts.idle
        self.min_rate = timeouts.body_min_rate

    def covers(self, str host) -> bool:
        """Whether this listener's certificate covers the host; always so on plain HTTP."""
        return self.names is None or host in self.names

    def protocol(self):
        return Connection(self)

    def drain(self):
        """Close connections that are idle between requests now, every other one after its exchange.

        One that has just come has its first request under way, as far as its client knows: it gets FRESH for it.
        """
        cdef Connection connection
        cdef int64_t now = monotonic()
        self.draining = True
        for connection in list(self.connections):
            connection.last = True
            if connection.state == READING and connection.pending is None:
                if connection.written == 0:
                    connection._due(now + FRESH)
                else:
                    connection._close()

    def holders(self):
        """Those of its connections for which memory of the store is held, each behind its bytes a second."""
        cdef Connection connection
        cdef double rate
        cdef int64_t now = monotonic()
        cdef list found = []
        for connection in self.connections:
            rate = pace_of_holder(connection, now)
            if rate >= 0:
                found.append((rate, connection))
        return found

    @staticmethod
    def loosen(Connection connection not None):
        """Hold nothing for one of `holders` any more. False: that cannot be had without cutting it."""
        return loosen(connection)

    @staticmethod
    def cut(Connection connection not None):
        connection.front.census.cut_for_memory += 1
        if connection.stream is not None:
            connection.stream.cut()
        else:
            connection._abort()

    def abort(self):
        cdef Connection connection
        for connection in list(self.connections):
            connection._abort()
