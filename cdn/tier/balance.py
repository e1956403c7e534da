"""Which of several servers is asked next: smooth weighted round robin, fewest connections, or by the key's hash.

Decides an order among servers that may all be asked. Must not know connections, health or requests: a `Member` says
its weight, how much of it counts now, and how busy it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from cdn.tier.rendezvous import score


class Member(Protocol):
    weight: int
    seed: int  # its name's hash
    credit: float  # round robin's own

    def share(self, now: int) -> float: ...

    @property
    def busy(self) -> int: ...


M = TypeVar("M", bound=Member)


def round_robin(among: Sequence[M], now: int, key: int) -> M:
    """Every server gets its weight as credit, the highest credit is taken and charged with the sum.

    So a weight of 3 against 1 gives a a b a, never a a a b. Equal credits: the first one.
    """
    best = among[0]
    total = 0.0
    for one in among:
        weight = one.weight * one.share(now)
        total += weight
        one.credit += weight
        if one.credit > best.credit:
            best = one
    best.credit -= total
    return best


def least_connections(among: Sequence[M], now: int, key: int) -> M:
    """The server with the fewest exchanges under way for its weight; round robin among equals."""
    loads = [(one.busy + 1) / (one.weight * one.share(now)) for one in among]
    least = min(loads)
    equal = [one for one, load in zip(among, loads, strict=True) if load == least]
    return equal[0] if len(equal) == 1 else round_robin(equal, now, key)


def hashed(among: Sequence[M], now: int, key: int) -> M:
    """The server that the key belongs to; when it is away its keys spread over the others, and only they."""
    return max(among, key=lambda one: score(key, one.seed, one.weight * one.share(now)))
