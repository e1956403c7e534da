"""Ranks by popularity: rank k with a probability in proportion to k^-alpha; constant memory for any count.

Rejection-inversion: W. Hörmann, G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
distributions", ACM TOMACS 6(3), 1996. Knows no URLs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator


def ranks(count: int, alpha: float, random: Callable[[], float]) -> Iterator[int]:
    """An endless draw of 1 … count. `alpha` ≥ 0; `random` gives uniform numbers in [0, 1)."""

    def integral(x: float) -> float:  # of x^-alpha, with the constant that makes it continuous at alpha = 1
        log = math.log(x)
        return _expm1_over((1 - alpha) * log) * log

    def inverse(y: float) -> float:
        t = max(y * (1 - alpha), -1.0)
        return math.exp(_log1p_over(t) * y)

    first = integral(1.5) - 1.0
    last = integral(count + 0.5)
    sure = 2.0 - inverse(integral(2.5) - 2.0**-alpha)
    while True:
        u = last + random() * (first - last)
        x = inverse(u)
        k = min(max(int(x + 0.5), 1), count)
        if k - x <= sure or u >= integral(k + 0.5) - math.exp(-alpha * math.log(k)):
            yield k


def _expm1_over(x: float) -> float:
    """(e^x - 1) / x, 1 at 0."""
    return math.expm1(x) / x if abs(x) > 1e-8 else 1 + x / 2


def _log1p_over(x: float) -> float:
    """log(1 + x) / x, 1 at 0."""
    if x <= -1.0:
        return math.inf
    return math.log1p(x) / x if abs(x) > 1e-8 else 1 - x / 2
