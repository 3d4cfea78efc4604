"""The arithmetic of `make bench ARGS=abuse`."""

import pytest

from bench.abuse import Phase, Round, ratio
from bench.ordinary import percentile


@pytest.mark.parametrize(
    ("count", "percent", "expected"), [(1, 99, 1), (2, 99, 2), (100, 99, 99), (101, 99, 100), (200, 50, 100)]
)
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(
    count: int, percent: float, expected: float
) -> None:
    assert percentile([float(value) for value in range(count, 0, -1)], percent) == expected


def test_the_ratio_is_the_median_of_the_rounds_not_the_ratio_of_the_medians() -> None:
    pairs = [(1.0, 2.0), (2.0, 20.0), (10.0, 10.0)]
    rounds = [Round(Phase(alone, 1, 0, None), Phase(beside, 1, 0, None)) for alone, beside in pairs]
    assert ratio(rounds) == 2.0  # of 2, 10 and 1; the medians are 2 and 10
