"""The words of edges that the hit lane may take without asking: compared with what the rules have believed already.

A word says something (a time, a scheme) and ends in a code over that and its request (`rules/edge_word.py`). What it says
is the same in all of an edge's requests of one second, so it is believed once, by the rules, and compared here; the code is
another one for each request and is checked here. Decides nothing else; it must not know what a word means.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from cdn._core cimport F_HOST, FieldSpan, RequestHead, find_field, mac, mac_key, put_bytes

cdef enum:
    CODE = 64           # hexadecimal digits
    MARK_LEN = 5

cdef const char* MARK = b";mac="
cdef const char* DIGITS = b"0123456789abcdef"


cdef class Words:
    """One per worker."""

    def __cinit__(self):
        memset(self.sayings, 0, sizeof(self.sayings))

    def trust(self, bytes secret) -> None:
        memset(self.sayings, 0, sizeof(self.sayings))
        self.listening = secret is not None
        if secret is not None:
            mac_key(&self.key, secret, len(secret))

    def believe(self, str said not None, bint https, int64_t until) -> None:
        cdef bytes text = said.encode("latin-1")
        cdef size_t n = len(text)
        cdef Saying* one
        if n == 0 or n > SAYING:
            return          # so long that the lane does without
        one = self._find(text, n)
        if one == NULL:
            self.newest = (self.newest + 1) % SAYINGS
            one = &self.sayings[self.newest]
        one.length = n
        one.https = https
        one.until = until
        memcpy(one.text, <const char*>text, n)

    # hot
    cdef Saying* _find(self, const char* text, size_t n) noexcept nogil:
        cdef uint32_t i
        cdef Saying* one
        for i in range(SAYINGS):
            one = &self.sayings[(self.newest + SAYINGS - i) % SAYINGS]
            if one.length == n and memcmp(one.text, text, n) == 0:
                return one
        return NULL

    # hot
    cdef int heard(self, const char* buf, RequestHead* head, FieldSpan* word, int64_t now, char* room) noexcept nogil:
        cdef const char* text = buf + word.value
        cdef const char* code
        cdef size_t n
        cdef Saying* one
        cdef int host = find_field(head.fields, head.nfields, F_HOST, 0)
        cdef uint8_t right[32]
        cdef uint8_t different = 0
        cdef char* p = room
        cdef int i
        if not self.listening or host < 0 or word.value_len <= CODE + MARK_LEN:
            return NO_WORD
        n = word.value_len - CODE - MARK_LEN
        if n > SAYING or memcmp(text + n, MARK, MARK_LEN) != 0:
            return NO_WORD
        one = self._find(text, n)
        if one == NULL or now >= one.until:
            return NO_WORD
        p = put_bytes(p, text, n)
        p[0] = b"\n"
        p = put_bytes(p + 1, buf + head.method, head.method_len)
        p[0] = b"\n"
        p = put_bytes(p + 1, buf + head.fields[host].value, head.fields[host].value_len)
        p[0] = b"\n"
        p = put_bytes(p + 1, buf + head.target, head.target_len)
        mac(&self.key, room, p - room, right)
        code = text + n + MARK_LEN
        for i in range(32):     # to the end, wherever it differs
            different |= <uint8_t>code[2 * i] ^ <uint8_t>DIGITS[right[i] >> 4]
            different |= <uint8_t>code[2 * i + 1] ^ <uint8_t>DIGITS[right[i] & 15]
        return NO_WORD if different else one.https
