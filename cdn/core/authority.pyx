# The one normal form of host[:port]: lower case, no trailing dot, no default port, the port in plain decimal.
#
# Names of letters, digits, "-", "_" and dots, IPv4, or an IPv6 literal in brackets without a zone. Nothing
# else: no user information, no escapes, no empty host or label. An empty port is the default one (RFC 3986
# §6.2.3).

cdef enum:
    HOST_MAX = 255


cdef const uint8_t* after_ipv4(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """Behind four dotted decimals 0..255 without leading zeros, or NULL."""
    cdef int part, value, digits
    for part in range(4):
        if part:
            if p == end or p[0] != 0x2E:
                return NULL
            p += 1
        value = digits = 0
        while p < end and CLASS[p[0]] & C_DIGIT and digits < 3:
            value = value * 10 + p[0] - 0x30
            digits += 1
            p += 1
        if digits == 0 or value > 255 or (digits > 1 and (p - digits)[0] == 0x30):
            return NULL
    return p


cdef bint is_ipv6(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """RFC 3986 §3.2.2 IPv6address, whole."""
    cdef int groups = 0
    cdef int digits
    cdef bint elided = False
    cdef const uint8_t* start
    if end - p < 2:
        return False
    if p[0] == 0x3A:
        if p[1] != 0x3A:
            return False
        elided = True
        p += 2
        if p == end:
            return True
    while True:
        start = p
        digits = 0
        while p < end and CLASS[p[0]] & C_HEX and digits < 5:
            digits += 1
            p += 1
        if p < end and p[0] == 0x2E:
            if after_ipv4(start, end) != end:
                return False
            groups += 2
            break
        if digits == 0 or digits > 4:
            return False
        groups += 1
        if p == end:
            break
        if p[0] != 0x3A:
            return False
        p += 1
        if p == end:
            return False
        if p[0] == 0x3A:
            if elided:
                return False
            elided = True
            p += 1
            if p == end:
                break
    return groups < 8 if elided else groups == 8


cdef int put_port(const uint8_t* p, const uint8_t* end, bint https, char* dst) noexcept nogil:
    """Write ":port" unless it is the default; its length, or -1."""
    cdef uint32_t port = 0
    cdef char* stop
    if p == end:
        return 0
    while p < end:
        if not CLASS[p[0]] & C_DIGIT:
            return -1
        port = port * 10 + p[0] - 0x30
        if port > 65535:
            return -1
        p += 1
    if port == <uint32_t>(443 if https else 80):
        return 0
    dst[0] = 0x3A
    stop = put_uint(dst + 1, port)
    return <int>(stop - dst)


# hot
cdef int normal_authority(const char* src, size_t n, bint https, char* dst) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>src
    cdef const uint8_t* end = p + n
    cdef size_t out = 0
    cdef int port
    if n == 0 or n > HOST_MAX + 16:
        return -1
    if p[0] == 0x5B:
        while p < end and p[0] != 0x5D:
            dst[out] = LOWER[p[0]]
            out += 1
            p += 1
        if p == end or not is_ipv6(<const uint8_t*>dst + 1, <const uint8_t*>dst + out):
            return -1
        dst[out] = 0x5D
        out += 1
        p += 1
    else:
        while p < end and p[0] != 0x3A:
            if p[0] == 0x2E:
                if out == 0 or dst[out - 1] == 0x2E:
                    return -1
            elif not CLASS[p[0]] & C_LABEL:
                return -1
            dst[out] = LOWER[p[0]]
            out += 1
            p += 1
        if out and dst[out - 1] == 0x2E:
            out -= 1
        if out == 0 or out > HOST_MAX:
            return -1
    if p == end:
        return <int>out
    if p[0] != 0x3A:
        return -1
    port = put_port(p + 1, end, https, dst + out)
    return -1 if port < 0 else <int>out + port


def _normal_authority(bytes authority not None, bint https=False):
    """The normal form of host[:port], as str. Raises HeadError(400, "authority")."""
    cdef char dst[HOST_MAX + 17]
    cdef int n = normal_authority(authority, len(authority), https, dst)
    if n < 0:
        raise head_error(E_AUTHORITY)
    return dst[:n].decode("ascii")
