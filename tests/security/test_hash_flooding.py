"""The table's hash is keyed with a secret of the node: collisions made for one secret are none under
another."""

from __future__ import annotations

import itertools
import os

from cdn._core import cache_key, key_hash


def test_collisions_found_under_one_secret_are_spread_under_another() -> None:
    """An attacker who knew one node's secret could fill one bucket of 256; on the next node the same keys
    spread."""
    known, other = os.urandom(16), os.urandom(16)
    keys = (cache_key(False, b"site.test", b"/%d" % number) for number in itertools.count())
    chosen = list(itertools.islice((key for key in keys if key_hash(known, key)[0] % 256 == 7), 512))
    buckets: dict[int, int] = {}
    for key in chosen:
        bucket = key_hash(other, key)[0] % 256
        buckets[bucket] = buckets.get(bucket, 0) + 1
    # 512 balls in 256 bins: the fullest holds 2 on average and, but once in 10^7, fewer than 16
    assert max(buckets.values()) < 16
    assert len(buckets) > 128


def test_the_secret_decides_every_bit() -> None:
    key = cache_key(False, b"site.test", b"/a")
    words = [key_hash(os.urandom(16), key) for _ in range(256)]
    for half in (0, 1):
        for bit in range(64):
            ones = sum(word[half] >> bit & 1 for word in words)
            assert 64 < ones < 192, (half, bit)  # 8 standard deviations
