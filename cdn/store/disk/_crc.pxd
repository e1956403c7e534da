"""CRC32C for C callers: `before` is the checksum of what came before these bytes, 0 at the beginning."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

cdef uint32_t crc32c_of(const uint8_t* p, size_t n, uint32_t before) noexcept nogil
