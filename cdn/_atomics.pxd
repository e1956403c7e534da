"""Words of memory that processes share: the loads, stores and read-modify-writes of the compiler, each named with its order.

Declarations only. An operation that is missing belongs here. What changes a word returns what it says then, but for `swap`,
which returns what it said before.
"""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>

    static inline uint32_t cdn_load32_relaxed(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline uint32_t cdn_load32_acquire(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void cdn_store32_relaxed(uint32_t* p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline uint32_t cdn_swap32_seq_cst(uint32_t* p, uint32_t v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }
    static inline uint32_t cdn_add32_relaxed(uint32_t* p, uint32_t v) { return __atomic_add_fetch(p, v, __ATOMIC_RELAXED); }
    static inline uint32_t cdn_add32_seq_cst(uint32_t* p, uint32_t v) { return __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline uint32_t cdn_or32_seq_cst(uint32_t* p, uint32_t v) { return __atomic_or_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline uint32_t cdn_and32_seq_cst(uint32_t* p, uint32_t v) { return __atomic_and_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline uint64_t cdn_load64_acquire(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void cdn_store64_relaxed(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline void cdn_store64_release(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline uint64_t cdn_add64_both(uint64_t* p, uint64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_ACQ_REL); }
    static inline uint64_t cdn_or64_seq_cst(uint64_t* p, uint64_t v) { return __atomic_or_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline uint64_t cdn_and64_seq_cst(uint64_t* p, uint64_t v) { return __atomic_and_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline void cdn_raise64_seq_cst(uint64_t* p, uint64_t v) {
        uint64_t old = __atomic_load_n(p, __ATOMIC_RELAXED);
        while (old < v && !__atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {}
    }
    static inline void cdn_fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
    static inline void cdn_fence_seq_cst(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
    """
    uint32_t load32_relaxed "cdn_load32_relaxed"(const uint32_t* p) noexcept nogil
    uint32_t load32_acquire "cdn_load32_acquire"(const uint32_t* p) noexcept nogil
    void store32_relaxed "cdn_store32_relaxed"(uint32_t* p, uint32_t v) noexcept nogil
    uint32_t swap32_seq_cst "cdn_swap32_seq_cst"(uint32_t* p, uint32_t v) noexcept nogil
    uint32_t add32_relaxed "cdn_add32_relaxed"(uint32_t* p, uint32_t v) noexcept nogil
    uint32_t add32_seq_cst "cdn_add32_seq_cst"(uint32_t* p, uint32_t v) noexcept nogil
    uint32_t or32_seq_cst "cdn_or32_seq_cst"(uint32_t* p, uint32_t v) noexcept nogil
    uint32_t and32_seq_cst "cdn_and32_seq_cst"(uint32_t* p, uint32_t v) noexcept nogil
    uint64_t load64_acquire "cdn_load64_acquire"(const uint64_t* p) noexcept nogil
    void store64_relaxed "cdn_store64_relaxed"(uint64_t* p, uint64_t v) noexcept nogil
    void store64_release "cdn_store64_release"(uint64_t* p, uint64_t v) noexcept nogil
    uint64_t add64_both "cdn_add64_both"(uint64_t* p, uint64_t v) noexcept nogil            # acquire and release
    uint64_t or64_seq_cst "cdn_or64_seq_cst"(uint64_t* p, uint64_t v) noexcept nogil
    uint64_t and64_seq_cst "cdn_and64_seq_cst"(uint64_t* p, uint64_t v) noexcept nogil
    void raise64_seq_cst "cdn_raise64_seq_cst"(uint64_t* p, uint64_t v) noexcept nogil      # to v at least
    void fence_acquire "cdn_fence_acquire"() noexcept nogil
    void fence_seq_cst "cdn_fence_seq_cst"() noexcept nogil
