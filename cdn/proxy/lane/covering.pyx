# Part of cdn/proxy/_lane.pyx: which hosts a TLS listener's certificate covers.


cdef class NameSet:
    """The host names a TLS listener's certificate covers; `*.x` covers one label."""

    def __cinit__(self, names):
        cdef uint32_t i
        self.names = tuple(names)
        self.count = len(self.names)
        self.keep = [name.lower().encode("ascii") for name in self.names]
        self.text = <const char**>calloc(self.count + 1, sizeof(char*))
        self.length = <uint32_t*>calloc(self.count + 1, sizeof(uint32_t))
        for i in range(self.count):
            self.text[i] = <bytes>self.keep[i]
            self.length[i] = len(self.keep[i])

    def __dealloc__(self):
        free(self.text)
        free(self.length)

    # hot
    cdef bint covers(self, const char* host, size_t n) noexcept nogil:
        cdef uint32_t i
        cdef const char* dot
        cdef size_t rest
        for i in range(self.count):
            if self.length[i] == n and memcmp(self.text[i], host, n) == 0:
                return True
            if self.length[i] > 2 and self.text[i][0] == b"*":
                dot = <const char*>memchr(host, b".", n)
                if dot != NULL and dot != host:
                    rest = n - (dot - host)
                    if rest == self.length[i] - 1 and memcmp(dot, self.text[i] + 1, rest) == 0:
                        return True
        return False

    def __contains__(self, str host):
        cdef bytes h = host.encode("latin-1")
        return self.covers(h, len(h))


# hot
cdef inline size_t _host_length(const char* authority, size_t n) noexcept nogil:
    """The length of the host inside a normalised authority."""
    cdef const char* colon
    if n and authority[0] == b"[":
        colon = <const char*>memchr(authority, b"]", n)
        return n if colon == NULL else colon - authority + 1
    colon = <const char*>memchr(authority, b":", n)
    return n if colon == NULL else colon - authority
