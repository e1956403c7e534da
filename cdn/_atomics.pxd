"""Words of memory that processes share: the loads and stores of the compiler, each named with its order.

Declarations only. `store/memory` has more of them, for structures of its own.
"""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>

    static inline uint32_t cdn_load32_relaxed(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline void cdn_store32_relaxed(uint32_t* p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline uint32_t cdn_add32_relaxed(uint32_t* p, uint32_t v) { return __atomic_add_fetch(p, v, __ATOMIC_RELAXED); }
    static inline uint64_t cdn_load64_acquire(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void cdn_store64_release(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline uint64_t cdn_add64_both(uint64_t* p, uint64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_ACQ_REL); }
    static inline void cdn_fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
    """
    uint32_t load32_relaxed "cdn_load32_relaxed"(const uint32_t* p) noexcept nogil
    void store32_relaxed "cdn_store32_relaxed"(uint32_t* p, uint32_t v) noexcept nogil
    uint32_t add32_relaxed "cdn_add32_relaxed"(uint32_t* p, uint32_t v) noexcept nogil      # the sum
    uint64_t load64_acquire "cdn_load64_acquire"(const uint64_t* p) noexcept nogil
    void store64_release "cdn_store64_release"(uint64_t* p, uint64_t v) noexcept nogil
    uint64_t add64_both "cdn_add64_both"(uint64_t* p, uint64_t v) noexcept nogil            # the sum; acquire and release
    void fence_acquire "cdn_fence_acquire"() noexcept nogil
