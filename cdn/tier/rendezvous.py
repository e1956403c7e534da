"""Which of several places a key belongs to: rendezvous hashing, the same on every node.

Decides an order of places from a key's hash and the places' names and weights alone. A place that goes moves only
its own keys, one that comes takes only its share (Thaler and Ravishankar, 1998; weights after Schindelhauer and
Schomaker, 2005). Must not know what a place is, nor whether it is healthy.
"""

from __future__ import annotations

import math

from cdn._core import key_hash

SECRET = b"cdn rendezvous 1"  # no secret: it only sets these hashes apart from others
_MASK = (1 << 64) - 1


def hash_of(data: bytes) -> int:
    """64 bits of SipHash-2-4, the same on every node: of a cache key, or of a place's name."""
    return key_hash(SECRET, data)[0]


def score(key: int, seed: int, weight: float = 1.0) -> float:
    """How strongly the place whose name hashes to `seed` claims `key`: the highest claim has it.

    `weight` > 0 is its share beside the others'. Both hashes are mixed once more (the finaliser of SplitMix64).
    """
    x = key ^ seed
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    x ^= x >> 31
    return -weight / math.log((x + 0.5) / 2.0**64) if x < _MASK else math.inf


def order(key: int, seeds: list[int]) -> list[int]:
    """The indices of the places, the one that `key` belongs to first, then where it goes when that one is away."""
    return sorted(range(len(seeds)), key=lambda i: -score(key, seeds[i]))
