"""The chi-square test against tabulated quantiles and exact identities."""

from __future__ import annotations

import math
import random

import pytest

from kns.promise.chisquare import (
    SIGNIFICANCE,
    requests_to_see_all,
    survival,
    uniform_p_value,
    upper_gamma_ratio,
)


@pytest.mark.parametrize(
    ("statistic", "degrees", "probability"),
    [
        # upper-tail critical values as every statistics textbook tabulates them
        (3.841459, 1, 0.05),
        (6.634897, 1, 0.01),
        (5.991465, 2, 0.05),
        (13.815511, 2, 0.001),
        (18.307038, 10, 0.05),
        (29.588298, 10, 0.001),
        (124.342113, 100, 0.05),
        (149.449253, 100, 0.001),
    ],
)
def test_survival_at_tabulated_quantiles(
    statistic: float, degrees: int, probability: float
) -> None:
    assert survival(statistic, degrees) == pytest.approx(probability, rel=1e-6)


@pytest.mark.parametrize("x", [0.01, 0.5, 1.0, 3.0, 20.0, 60.0])
def test_survival_with_two_degrees_is_exponential(x: float) -> None:
    assert survival(x, 2) == pytest.approx(math.exp(-x / 2), rel=1e-12)


@pytest.mark.parametrize("x", [0.01, 0.5, 1.0, 4.0, 25.0, 50.0])
def test_survival_with_one_degree_is_the_error_function(x: float) -> None:
    assert survival(x, 1) == pytest.approx(math.erfc(math.sqrt(x / 2)), rel=1e-11)


@pytest.mark.parametrize("x", [1.0, 5.999, 6.0, 6.001, 40.0])
def test_gamma_ratio_of_an_integer_is_a_poisson_sum(x: float) -> None:
    """Q(a, x) is the probability of fewer than a events at mean x; the branches meet at a + 1."""
    exact = math.exp(-x) * sum(x**k / math.factorial(k) for k in range(5))
    assert upper_gamma_ratio(5, x) == pytest.approx(exact, rel=1e-12)


def test_nothing_is_less_than_certain_at_zero() -> None:
    assert survival(0.0, 7) == 1.0


@pytest.mark.parametrize("counts", [[], [5], [0, 0, 0]])
def test_uniform_without_choice_is_certain(counts: list[int]) -> None:
    assert uniform_p_value(counts) == 1.0


def test_uniform_of_equal_shares_is_certain() -> None:
    assert uniform_p_value([20, 20, 20]) == pytest.approx(1.0)


def test_uniform_of_a_backend_left_out_is_no_accident() -> None:
    assert uniform_p_value([50, 50, 0]) < SIGNIFICANCE


def test_uniform_accepts_fair_draws() -> None:
    draw = random.Random(7)
    p_values = []
    for _ in range(300):
        counts = [0, 0, 0, 0]
        for _ in range(80):
            counts[draw.randrange(4)] += 1
        p_values.append(uniform_p_value(counts))
    assert min(p_values) > SIGNIFICANCE
    # p values of fair draws are spread evenly, or the test would be blind or too strict
    assert 0.3 < sum(p < 0.5 for p in p_values) / len(p_values) < 0.7


@pytest.mark.parametrize(("backends", "requests"), [(1, 1), (2, 28), (3, 49)])
def test_requests_to_see_all(backends: int, requests: int) -> None:
    assert requests_to_see_all(backends) == requests


@pytest.mark.parametrize("backends", [2, 5, 60])
def test_requests_to_see_all_keep_the_bound(backends: int) -> None:
    requests = requests_to_see_all(backends)
    assert backends * (1 - 1 / backends) ** requests <= 1e-8
    assert backends * (1 - 1 / backends) ** (requests - 1) > 1e-8
