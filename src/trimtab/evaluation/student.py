"""Student's distribution: the probability of its tails. Its quantile is in `trimtab.evaluation.intervals`.

References
----------
Didonato, Morris (1992), ACM Transactions on Mathematical Software 18(3) (incomplete beta ratio).
"""

from __future__ import annotations

import math

_TERMS = 1000
_ACCURACY = 1e-15
_TINY = 1e-300


def two_sided_p(statistic: float, freedom: float) -> float:
    """Return the probability that Student's variable is at least as far from zero as ``statistic``, on both sides.

    Parameters
    ----------
    statistic
        Finite or infinite.
    freedom
        Degrees of freedom, above 0; infinite for the normal distribution. Right to nine digits up to 100,000, to
        seven up to ten million.
    """
    if math.isinf(freedom):
        return math.erfc(abs(statistic) / math.sqrt(2))
    if math.isinf(statistic):
        return 0.0
    square = statistic * statistic
    return _beta_ratio(freedom / 2, 0.5, freedom / (freedom + square), square / (freedom + square))


def _beta_ratio(a: float, b: float, x: float, rest: float) -> float:
    """Return the regularized incomplete beta function at ``x``, with ``rest`` = 1 - x given without cancellation."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    if x > (a + 1) / (a + b + 2):
        return 1.0 - math.exp(log_front) * _fraction(b, a, rest) / b
    return math.exp(log_front) * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function (modified Lentz)."""
    upper, lower = 1.0, 1.0 / _nonzero(1 - (a + b) * x / (a + 1))
    value = lower
    for k in range(1, _TERMS):
        even = k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k))
        odd = -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1))
        for term in (even, odd):
            lower = 1.0 / _nonzero(1 + term * lower)
            upper = _nonzero(1 + term / upper)
            value *= lower * upper
        if abs(lower * upper - 1) < _ACCURACY:
            break
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
