"""What a series of measurements says."""

import pytest

from bench.figures import Measured, Target, compared, in_turn, limited, percentile, ratio, spread


def test_a_spread_has_the_median_and_both_ends() -> None:
    summed = spread([5.0, 1.0, 3.0])

    assert (summed.median, summed.low, summed.high) == (3.0, 1.0, 5.0)


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        spread([])


def test_a_ratio_compares_pair_by_pair() -> None:
    # The second pair was disturbed as a whole: both halved, the ratio stays.
    assert ratio([200.0, 100.0], [100.0, 50.0]).median == 2.0


def test_every_other_round_goes_the_other_way_round() -> None:
    order: list[str] = []

    def contender(name: str) -> Measured:
        order.append(name)
        return {"per_second": 1.0}

    in_turn({"ours": lambda: contender("ours"), "peer": lambda: contender("peer")}, 3)

    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]


def test_a_percentile_is_a_value_of_the_series() -> None:
    series = [float(number) for number in range(1, 101)]

    assert (percentile(series, 0.5), percentile(series, 0.99), percentile([7.0], 0.01)) == (50.0, 99.0, 7.0)


@pytest.mark.parametrize(
    ("target", "is_met"),
    [
        (Target(number=1.5), True),
        (Target(number=2.5), False),
        (Target(number=2, at_most=True), True),
        (Target(number=1.9, at_most=True), False),
    ],
)
def test_a_target_is_met_from_its_own_side(target: Target, is_met: bool) -> None:
    rounds = [{"ours": {"per_second": 200.0}, "peer": {"per_second": 100.0}}]

    result = compared("P1", "work", rounds, ours="ours", theirs="peer", peer="a peer", target=target)

    assert result.is_met is is_met


def test_a_limit_is_exceeded_above_one() -> None:
    assert limited("P7", "memory", [50.0, 60.0, 70.0], limit=100, unit="MB").is_met
    assert not limited("P7", "memory", [110.0], limit=100, unit="MB").is_met
