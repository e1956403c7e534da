"""The eviction policies in plain Python, on lists and dicts: what the store's own are compared with.

A `Policy` knows keys, weights and uses, and says who goes; when somebody has to is told to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

PAGE = 128 << 10
HEAVIEST = 6  # times the mean: what is heavier counts as that


@dataclass
class Item:
    weight: int
    uses: int = 0
    used: int = 0


@dataclass
class Policy:
    """`unit`: bytes in 1/1024 of the store, the grain of ghosts. `kept`: among equals these do not go."""

    unit: int
    items: dict[bytes, Item] = field(default_factory=dict)
    kept: frozenset[bytes] = frozenset()

    def __contains__(self, key: bytes) -> bool:
        return key in self.items

    def use(self, key: bytes) -> None:
        self.items[key].uses = min(self.items[key].uses + 1, 15)

    def weight(self, keys: list[bytes]) -> int:
        return sum(self.items[key].weight for key in keys)

    def add(self, key: bytes, weight: int) -> None:
        self.items[key] = Item(weight)
        self.admit(key)

    def replace(self, key: bytes, weight: int) -> None:
        self.items[key].weight = weight
        self.use(key)

    def admit(self, key: bytes) -> None:
        raise NotImplementedError

    def evict(self) -> bytes:
        """Who goes."""
        raise NotImplementedError

    def known(self, key: bytes) -> bool:
        """Whether this key would not be treated as new."""
        return False

    def gone(self, key: bytes) -> bytes:
        del self.items[key]
        return key

    def remove(self, key: bytes) -> None:
        """Gone for another reason than a lack of room."""
        del self.items[key]


@dataclass
class Lru(Policy):
    order: list[bytes] = field(default_factory=list)

    def admit(self, key: bytes) -> None:
        self.order.append(key)

    def use(self, key: bytes) -> None:
        self.order.remove(key)
        self.order.append(key)

    def evict(self) -> bytes:
        return self.gone(self.order.pop(0))

    def remove(self, key: bytes) -> None:
        super().remove(key)
        self.order.remove(key)


@dataclass
class Sieve(Policy):
    """One list, oldest first, and a hand that is an index into it."""

    order: list[bytes] = field(default_factory=list)
    hand: int = 0

    def admit(self, key: bytes) -> None:
        self.order.append(key)

    def evict(self) -> bytes:
        while True:
            if self.hand == len(self.order):
                self.hand = 0
            item = self.items[self.order[self.hand]]
            if item.uses == 0:
                return self.gone(self.order.pop(self.hand))
            item.uses = 0
            self.hand += 1

    def remove(self, key: bytes) -> None:
        super().remove(key)
        at = self.order.index(key)
        self.order.pop(at)
        if at < self.hand:
            self.hand -= 1


@dataclass
class S3Fifo(Policy):
    """Small and main, oldest first; `ghosts` maps a key to how many bytes of ghosts had gone by when it came."""

    small: list[bytes] = field(default_factory=list)
    main: list[bytes] = field(default_factory=list)
    ghosts: dict[bytes, int] = field(default_factory=dict)
    passed: int = 0
    sized: bool = False
    went: int = 0
    heaviest: int = 0

    @property
    def nine_tenths(self) -> int:
        return self.unit * 1024 // PAGE * (PAGE - PAGE // 10)

    def known(self, key: bytes) -> bool:
        came = self.ghosts.get(key)
        return came is not None and self.passed // self.unit - came // self.unit <= 922

    def admit(self, key: bytes) -> None:
        (self.main if self.known(key) else self.small).append(key)
        self.ghosts.pop(key, None)
        self.weigh()
        self.items[key].used = self.clock

    def use(self, key: bytes) -> None:
        super().use(key)
        self.items[key].used = self.clock

    def replace(self, key: bytes, weight: int) -> None:
        self.items[key].weight = weight
        self.weigh()
        super().replace(key, weight)

    def gone(self, key: bytes) -> bytes:
        self.went += self.items[key].weight
        return super().gone(key)

    def weigh(self) -> None:
        self.heaviest = HEAVIEST * sum(item.weight for item in self.items.values()) // len(self.items)

    @property
    def clock(self) -> int:
        return self.went // (self.unit * 1024 // PAGE * PAGE // 16384)

    def evict(self) -> bytes:
        victim = None
        while victim is None:
            if self.small and (not self.main or self.weight(self.main) < self.nine_tenths):
                victim = self.pass_small()
            else:
                victim = self.least_worth() if self.sized else self.pass_main()
        return victim

    def pass_small(self) -> bytes | None:
        key = self.small.pop(0)
        item = self.items[key]
        if item.uses:
            if not self.sized:
                item.uses = 0
            self.main.append(key)
            return None
        self.ghosts[key] = self.passed
        self.passed += item.weight
        return self.gone(key)

    def pass_main(self) -> bytes | None:
        key = self.main.pop(0)
        item = self.items[key]
        if item.uses:
            item.uses = min(item.uses, 3) - 1
            self.main.append(key)
            return None
        return self.gone(key)

    def counted(self, key: bytes) -> int:
        return min(self.items[key].weight, self.heaviest)

    def burden(self, key: bytes) -> float:
        item = self.items[key]
        weight = float(self.counted(key))
        idle = float(self.clock - item.used + 819)
        return idle * idle * weight * math.sqrt(weight) / (1 + item.uses)

    def least_worth(self) -> bytes:
        key = max(self.main, key=lambda key: (self.burden(key), self.counted(key), key not in self.kept))
        self.main.remove(key)
        return self.gone(key)

    def remove(self, key: bytes) -> None:
        super().remove(key)
        (self.small if key in self.small else self.main).remove(key)


def oracle(name: str, unit: int) -> Policy:
    if name == "lru":
        return Lru(unit)
    if name == "sieve":
        return Sieve(unit)
    return S3Fifo(unit, sized=name == "s3fifo-size")
