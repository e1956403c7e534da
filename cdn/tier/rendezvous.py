"""Which of several places a key belongs to: rendezvous hashing, the same on every node.

Decides an order of places from a key's hash and the places' names and weights alone. A place that goes moves only
its own keys, one that comes takes only its share (Thaler and Ravishankar, 1998; weights after Schindelhauer and
Schomaker, 2005). Must not know what a place is, nor whether it is healthy.
"""

from __future__ import annotations

from cdn._core import key_hash
from cdn._core import rendezvous_score as score

__all__ = ["SECRET", "hash_of", "order", "score"]

SECRET = b"cdn rendezvous 1"  # no secret: it only sets these hashes apart from others


def hash_of(data: bytes) -> int:
    """64 bits of SipHash-2-4, the same on every node: of a cache key, or of a place's name."""
    return key_hash(SECRET, data)[0]


def order(key: int, seeds: list[int]) -> list[int]:
    """The indices of the places, the one that `key` belongs to first, then where it goes when that one is away."""
    return sorted(range(len(seeds)), key=lambda i: -score(key, seeds[i]))
