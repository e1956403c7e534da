"""The fill lane: a plain GET or HEAD that has to go to an HTTP/1.1 origin goes there and back in callbacks.

It takes a request when it understands all of it, its route's origin is spoken to by our own client, and a kept
connection to it is there; everything else it declines before anything has happened. What the rules decide (which
fields go on, whether a response may be stored and as what) is asked of them once and remembered by everything that
their answer depends on; see `fill/recipe.pyx`. It must not know cache rules, and nothing of pools but "a kept
connection".

    take --declined--> the exchange
      | a kept connection, the request's head as bytes
      v
    Passage --no head, connection was dead, or its server failed--> the exchange, which asks again
      |     --head it does not understand, or of something that only a flight can store--> the exchange, response in hand
      v
    head, body as they arrive: to the client; of a miss that may be stored into its fill, too
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport INT64_MIN, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset
from posix.uio cimport iovec

from cdn cimport _core
from cdn._core cimport (
    F_ACCEPT_ENCODING, F_AGE, F_AUTHORIZATION, F_CONNECTION, F_DATE, F_ETAG, F_IF_MODIFIED_SINCE, F_IF_NONE_MATCH, F_IF_RANGE,
    F_LAST_MODIFIED, F_OTHER, F_RANGE, FieldSpan, M_GET, M_HEAD, RequestHead, ResponseHead, parse_http_date,
    put_http_date, put_uint, same_folded, write_key,
)
from cdn.proxy._clock cimport Clock
from cdn.proxy._front cimport CLOSED, Connection, Lane, microseconds, send_bytes, send_pieces
from cdn.proxy._lane cimport AT_KEY, AT_NOTHING, HitLane, KEY_ROOM, Located
from cdn.proxy._log cimport HitLog, Line, Text, line_of
from cdn.proxy._routes cimport CompiledRoute, RouteTable
from cdn.proxy._variants cimport Specs, next_spec, specs_begin
from cdn.store._memory cimport Entry, Fill, Loose, Memory
from cdn.store.layout cimport RECORD_VARY_MARKER, Record, record_time
from cdn.tier cimport _wire
from cdn.tier._standing cimport Choice, Member
from cdn.tier._wire cimport BY_CHUNKS, BY_CLOSE, BY_LENGTH, BY_NOTHING, Framing, Sink, Stream

from cdn._core import FIELD_IDS
from cdn.proxy import coding, filling, handover, stored_parts, stored_slices
from cdn.proxy.asking import about
from cdn.proxy.counters import BUCKETS
from cdn.proxy.interim import interim_head
from cdn.proxy.placing import place
from cdn.rules.norms import CODED_FROM as _CODED_FROM
from cdn.rules.message import Fields, RequestHead as RequestValue, ResponseHead as ResponseValue
from cdn.rules.outcome import NoStoreReason, Outcome
from cdn.rules.stored import META_VERSION, TAGGED
from cdn.tier.rendezvous import SECRET as _PLACES
from cdn.tier.seam import Kind, OriginError
from cdn.tier.shields import place as place_of
from cdn.tier.upstream import Attempt

cdef extern from "Python.h":
    enum: PyBUF_READ

cdef enum:
    ROOM = 384 << 10            # a whole head, in either direction
    WORD = 1 << 10              # of that for a word to a shield
    LINE = 16 << 10             # and for a line that asks about stored variants
    MARKER = 4 << 10            # the longest list of what a URL's responses vary by
    BODY = 1 << 20              # the longest body that is stored here; longer ones, or what is left of them, are a flight's
    PIECE = 64 << 10            # read from a fill at once
    MOST_LINES = 64             # of a response; masks have a bit for each
    MOST_FORMS = 256            # remembered a route
    MOST_RECIPES = 64           # remembered a form
    MOST_NAMES = 1024           # remembered a route
    KEY = 2048                  # bytes of deciding values that a recipe is remembered by
    IDS = 64
    NBUCKETS = 13

# What a passage is for.
cdef enum:
    PASSED = 0                  # the route has `cache: off`, or a rule that the request falls under
    TOLD                        # a HEAD of what is not stored: its answer is for its client alone
    MISSED                      # others may wait for it
    ALONE                       # a miss that nobody should wait for: the last one could not be stored

# As the counters and the log name them.
cdef enum:
    O_ERROR = 0
    O_PASS
    O_MISS
    OUTCOMES

cdef tuple OUTCOME_NAMES = (Outcome.ERROR.value, Outcome.PASS.value, Outcome.MISS.value)
cdef list OUTCOME_TEXTS = [name.encode("ascii") for name in OUTCOME_NAMES]
cdef dict REASON_TEXTS = {reason.value: reason.value.encode("ascii") for reason in NoStoreReason}
cdef str ROUTE_OFF = NoStoreReason.ROUTE_OFF.value
cdef str BYPASS = NoStoreReason.BYPASS.value
cdef int META_TAGGED = TAGGED
cdef int64_t CODED_FROM = _CODED_FROM
cdef bytes PLACES = _PLACES        # 16 bytes
cdef str METHOD = NoStoreReason.METHOD.value

cdef uint64_t CONDITIONAL = (
    (1ULL << F_IF_MODIFIED_SINCE) | (1ULL << F_IF_NONE_MATCH) | (1ULL << F_IF_RANGE) | (1ULL << F_RANGE)
)


cdef inline char* _put(char* dst, bytes text) noexcept:
    memcpy(dst, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return dst + PyBytes_GET_SIZE(text)


cdef inline bint _is(bytes text, const char* other, Py_ssize_t n) noexcept:
    return PyBytes_GET_SIZE(text) == n and memcmp(PyBytes_AS_STRING(text), other, n) == 0


cdef inline char* _line(char* dst, const char* buf, const FieldSpan* f) noexcept nogil:
    return _core.put_field(dst, buf + f.name, f.name_len, buf + f.value, f.value_len)


cdef list _lines(const char* buf, const FieldSpan* fields, uint32_t n):
    cdef list out = []
    cdef uint32_t i
    for i in range(n):
        out.append((buf[fields[i].name:fields[i].name + fields[i].name_len].decode("latin-1"),
                    buf[fields[i].value:fields[i].value + fields[i].value_len].decode("latin-1")))
    return out


cdef inline bint _plain_connection(const char* buf, const FieldSpan* f) noexcept nogil:
    """A Connection field that names nothing but whether the connection stays."""
    return (same_folded(buf + f.value, f.value_len, b"keep-alive", 10)
            or same_folded(buf + f.value, f.value_len, b"close", 5))


include "fill/recipe.pyx"
include "fill/way.pyx"
include "fill/counts.pyx"
include "fill/lane.pyx"
include "fill/seeking.pyx"
include "fill/passage.pyx"
include "fill/verdict.pyx"
include "fill/answering.pyx"
include "fill/parting.pyx"
