"""Is a share of answers plausible for random balancing? Pearson's chi-square test, exactly.

A fixed margin ("each gets at least 30 %") fails sound labs now and then, and more often the more
labs are verified. A test at p < 1e-6 fails one sound check in a million, whatever the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

#: below this probability a share is no accident
SIGNIFICANCE = 1e-6
_EPSILON = 1e-15
_TINY = 1e-300
_MAX_TERMS = 10_000


def uniform_p_value(counts: Sequence[int]) -> float:
    """The probability that equal chances give a share at least as uneven as `counts`."""
    if len(counts) < 2 or not sum(counts):
        return 1.0
    expected = sum(counts) / len(counts)
    statistic = sum((count - expected) ** 2 for count in counts) / expected
    return survival(statistic, len(counts) - 1)


def survival(statistic: float, degrees: int) -> float:
    """P(X > statistic) for a chi-square variable X with that many degrees of freedom."""
    return upper_gamma_ratio(degrees / 2, statistic / 2)


def upper_gamma_ratio(a: float, x: float) -> float:
    """The regularised upper incomplete gamma function Q(a, x).

    Series below x = a + 1, continued fraction (Lentz's method) above it: each converges fast in
    its own half. Source: Numerical Recipes, section 6.2.
    """
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        return max(0.0, 1.0 - scale * _series(a, x))
    return scale * _continued_fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1.0 / a
    for n in range(1, _MAX_TERMS):
        term *= x / (a + n)
        total += term
        if term < total * _EPSILON:
            break
    return total


def _continued_fraction(a: float, x: float) -> float:
    b = x + 1.0 - a
    c = 1.0 / _TINY
    d = 1.0 / b
    result = d
    for n in range(1, _MAX_TERMS):
        numerator = -n * (n - a)
        b += 2.0
        d = 1.0 / _away_from_zero(numerator * d + b)
        c = _away_from_zero(b + numerator / c)
        result *= d * c
        if abs(d * c - 1.0) < _EPSILON:
            break
    return result


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def requests_to_see_all(backends: int, *, miss: float = 1e-8) -> int:
    """How many random picks see every one of `backends` except with probability `miss`.

    A union bound: each of them is missed n times in a row with (1 - 1/k)**n.
    """
    if backends < 2:
        return 1
    return math.ceil(math.log(miss / backends) / math.log1p(-1 / backends))
