"""Arithmetic on single words that the compiler has and Cython has not. Declarations only."""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>

    static inline uint64_t cdn_fastrange(uint64_t h, uint64_t n) { return (uint64_t)(((unsigned __int128)h * n) >> 64); }
    static inline int cdn_trailing_zeros(uint64_t v) { return __builtin_ctzll(v); }
    static inline void cdn_prefetch(const void* p) { __builtin_prefetch(p); }
    """
    uint64_t fastrange "cdn_fastrange"(uint64_t h, uint64_t n) noexcept nogil       # a hash to [0, n) by its upper bits (Lemire 2019)
    int trailing_zeros "cdn_trailing_zeros"(uint64_t v) noexcept nogil              # of what is not 0
    void prefetch "cdn_prefetch"(const void* p) noexcept nogil
