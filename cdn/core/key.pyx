# The cache key, length-prefixed so that no two different requests write the same bytes, and its keyed hash.
#
#   key     scheme authority path query extra*
#   scheme  "h" | "s"
#   others  uint32 little-endian length, then the bytes; an absent query is length 0xffffffff without bytes

cdef inline char* put_part(char* dst, const char* part, uint32_t n) noexcept nogil:
    memcpy(dst, &n, 4)
    memcpy(dst + 4, part, n)
    return dst + 4 + n


cdef size_t write_key(bint https, const char* authority, size_t na, const char* path, size_t np,
                      const char* query, int64_t nq, char* dst) noexcept nogil:
    cdef char* p = dst + 1
    cdef uint32_t absent = 0xFFFFFFFF
    dst[0] = 0x73 if https else 0x68
    p = put_part(p, authority, <uint32_t>na)
    p = put_part(p, path, <uint32_t>np)
    if nq < 0:
        memcpy(p, &absent, 4)
        p += 4
    else:
        p = put_part(p, query, <uint32_t>nq)
    return p - dst


cdef struct Sip:
    uint64_t a
    uint64_t b
    uint64_t c
    uint64_t d


cdef inline uint64_t rotate(uint64_t x, int n) noexcept nogil:
    return (x << n) | (x >> (64 - n))


cdef inline void sip_round(Sip* v) noexcept nogil:
    v.a += v.b
    v.c += v.d
    v.b = rotate(v.b, 13) ^ v.a
    v.d = rotate(v.d, 16) ^ v.c
    v.a = rotate(v.a, 32)
    v.c += v.b
    v.a += v.d
    v.b = rotate(v.b, 17) ^ v.c
    v.d = rotate(v.d, 21) ^ v.a
    v.c = rotate(v.c, 32)


cdef void siphash128(const uint8_t* secret, const char* data, size_t n, uint64_t* out) noexcept nogil:
    """SipHash-2-4 with a 128-bit result: out[0], out[1]. `secret` is 16 bytes."""
    cdef const uint8_t* p = <const uint8_t*>data
    cdef const uint8_t* whole = p + (n & ~<size_t>7)
    cdef uint64_t k0 = load8(secret)
    cdef uint64_t k1 = load8(secret + 8)
    cdef uint64_t word
    cdef Sip v
    cdef int i
    v.a = <uint64_t>0x736F6D6570736575 ^ k0
    v.b = <uint64_t>0x646F72616E646F6D ^ k1 ^ 0xEE
    v.c = <uint64_t>0x6C7967656E657261 ^ k0
    v.d = <uint64_t>0x7465646279746573 ^ k1
    while p < whole:
        word = load8(p)
        v.d ^= word
        sip_round(&v)
        sip_round(&v)
        v.a ^= word
        p += 8
    word = 0
    memcpy(&word, p, n & 7)
    word |= <uint64_t>n << 56
    v.d ^= word
    sip_round(&v)
    sip_round(&v)
    v.a ^= word
    v.c ^= 0xEE
    for i in range(4):
        sip_round(&v)
    out[0] = v.a ^ v.b ^ v.c ^ v.d
    v.b ^= 0xDD
    for i in range(4):
        sip_round(&v)
    out[1] = v.a ^ v.b ^ v.c ^ v.d


def cache_key(bint https, bytes authority not None, bytes path not None, query=None, extras=()):
    """The key of normalised parts: authority, path, query (bytes or None), then chosen field values."""
    cdef bytes query_bytes = b"" if query is None else query
    cdef size_t room = 13 + len(authority) + len(path) + len(query_bytes)
    cdef char* dst = <char*>malloc(room)
    cdef size_t n
    if dst == NULL:
        raise MemoryError
    try:
        n = write_key(https, authority, len(authority), path, len(path), query_bytes,
                      -1 if query is None else <int64_t>len(query_bytes), dst)
        key = dst[:n]
    finally:
        free(dst)
    return key + b"".join([len(extra).to_bytes(4, "little") + extra for extra in extras])


def key_hash(bytes secret not None, bytes key not None):
    """The keyed hash of a key as two 64-bit numbers; `secret` is 16 bytes (else ValueError)."""
    cdef uint64_t out[2]
    cdef const char* text = secret
    if len(secret) != 16:
        raise ValueError("the hash secret is 16 bytes")
    siphash128(<const uint8_t*>text, key, len(key), out)
    return out[0], out[1]
