"""The access log lines of the lanes in C, written into one buffer that leaves in batches.

Decides only how a line looks: the names, their order and the escapes are those of `cdn.control.access_log`, which writes
the lines of every other lane (a test compares the two). It must not know where the lines go.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset, strlen
from posix.time cimport clock_gettime, timespec

from cdn._core cimport F_HOST, F_REFERER, F_USER_AGENT, RequestHead, put_uint, siphash128
from cdn.proxy._lane cimport Answer
from cdn.proxy._clock cimport Clock

cdef extern from "<time.h>" nogil:
    struct tm:
        pass
    ctypedef long time_t
    tm* gmtime_r(const time_t* t, tm* out)
    size_t strftime(char* s, size_t most, const char* format, const tm* t)

cdef enum:
    ROOM = 32 << 10
    LINE = 4096
    FLUSH_AT = 16 << 10         # a copy of so much delays nobody, and stays in the processor's cache
    # bytes that a text may take in its line, escapes included
    METHOD = 32
    HOST = 256
    TARGET = 1536
    REFERER = 640
    AGENT = 512
    ORIGIN = 272

# Not the store's secret: the hash in a log is the same on every node, and tells nothing about the table.
cdef const char* LOG_SECRET = b"cdn log key hash"
cdef const char* HEX = b"0123456789abcdef"
cdef const char* HEX_UPPER = b"0123456789ABCDEF"


cdef inline char* _text(char* dst, const char* text) noexcept nogil:
    cdef size_t n = strlen(text)
    memcpy(dst, text, n)
    return dst + n


# hot
cdef char* _escape(char* dst, const char* text, size_t n, size_t limit, bint json) noexcept nogil:
    """Printable ASCII as it is, every other byte as \\u00XX or \\xXX; cut to `limit` bytes, ending in three dots."""
    cdef size_t i
    cdef unsigned char c
    cdef size_t room, piece
    cdef bint plain = n <= limit
    if plain:
        for i in range(n):
            c = text[i]
            if c < 0x20 or c > 0x7e or c == b'"' or c == b"\\":
                plain = False
                break
    if plain:
        memcpy(dst, text, n)
        return dst + n
    room = limit - 3
    for i in range(n if n < limit else limit):
        c = text[i]
        if c < 0x20 or c > 0x7e or c == b'"' or c == b"\\":
            piece = 6 if json else 4
            if piece > room:
                return _text(dst, b"...")
            dst[0] = b"\\"
            if json:
                memcpy(dst + 1, b"u00", 3)
                dst[4] = HEX[c >> 4]
                dst[5] = HEX[c & 15]
            else:
                dst[1] = b"x"
                dst[2] = HEX_UPPER[c >> 4]
                dst[3] = HEX_UPPER[c & 15]
        else:
            piece = 1
            if piece > room:
                return _text(dst, b"...")
            dst[0] = c
        dst += piece
        room -= piece
    return _text(dst, b"...") if n > limit else dst


cdef inline Text _first(const char* buf, RequestHead* head, int which) noexcept nogil:
    cdef uint32_t i
    if (head.present >> which) & 1:
        for i in range(head.nfields):
            if <int>head.fields[i].id == which:
                return Text(buf + head.fields[i].value, head.fields[i].value_len)
    return Text(NULL, 0)


cdef inline char* _hex64(char* dst, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(16):
        dst[i] = HEX[(value >> (60 - 4 * i)) & 15]
    return dst + 16


cdef inline uint64_t _log_hash(const Text* key) noexcept nogil:
    cdef uint64_t out[2]
    siphash128(<const uint8_t*>LOG_SECRET, key.at, key.n, out)
    return out[0]


cdef void line_of(Line* line, const char* buf, RequestHead* head) noexcept nogil:
    line.method = Text(buf + head.method, head.method_len)
    line.target = Text(buf + head.target, head.target_len)
    line.host = _first(buf, head, F_HOST)
    line.referer = _first(buf, head, F_REFERER)
    line.agent = _first(buf, head, F_USER_AGENT)


cdef inline char* _three(char* dst, int64_t value) noexcept nogil:
    dst[0] = 48 + value // 100
    dst[1] = 48 + value // 10 % 10
    dst[2] = 48 + value % 10
    return dst + 3




cdef class HitLog:
    """`sink.write(chunk)` gets whole lines at the latest 0.2 s after the first of them; it must not block."""

    def __cinit__(self, loop, sink, Clock clock):
        self.loop = loop
        self.sink = sink
        self.clock = clock
        self.json = sink.format == "json"
        self.second = -1
        self.buf = <char*>malloc(ROOM)
        if self.buf == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.buf)

    # hot
    cdef int hit(self, str address, bint secure, const char* buf, RequestHead* head, Answer* answer,
                  int64_t micros) except -1:
        cdef Line line
        memset(&line, 0, sizeof(Line))
        line_of(&line, buf, head)
        line.time = self.clock.read()
        line.status = answer.status
        line.bytes_sent = answer.body_length
        line.outcome = b"hit"
        line.key = Text(answer.key, answer.key_len)
        line.micros = micros
        line.first_byte_us = -1
        self.add(address, &line)

    # hot
    cdef int add(self, str address, Line* line) except -1:
        """Write one line; `address` is the client's."""
        cdef Py_ssize_t na
        cdef const char* a = PyUnicode_AsUTF8AndSize(address, &na)
        line.client = Text(a, na if na < 64 else 64)
        self._clock(line.time)
        self.used = (self._json(self.buf + self.used, line) if self.json
                     else self._combined(self.buf + self.used, line)) - self.buf
        self.lines += 1
        if self.used >= FLUSH_AT:
            self._hand_over()
        elif self.timer is None:
            self.timer = self.loop.call_later(0.2, self._late)  # python: callback

    # hot
    cdef void _clock(self, int64_t now) noexcept nogil:
        cdef time_t at = now // 1000
        cdef tm t
        if at == self.second:
            return
        self.second = at
        gmtime_r(&at, &t)
        self.stamp_len = strftime(self.stamp, sizeof(self.stamp),
                                  b"%Y-%m-%dT%H:%M:%S" if self.json else b"%d/%b/%Y:%H:%M:%S +0000", &t)

    # hot
    cdef char* _quoted(self, char* dst, Text* text, size_t limit) noexcept nogil:
        if text.at == NULL:
            return _text(dst, b"null" if self.json else b'"-"')
        dst[0] = b'"'
        dst = _escape(dst + 1, text.at, text.n, limit, self.json)
        dst[0] = b'"'
        return dst + 1

    # hot
    cdef char* _json(self, char* dst, Line* line) noexcept nogil:
        dst = _text(dst, b'{"time":"')
        memcpy(dst, self.stamp, self.stamp_len)
        dst += self.stamp_len
        dst[0] = b"."
        dst = _three(dst + 1, line.time % 1000)
        dst = _text(dst, b'Z","id":null,"client":"')
        dst = _escape(dst, line.client.at, line.client.n, 64, True)
        dst = _text(dst, b'","method":"')
        dst = _escape(dst, line.method.at, line.method.n, METHOD, True)
        dst = _text(dst, b'","host":')
        dst = self._quoted(dst, &line.host, HOST)
        dst = _text(dst, b',"target":"')
        dst = _escape(dst, line.target.at, line.target.n, TARGET, True)
        dst = _text(dst, b'","protocol":"HTTP/1.1","status":')
        dst = put_uint(dst, line.status)
        dst = _text(dst, b',"bytes":')
        dst = put_uint(dst, line.bytes_sent)
        dst = _text(dst, b',"outcome":"')
        dst = _text(dst, line.outcome)
        dst = _text(dst, b'","no_store":')
        if line.no_store == NULL:
            dst = _text(dst, b"null")
        else:
            dst = _text(dst, b'"')
            dst = _text(dst, line.no_store)
            dst = _text(dst, b'"')
        dst = _text(dst, b',"key":')
        if line.key.at == NULL:
            dst = _text(dst, b"null")
        else:
            dst = _text(dst, b'"')
            dst = _hex64(dst, _log_hash(&line.key))
            dst = _text(dst, b'"')
        dst = _text(dst, b',"duration_us":')
        dst = put_uint(dst, line.micros if line.micros > 0 else 0)
        dst = _text(dst, b',"origin":')
        dst = self._quoted(dst, &line.origin, ORIGIN)
        dst = _text(dst, b',"origin_first_byte_us":')
        if line.first_byte_us < 0:
            dst = _text(dst, b"null")
        else:
            dst = put_uint(dst, line.first_byte_us)
        dst = _text(dst, b',"referer":')
        dst = self._quoted(dst, &line.referer, REFERER)
        dst = _text(dst, b',"user_agent":')
        dst = self._quoted(dst, &line.agent, AGENT)
        return _text(dst, b"}\n")

    # hot
    cdef char* _combined(self, char* dst, Line* line) noexcept nogil:
        dst = _escape(dst, line.client.at, line.client.n, 64, False)
        dst = _text(dst, b" - - [")
        memcpy(dst, self.stamp, self.stamp_len)
        dst = _text(dst + self.stamp_len, b'] "')
        dst = _escape(dst, line.method.at, line.method.n, METHOD, False)
        dst = _text(dst, b" ")
        dst = _escape(dst, line.target.at, line.target.n, TARGET, False)
        dst = _text(dst, b' HTTP/1.1" ')
        dst = put_uint(dst, line.status)
        dst = _text(dst, b" ")
        dst = put_uint(dst, line.bytes_sent)
        dst = _text(dst, b" ")
        dst = self._quoted(dst, &line.referer, REFERER)
        dst = _text(dst, b" ")
        dst = self._quoted(dst, &line.agent, AGENT)
        dst = _text(dst, b" ")
        dst = _text(dst, line.outcome)
        dst = _text(dst, b" ")
        if line.key.at == NULL:
            dst = _text(dst, b"-")
        else:
            dst = _hex64(dst, _log_hash(&line.key))
        dst = _text(dst, b" ")
        dst = put_uint(dst, line.micros if line.micros > 0 else 0)
        return _text(dst, b"\n")

    def flush(self) -> None:
        """Hand over what is there."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self._hand_over()

    def _late(self) -> None:
        """The first line since the timer was set has waited for long enough. A buffer that was full before leaves the
        timer be: to set it anew each time would cost more than one look in vain."""
        self.timer = None
        self._hand_over()

    cdef int _hand_over(self) except -1:
        if self.used:
            data = PyBytes_FromStringAndSize(self.buf, self.used)
            self.used = 0
            self.sink.write(data)
        return 0

    def use(self, sink) -> None:
        """Flush, then write to another sink, or in the other form, from here on."""
        self.flush()
        self.sink = sink
        self.json = sink.format == "json"
        self.second = -1
