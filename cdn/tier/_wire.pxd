"""Fields and signatures of the wire client; rules in `_wire.pyx`, bodies in `wire/`. The fill lane derives its
own Sink.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cdn cimport _core

cdef enum Framing:
    BY_NOTHING = 0              # no body: HEAD, 204, 304
    BY_LENGTH = 1
    BY_CHUNKS = 2
    BY_CLOSE = 3

cdef enum State:
    S_NEW = 0                   # connecting, or just connected
    S_IDLE = 1                  # in the pool: any byte or end from the origin discards it
    S_HEAD = 2                  # a request went out, its response head is awaited
    S_LENGTH = 3                # inside a body of known length
    S_CHUNKS = 4
    S_CLOSE = 5
    S_TUNNEL = 6                # after 101
    S_DONE = 7                  # no exchange any more, the transport is closed or closing


cdef class Sink:
    """What one exchange hears from its connection, in this order, each call from within the loop's callback:

    on_interim*  (on_fail | on_head on_data* (on_end | on_fail))     on_tunnel instead of on_head after a 101

    on_told follows the calls for one received segment, unless the last of them ended the exchange.

    After on_end or on_fail the connection has forgotten the sink. A sink may call `Connection.abort` at any
    time and hears nothing afterwards. `head`, `base` and `data` are valid during the call only. After an on_end
    in a tunnel bytes may still be written.
    """
    cdef int on_interim(self, int status, object fields) except -1
    cdef int on_head(self, Connection conn, const char* base, _core.ResponseHead* head,
                     Framing framing) except -1
    cdef int on_tunnel(self, Connection conn, const char* base, _core.ResponseHead* head) except -1
    cdef int on_data(self, const char* data, Py_ssize_t n) except -1
    cdef int on_told(self) except -1
    cdef int on_end(self, bint whole) except -1
    cdef int on_fail(self, object error) except -1
    cdef int on_writable(self) except -1


cdef class Connection:
    cdef readonly object transport
    cdef readonly str server
    cdef object loop
    cdef Pool pool
    cdef Sink sink
    cdef object sender              # the task that sends the request's body, while it does
    cdef readonly uint8_t state
    cdef int fd                     # -1: none to look into
    cdef Intake intake              # that reads it; None: the transport does
    cdef bint secure                # TLS: what the socket holds are records, and there is no half-close
    cdef uint64_t era               # the pool's when it was made
    cdef uint32_t max_head
    cdef uint32_t max_fields
    cdef double first_byte          # seconds
    cdef double between_bytes
    cdef double total               # 0: no end is set to an exchange
    cdef public double connect_ms
    cdef double idle_since
    cdef readonly bint lost
    # one exchange
    cdef bint for_head              # the request's method is HEAD
    cdef str upgrade                # the protocol asked for, or None
    cdef bint bodyless              # its last response has no body, whatever it says: HEAD, 204, 304
    cdef bint keep                  # the response allows another exchange
    cdef bint body_open             # our request body is not all written: no other exchange may follow
    cdef bint sending               # it is on its way, and the response is not due before it has left
    cdef readonly bint sent
    cdef readonly bint received
    cdef uint32_t interims
    cdef bytearray partial          # an unfinished head
    cdef size_t resume
    cdef uint64_t left
    cdef uint64_t behind            # bytes that came in one segment with the head's end, behind it
    cdef _core.Chunked chunks
    cdef bint at_end                # the chunk that is told is the last one
    cdef double asked_at
    cdef double answered_at
    cdef double heard_at            # the segment that is being taken in
    cdef bint queued                # bytes may be waiting in the transport
    cdef bint reading_paused
    cdef readonly bint writing_paused
    # the one deadline
    cdef double deadline            # loop time; 0: nothing is awaited
    cdef double until               # when the exchange has to be over, loop time; 0: whenever
    cdef double fires
    cdef object timer
    cdef bint graced
    cdef Py_ssize_t unsent

    cdef int ask(self, Sink sink, const char* head, Py_ssize_t n, bint for_head) except -1
    cpdef start(self, Sink sink, bytes head, bint for_head, bint has_body, str upgrade)
    cpdef abort(self)
    cpdef limit(self, double at)
    cpdef give_back(self)
    cdef pause(self)
    cdef resume_reading(self)
    cdef int _begin(self, Sink sink, bint for_head, bint has_body, str upgrade) except -1
    cdef int _send(self, const char* head, Py_ssize_t n) except -1
    cdef int _take_in(self, const char* data, Py_ssize_t n) except -1
    cdef void _unhook(self) noexcept
    cdef int _hook(self) except -1
    cdef int _finish(self, bint whole, bint surplus) except -1
    cdef int _fail(self, object kind, str detail) except -1
    cdef int _raise(self, object error) except -1
    cdef Sink _let_go(self)
    cdef int _stop_sending(self) except -1
    cdef int _discard(self) except -1
    cdef int _ended(self, object exc) except -1
    cdef bint _heard_lately(self, double now) noexcept
    cdef int _waiting_bytes(self) noexcept


cdef class Intake:
    cdef object loop
    cdef int ep
    cdef dict conns                 # fd -> Connection
    cdef char* room
    cdef double heard               # seconds: when all that had come until then was heard
    cdef int add(self, Connection conn) except -1
    cdef void drop(self, Connection conn) noexcept
    cdef int close(self) except -1
    cdef int _watch(self, int what, int fd) except -1
    cdef int _hear(self, Connection conn, bint ends) except -1
    cdef int _over(self, Connection conn, object error) except -1


cdef class Pool:
    cdef readonly str server
    cdef bytes text                 # the same for a log
    cdef object loop
    cdef list idle
    cdef set live
    cdef double ttl
    cdef Py_ssize_t max_idle
    cdef object sweeper
    cdef uint64_t era
    cdef Intake intake              # while there are live connections that it reads
    cdef readonly uint64_t opened
    cdef readonly uint64_t reused
    cdef public object on_free      # called with nothing when a connection may have come free, or None
    cpdef Connection take(self, bint lately=*)
    cdef give(self, Connection conn)
    cdef forget(self, Connection conn)
    cdef int _leaves(self, Connection conn) except -1


cdef class Stream(Sink):
    cdef Connection conn                # None once the connection has forgotten this exchange
    cdef object loop
    cdef object heard                   # callback for interim responses, or None
    cdef public object over             # called with nothing at the end, with the error when it broke
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
    cdef int _over(self, object error) except -1
    cdef bytes _next(self)
    cdef int take_over(self, Connection conn, object head) except -1


cdef Py_ssize_t body_within(size_t n, const char** body, char* room, size_t most) noexcept nogil
