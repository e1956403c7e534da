"""CRC32C (Castagnoli), the checksum of everything on disk: the processor's own instruction where it has one, else tables.

Decides nothing. The polynomial is that of RFC 3720 §12.1; results are those of its appendix B.4.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #include <stddef.h>

    static uint32_t cdn_crc_table[8][256];

    /* Eight bytes a step: table k is that of a byte followed by k zero bytes. */
    static void cdn_crc_fill(void) {
        for (int i = 0; i < 256; i++) {
            uint32_t c = (uint32_t)i;
            for (int k = 0; k < 8; k++) c = (c >> 1) ^ (0x82f63b78u & (0u - (c & 1)));
            cdn_crc_table[0][i] = c;
        }
        for (int i = 0; i < 256; i++)
            for (int k = 1; k < 8; k++) {
                uint32_t c = cdn_crc_table[k - 1][i];
                cdn_crc_table[k][i] = (c >> 8) ^ cdn_crc_table[0][c & 0xff];
            }
    }

    static uint32_t cdn_crc_by_table(uint32_t c, const unsigned char *p, size_t n) {
        while (n >= 8) {
            uint32_t low = c ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
            c = cdn_crc_table[7][low & 0xff] ^ cdn_crc_table[6][(low >> 8) & 0xff]
              ^ cdn_crc_table[5][(low >> 16) & 0xff] ^ cdn_crc_table[4][low >> 24]
              ^ cdn_crc_table[3][p[4]] ^ cdn_crc_table[2][p[5]] ^ cdn_crc_table[1][p[6]] ^ cdn_crc_table[0][p[7]];
            p += 8;
            n -= 8;
        }
        while (n--) c = (c >> 8) ^ cdn_crc_table[0][(c ^ *p++) & 0xff];
        return c;
    }

    #if defined(__x86_64__)
    #include <nmmintrin.h>
    __attribute__((target("sse4.2")))
    static uint32_t cdn_crc_by_machine(uint32_t crc, const unsigned char *p, size_t n) {
        uint64_t c = crc, word;
        while (n >= 32) {
            memcpy(&word, p, 8); c = _mm_crc32_u64(c, word);
            memcpy(&word, p + 8, 8); c = _mm_crc32_u64(c, word);
            memcpy(&word, p + 16, 8); c = _mm_crc32_u64(c, word);
            memcpy(&word, p + 24, 8); c = _mm_crc32_u64(c, word);
            p += 32;
            n -= 32;
        }
        while (n >= 8) { memcpy(&word, p, 8); c = _mm_crc32_u64(c, word); p += 8; n -= 8; }
        while (n--) c = _mm_crc32_u8((uint32_t)c, *p++);
        return (uint32_t)c;
    }
    static int cdn_crc_machine(void) { return __builtin_cpu_supports("sse4.2"); }
    #else
    static uint32_t cdn_crc_by_machine(uint32_t c, const unsigned char *p, size_t n) { return cdn_crc_by_table(c, p, n); }
    static int cdn_crc_machine(void) { return 0; }
    #endif
    """
    void cdn_crc_fill() noexcept nogil
    uint32_t cdn_crc_by_table(uint32_t c, const uint8_t* p, size_t n) noexcept nogil
    uint32_t cdn_crc_by_machine(uint32_t c, const uint8_t* p, size_t n) noexcept nogil
    int cdn_crc_machine() noexcept nogil

cdn_crc_fill()
cdef bint machine = cdn_crc_machine()

cdef enum:
    ALONE = 4096    # bytes from which other threads may run meanwhile


cdef uint32_t crc32c_of(const uint8_t* p, size_t n, uint32_t before) noexcept nogil:
    return ~(cdn_crc_by_machine(~before, p, n) if machine else cdn_crc_by_table(~before, p, n))


def crc32c(data, uint32_t before=0):
    cdef Py_buffer view
    cdef uint32_t out
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    if view.len < ALONE:
        out = crc32c_of(<const uint8_t*> view.buf, view.len, before)
    else:
        with nogil:
            out = crc32c_of(<const uint8_t*> view.buf, view.len, before)
    PyBuffer_Release(&view)
    return out


def crc32c_by_table(data, uint32_t before=0):
    cdef Py_buffer view
    cdef uint32_t out
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    out = ~cdn_crc_by_table(~before, <const uint8_t*> view.buf, view.len)
    PyBuffer_Release(&view)
    return out
