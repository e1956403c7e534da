# How strongly a place claims a key: rendezvous hashing (`cdn/tier/rendezvous.py`, which says whence it comes).

cdef double rendezvous_score(uint64_t key, uint64_t seed, double weight) noexcept nogil:
    """-weight / ln(u), where 0 < u < 1 is made of both hashes, mixed once more (the finaliser of SplitMix64)."""
    cdef uint64_t x = key ^ seed
    cdef double u
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    x ^= x >> 31
    u = (<double>x + 0.5) / 18446744073709551616.0
    return -weight / log(u) if u < 1.0 else INFINITY


def _rendezvous_score(uint64_t key, uint64_t seed, double weight=1.0):
    return rendezvous_score(key, seed, weight)
