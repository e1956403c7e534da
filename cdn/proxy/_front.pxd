"""The front: what a listener and a connection hold."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cpython.object cimport PyObject
from posix.uio cimport iovec

from cdn._core cimport Chunked, RequestHead
from cdn._system cimport sockaddr_storage
from cdn.proxy._lane cimport Answer, HitLane, NameSet
from cdn.proxy._log cimport HitLog
from cdn.store._memory cimport Loose
from cdn.store.layout cimport Record

cdef enum ConnectionState:
    READING = 0     # between requests, or inside a head
    BUSY            # one exchange has the turn
    SENDING         # a stored body is leaving
    DRAINING        # the exchange has answered, the rest of its request body is read and dropped
    LINGERING       # our side is shut, the peer's last bytes are read and dropped
    TUNNEL          # raw bytes both ways
    CLOSED

cdef enum BodyKind:
    BODY_NONE = 0
    BODY_LENGTH
    BODY_CHUNKED


cdef class Board:
    """How many connections each worker of a node has."""
    cdef uint32_t* words
    cdef readonly int workers
    cdef readonly int me            # -1: no worker yet
    cdef uint64_t shunned           # a bit for each that is given nothing now
    cdef void tell(self, uint32_t open) noexcept nogil
    cdef int64_t load_of(self, int worker) noexcept nogil
    cdef int lighter(self) noexcept nogil


cdef class Wheel:
    """Deadlines in whole seconds; one timer for all connections of a worker, none while there is no deadline."""
    cdef object loop
    cdef dict buckets       # second -> set of connections
    cdef object timer
    cdef int64_t armed
    cdef int schedule(self, Connection connection, int64_t deadline) except -1
    cdef void forget(self, Connection connection)


cdef class Lane:
    """A lane behind the hit lane: answers by itself what it takes, in its own time.

    What it sets as `Connection.turn` is told when the client has left, and when the client takes bytes again. It is asked how
    many bytes a second its client takes for which memory of the store is held (-1: none is), and may be asked to hold none
    (False: it cannot do without). The turn ends with `turn = None` and `Connection._settle()`, `_abort()`, or `hand_over` to the exchange.
    """
    cdef bint take(self, Connection c, const char* buf, RequestHead* head)
    cdef void left(self, object turn)
    cdef void room(self, object turn)
    cdef double pace(self, object turn)
    cdef bint loosen(self, object turn)


cdef class Front:
    """One listener of one worker: its limits, its lanes and its connections."""
    cdef readonly object loop
    cdef readonly HitLane lane
    cdef readonly Lane second
    cdef readonly Wheel wheel
    cdef readonly Lookout lookout
    cdef readonly object exchange       # called with a ClientStream for every request the lane declines
    cdef readonly object refuse         # called with a ClientStream, status and name of a fault in framing
    cdef readonly bint secure
    cdef NameSet names
    cdef HitLog log
    cdef readonly set connections
    cdef readonly Census census
    cdef public object give             # called with a descriptor: whether another worker gets this connection; or None
    cdef readonly uint32_t head_limit
    cdef readonly uint32_t field_limit
    cdef readonly int64_t body_limit
    cdef int64_t head_timeout
    cdef int64_t idle_timeout
    cdef int64_t min_rate
    cdef readonly bint draining


cdef class Lookout:
    """Whether a worker looks for events for a moment before it sleeps."""
    cdef object loop
    cdef object again
    cdef readonly int64_t most      # ns
    cdef readonly int64_t mean      # ns of the last pauses
    cdef int64_t since              # when the last turn ended
    cdef int64_t until
    cdef readonly bint looking
    cdef readonly uint64_t looks    # turns of the loop that found nothing yet
    cdef readonly uint64_t vain     # and times that it slept after all
    cdef void begin(self) noexcept nogil
    cdef int end(self) except -1


cdef class Entrance:
    """The plain listeners of one worker and their connections. What ends is buried when nobody works with it any more."""
    cdef object loop
    cdef list doors             # (socket, Front), in the order of their numbers
    cdef int ep
    cdef char* room             # where bytes arrive; whoever is told of them copies what it keeps
    cdef PyObject** plains      # by descriptor
    cdef int places
    cdef Lookout lookout
    cdef list ended             # (Plain, why) to be buried
    cdef bint busy              # and that this turn will do
    cdef int _watch_door(self, int what, int n) except -1
    cdef int _accept(self, int n, int most) except -1
    cdef int _enter(self, Front front, int fd, sockaddr_storage* peer) except -1
    cdef int _keep(self, int fd, Plain plain) except -1
    cdef int _hear(self, Plain plain, uint32_t events) except -1
    cdef int _fault(self, Plain plain, object fault) except -1
    cdef int bury(self, Plain plain, object error) except -1
    cdef int _bury(self) except -1


cdef class Plain:
    """A transport for TCP without TLS; the descriptor lives until its connection knows that it is over."""
    cdef Entrance entrance
    cdef Connection connection
    cdef int fd
    cdef bint watched           # the entrance's epoll has it
    cdef bint reading
    cdef bint ended             # the peer has shut its side
    cdef bint full              # the socket has been full once
    cdef bint slow              # the connection was asked to write no more
    cdef bint shut              # our side is shut once what waits has left
    cdef bint closing
    cdef bint lost              # nothing is read or written any more
    cdef object queue           # deque of bytes that the socket has not taken, or None
    cdef size_t skip            # how much of the first it has
    cdef size_t waiting         # bytes in all
    cdef size_t high
    cdef size_t low
    cdef int happens(self, uint32_t events) except -1
    cdef int read(self, bint ends) except -1
    cdef int _stop(self, ssize_t got) except -1
    cdef int watch(self) except -1
    cdef int lose(self, object error) except -1
    cdef int _flush(self) except -1
    cdef int _slow_down(self) except -1


cdef class Census:
    """Who is connected to this worker, over all listeners."""
    cdef readonly uint64_t accepted
    cdef readonly uint64_t refused
    cdef readonly uint32_t open
    cdef readonly Board board           # where all workers' numbers stand, or None
    cdef readonly uint32_t most
    cdef readonly uint32_t most_per_address
    cdef readonly dict by_address
    cdef readonly dict faults
    cdef readonly uint64_t bytes_out
    cdef readonly uint64_t timeouts
    cdef readonly uint64_t loosened     # clients that lost the pin of what they read
    cdef public uint64_t cut_for_memory # and those that could not go on
    cpdef bint enter(self, str address) except -1
    cpdef int leave(self, str address) except -1


cdef class Connection:
    cdef Front front
    cdef object transport
    cdef str address
    cdef int fd                 # for direct sends; -1 over TLS
    cdef int state
    cdef int64_t slot           # the wheel's bucket, in seconds; 0: none
    cdef int64_t deadline       # monotonic ms; 0: none
    cdef object pending         # bytearray of what is not yet a request, or None
    cdef size_t resume
    cdef bint partial           # a head has begun, its deadline runs
    cdef ClientStream stream
    cdef object turn            # what the second lane has set, while it has the turn
    cdef object note            # what it remembers of this client
    cdef object send            # the Transfer of a SENDING connection
    cdef bint queued            # bytes may be waiting in the transport
    cdef bint measured          # how far away the client is was looked at
    cdef bint paused            # the transport asked us to stop writing
    cdef bint held              # we asked the transport to stop reading
    cdef bint ended             # the peer has shut its side
    cdef bint last              # no request after this one
    cdef int body
    cdef uint64_t body_left
    cdef Chunked chunked
    cdef int64_t body_seen
    cdef uint64_t written
    cdef uint64_t mark          # bytes moved when the rate was last looked at
    cdef int64_t marked         # monotonic ms of that
    cdef int64_t still          # and since when none moved
    cdef int slow               # looks in a row that found the peer too slow
    cdef bint emptied           # a lingering connection has sent everything

    cdef int take_in(self, const char* buf, size_t n, object owner) except -1
    cdef int _behind(self, const char* buf, size_t n) except -1
    cdef int _consume(self, const char* buf, size_t n, object owner) except -1
    cdef int _busy(self, RequestHead* head) except -1
    cdef void _begin(self, const char* buf, RequestHead* head)
    cdef ClientStream hand_over(self, bytes head, int64_t began)
    cdef void _refuse(self, int status, str name)
    cdef int _settle(self) except -1
    cdef int _next(self) except -1
    cdef int _keep_rest(self, const char* buf, size_t pos, size_t n, object owner) except -1
    cdef int _keep(self, const char* buf, size_t n) except -1
    cdef int _hold(self) except -1
    cdef int _release(self) except -1
    cdef bint _has_said_all(self) noexcept nogil
    cdef int _linger(self) except -1
    cdef int _close(self) except -1
    cdef int _abort(self) except -1
    cdef int _due(self, int64_t deadline) except -1


cdef class Transfer:
    """A stored body on its way to one client: the record stays pinned until the last byte is handed over or the pin is
    lost."""
    cdef HitLane lane
    cdef Record* record
    cdef uint64_t offset
    cdef uint64_t left
    cdef int64_t began          # monotonic ms
    cdef uint64_t mark          # what the connection had written by then
    cdef Loose loose            # what finds the record again, once the pin is lost: then it is held while it is sent only


cdef class ClientStream:
    """One request as the exchange sees it: its head, its body, and the answer to be written."""
    cdef Connection connection
    cdef readonly str method
    cdef readonly bytes target
    cdef readonly tuple version
    cdef readonly list fields
    cdef readonly bint secure
    cdef readonly str address
    cdef readonly object body_length        # int, None when unknown (chunked) or without body
    cdef readonly bint has_body
    cdef readonly bint upgrade
    cdef readonly bint expects_continue
    cdef readonly int64_t began             # monotonic µs
    cdef public object task
    cdef public object source       # what its body is read from, while it is
    cdef list chunks                        # body bytes that wait to be read
    cdef size_t waiting
    cdef bint body_done
    cdef object body_error
    cdef object reader                      # future of a read()
    cdef object writer                      # future of a drain()
    cdef readonly int status                # of the head that is out; 0 before
    cdef readonly bint started              # the head is out
    cdef readonly bint finished
    cdef readonly bint gone                 # the client has left
    cdef bint bodyless                      # HEAD, 204, 304
    cdef bint chunk_out
    cdef int64_t length_left                # of the answer; -1 when unknown
    cdef readonly uint64_t bytes_sent       # of body
    cdef object tunnel                      # called with each piece once the connection is a tunnel
    cdef int go_on(self, int status, bint chunked, int64_t left, uint64_t sent) except -1
    cdef void _push(self, bytes data)
    cdef void _body_end(self)
    cdef void _fail(self, object error)
    cdef void _wake_reader(self)
    cdef void _wake_writer(self)


# All of it: now as far as the socket takes it, the rest through the transport, in order. `more`: the next bytes follow
# at once.
cdef int send_bytes(Connection c, const char* data, size_t n, bint more=*) except -1
cdef int send_pieces(Connection c, iovec* pieces, int count) except -1
cdef int64_t microseconds() noexcept nogil
