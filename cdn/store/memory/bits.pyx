# Arithmetic on single words that C has and Cython has not. Knows no structure.


cdef extern from *:
    """
    static inline uint64_t cdn_spread(uint64_t h, uint64_t n) { return (uint64_t)(((unsigned __int128)h * n) >> 64); }
    static inline int cdn_ctz(uint64_t v) { return __builtin_ctzll(v); }
    static inline void cdn_prefetch(const void* p) { __builtin_prefetch(p); }
    """
    uint64_t cdn_spread(uint64_t h, uint64_t n) noexcept nogil
    int cdn_ctz(uint64_t v) noexcept nogil
    void cdn_prefetch(const void* p) noexcept nogil
