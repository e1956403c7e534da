"""The strict HTTP/1.1 client: one connection's framing, its deadline, and the pool of kept connections.

Decides where a response ends, whether it was whole, and whether its connection may carry another request (RFC
9112 §6.3, §9.3). Must not know which server is chosen, what is retried, or what becomes of a response: that is
told to a `Sink`. `Stream` is the sink for `await`; the fill lane brings its own.

Rules of these files:
- What RFC 9112 calls ambiguous is MALFORMED, never repaired: a transfer coding other than exactly `chunked`,
  one beside a Content-Length, one in an HTTP/1.0 message, a 101 nobody asked for.
- A connection goes back to the pool only from `_finish`, when nothing is left to send and nothing arrived
  behind the end. In the pool any byte or end discards it, and `take` looks into the socket before it is used.
"""

from collections import deque
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.unistd cimport close
from libc.errno cimport EAGAIN, EINTR, errno
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeLatin1

from cdn cimport _core
from cdn._system cimport (
    EPOLLET, EPOLLIN, EPOLLRDHUP, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD,
    MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, epoll_create1, epoll_ctl, epoll_event, epoll_wait, recv, send,
)
from cdn.rules.message import Fields, ResponseHead
from cdn.tier.seam import OWN_FIELDS, Kind, OriginError

cdef enum:
    MAX_INTERIM = 32                # 1xx responses before the final one
    QUEUE_HIGH = 256 << 10          # body bytes that may wait for a reader
    QUEUE_LOW = 64 << 10
    WRITE_HIGH = 64 << 10           # request bytes in the transport; a stall is seen in such steps
    WRITE_LOW = 16 << 10

cdef double GRACE = 0.02            # a late loop reads what had arrived in time before it calls a timeout
cdef double LATELY = 0.002          # a turn under load; the way to an origin and back, which no look covers, is longer


cdef inline double _monotonic() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <double>t.tv_sec + t.tv_nsec * 1e-9


include "wire/request.pyx"
include "wire/sink.pyx"
include "wire/connection.pyx"
include "wire/framing.pyx"
include "wire/deadline.pyx"
include "wire/chunks.pyx"
include "wire/intake.pyx"
include "wire/pool.pyx"
include "wire/stream.pyx"
