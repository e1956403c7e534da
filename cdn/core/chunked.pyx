# Chunked framing (RFC 9112 §7.1), strict. A size line ends in CRLF alone, white space only before an
# extension's ";", extensions are skipped, trailer lines checked and dropped.
#
# What a sender may spend on framing is bounded three ways: one size line, the trailer section, and over the
# whole message what exceeds a fair allowance (16 bytes and twice the data of each chunk), so that one-byte
# chunks under long extensions end early.

cdef enum:
    CHUNK_LINE_MAX = 4096
    CHUNK_TRAILER_MAX = 8192
    CHUNK_EXCESS_MAX = 65536

cdef enum ChunkState:
    K_SIZE_FIRST = 0
    K_SIZE
    K_SPACE
    K_EXTENSION
    K_SIZE_LF
    K_DATA
    K_DATA_CR
    K_DATA_LF
    K_TRAILER
    K_TRAILER_NAME
    K_TRAILER_VALUE
    K_TRAILER_LF
    K_LAST_LF
    K_DONE
    K_BROKEN


cdef inline bint end_size_line(Chunked* st) noexcept nogil:
    """A size line is complete: account for it; False when the message spends too much on framing."""
    cdef uint64_t allowance = 16 + 2 * min(st.left, <uint64_t>CHUNK_EXCESS_MAX)
    cdef uint64_t spent = <uint64_t>st.excess + st.line
    st.excess = <uint32_t>(spent - allowance) if spent > allowance else 0
    st.line = 0
    st.state = K_DATA if st.left else K_TRAILER
    return st.excess <= CHUNK_EXCESS_MAX


cdef inline bint chunk_byte(Chunked* st, uint8_t b) noexcept nogil:
    """One byte of framing; False when it is refused."""
    cdef uint8_t kind = CLASS[b]
    if st.state < K_DATA:
        st.line += 1
        if st.line > CHUNK_LINE_MAX:
            return False
        if st.state == K_SIZE_LF:
            return b == 0x0A and end_size_line(st)
        if kind & C_HEX and st.state <= K_SIZE:
            if st.left > <uint64_t>INT64_MAX >> 4:
                return False
            st.left = (st.left << 4) | HEX_VALUE[b]
            st.state = K_SIZE
            return True
        if st.state == K_SIZE_FIRST:
            return False
        if st.state == K_EXTENSION:
            if b == 0x0D:
                st.state = K_SIZE_LF
            return b == 0x0D or b == 0x09 or (b >= 0x20 and b != 0x7F)
        if b == 0x3B:
            st.state = K_EXTENSION
            return True
        if is_ows(b):
            st.state = K_SPACE
            return True
        if b == 0x0D and st.state == K_SIZE:
            st.state = K_SIZE_LF
            return True
        return False
    if st.state == K_DATA_CR:
        st.state = K_DATA_LF
        return b == 0x0D
    if st.state == K_DATA_LF:
        st.state = K_SIZE_FIRST
        return b == 0x0A
    st.line += 1
    if st.line > CHUNK_TRAILER_MAX:
        return False
    if st.state == K_TRAILER:
        if b == 0x0D:
            st.state = K_LAST_LF
            return True
        st.state = K_TRAILER_NAME
        return (kind & C_TOKEN) != 0
    if st.state == K_TRAILER_NAME:
        if b == 0x3A:
            st.state = K_TRAILER_VALUE
            return True
        return (kind & C_TOKEN) != 0
    if st.state == K_TRAILER_VALUE:
        if b == 0x0D:
            st.state = K_TRAILER_LF
            return True
        return b == 0x09 or (b >= 0x20 and b != 0x7F)
    if st.state == K_TRAILER_LF:
        st.state = K_TRAILER
        return b == 0x0A
    st.state = K_DONE
    return b == 0x0A


cdef int chunked_next(Chunked* st, const char* buf, size_t n, size_t* pos,
                      size_t* data, size_t* data_len) noexcept nogil:
    cdef size_t p = pos[0]
    while True:
        if st.state == K_DONE:
            pos[0] = p
            return CHUNK_END
        if st.state == K_BROKEN:
            return CHUNK_BAD
        if p == n:
            pos[0] = p
            return CHUNK_MORE
        if st.state == K_DATA:
            data[0] = p
            data_len[0] = <size_t>min(st.left, <uint64_t>(n - p))
            st.left -= data_len[0]
            pos[0] = p + data_len[0]
            if st.left == 0:
                st.state = K_DATA_CR
            return CHUNK_DATA
        if not chunk_byte(st, <uint8_t>buf[p]):
            st.state = K_BROKEN
            pos[0] = p
            return CHUNK_BAD
        p += 1


cdef class ChunkedDecoder:
    """De-frames a chunked body fed in pieces.

    `feed` returns the body bytes in it, piece by piece; `done` once the message has ended, and `rest` then
    holds what came behind it. Raises HeadError(400, "chunked") on bad framing.
    """
    cdef Chunked st
    cdef readonly bint done
    cdef readonly bytes rest

    def __cinit__(self):
        self.st.left = 0
        self.st.line = 0
        self.st.excess = 0
        self.st.state = K_SIZE_FIRST
        self.done = False
        self.rest = b""

    def feed(self, bytes piece not None):
        cdef const char* buf = piece
        cdef size_t n = len(piece)
        cdef size_t pos = 0, data = 0, data_len = 0
        cdef int step
        out = []
        if self.done:
            self.rest += piece
            return out
        while True:
            step = chunked_next(&self.st, buf, n, &pos, &data, &data_len)
            if step == CHUNK_DATA:
                out.append(piece[data:data + data_len])
            elif step == CHUNK_MORE:
                return out
            elif step == CHUNK_END:
                self.done = True
                self.rest = piece[pos:]
                return out
            else:
                raise HeadError(400, "chunked")
