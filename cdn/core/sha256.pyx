# HMAC-SHA-256 (RFC 2104, FIPS 180-4) without an object: what a shield checks an edge's word with, on every hit.
#
# The constants are what the standard says they are, the first bits behind the point of roots of primes, and computed.

cdef uint32_t SHA_ROUND[64]
cdef uint32_t SHA_START[8]


cdef int fill_sha() except -1:
    cdef int i
    found = []
    number = 2
    while len(found) < 64:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    for i in range(64):
        SHA_ROUND[i] = _root(found[i] << 96, 3) & 0xffffffff
    for i in range(8):
        SHA_START[i] = _root(found[i] << 64, 2) & 0xffffffff
    return 0


def _root(value, int power):
    """The integer part of a root."""
    low, high = 0, 1 << 64
    while high - low > 1:
        middle = (low + high) // 2
        if middle ** power <= value:
            low = middle
        else:
            high = middle
    return low


fill_sha()


cdef inline uint32_t turned(uint32_t x, int n) noexcept nogil:
    return (x >> n) | (x << (32 - n))


# hot
cdef void sha_block(uint32_t* state, const uint8_t* p) noexcept nogil:
    cdef uint32_t w[64]
    cdef uint32_t s[8]
    cdef uint32_t one, two
    cdef int i
    for i in range(16):
        w[i] = ((<uint32_t>p[4 * i] << 24) | (<uint32_t>p[4 * i + 1] << 16) | (<uint32_t>p[4 * i + 2] << 8)
                | <uint32_t>p[4 * i + 3])
    for i in range(16, 64):
        one = turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ (w[i - 15] >> 3)
        two = turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ (w[i - 2] >> 10)
        w[i] = w[i - 16] + one + w[i - 7] + two
    memcpy(s, state, 32)
    for i in range(64):
        one = (s[7] + (turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6]))
               + SHA_ROUND[i] + w[i])
        two = ((turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22))
               + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2])))
        s[7] = s[6]
        s[6] = s[5]
        s[5] = s[4]
        s[4] = s[3] + one
        s[3] = s[2]
        s[2] = s[1]
        s[1] = s[0]
        s[0] = one + two
    for i in range(8):
        state[i] += s[i]


# hot
cdef void sha_finish(uint32_t* state, const uint8_t* data, size_t n, uint64_t before, uint8_t* out) noexcept nogil:
    """Take the last `n` bytes, behind `before` others; `out` gets 32."""
    cdef uint8_t last[128]
    cdef uint64_t bits = (before + n) * 8
    cdef size_t room
    cdef int i
    while n >= 64:
        sha_block(state, data)
        data += 64
        n -= 64
    memset(last, 0, 128)
    memcpy(last, data, n)
    last[n] = 0x80
    room = 64 if n < 56 else 128
    for i in range(8):
        last[room - 1 - i] = <uint8_t>(bits >> (8 * i))
    sha_block(state, last)
    if room == 128:
        sha_block(state, last + 64)
    for i in range(32):
        out[i] = <uint8_t>(state[i // 4] >> (24 - 8 * (i % 4)))


cdef void mac_key(MacKey* key, const char* secret, size_t n) noexcept nogil:
    cdef uint8_t block[64]
    cdef uint8_t padded[64]
    cdef int i
    memset(block, 0, 64)
    if n > 64:
        memcpy(key.inner, SHA_START, 32)
        sha_finish(key.inner, <const uint8_t*>secret, n, 0, block)
    else:
        memcpy(block, secret, n)
    memcpy(key.inner, SHA_START, 32)
    memcpy(key.outer, SHA_START, 32)
    for i in range(64):
        padded[i] = block[i] ^ 0x36
    sha_block(key.inner, padded)
    for i in range(64):
        padded[i] = block[i] ^ 0x5c
    sha_block(key.outer, padded)


# hot
cdef void mac(const MacKey* key, const char* message, size_t n, uint8_t* out) noexcept nogil:
    cdef uint32_t state[8]
    cdef uint8_t inner[32]
    memcpy(state, key.inner, 32)
    sha_finish(state, <const uint8_t*>message, n, 64, inner)
    memcpy(state, key.outer, 32)
    sha_finish(state, inner, 32, 64, out)


def _hmac_sha256(bytes secret not None, bytes message not None):
    cdef MacKey key
    cdef uint8_t out[32]
    mac_key(&key, secret, len(secret))
    mac(&key, message, len(message), out)
    return out[:32]
