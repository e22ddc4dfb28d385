"""The skew of keys over partitions and shards, as `python -m benchmarks skew` calculates it."""

from collections.abc import Callable

import pytest

from benchmarks.skew import Population, Scenario, measure, shard_of, skew_of, zipf
from processors.engine.transactions import partition_of

PLACERS = pytest.mark.parametrize("placed", [partition_of, shard_of])
SMALL = Population(accounts=50, exponent=1.0, messages=2_000)


@PLACERS
def test_keys_of_equal_load_are_spread_evenly(placed: Callable[[bytes, int], int]) -> None:
    keys = {b"key %d" % number: 1 for number in range(4_000)}
    assert 1 <= skew_of(keys, 4, placed) < 1.1


@PLACERS
@pytest.mark.parametrize("count", [1, 4, 64])
def test_one_key_loads_one_place_with_everything(placed: Callable[[bytes, int], int], count: int) -> None:
    assert skew_of({b"only": 7}, count, placed) == count


def test_an_account_that_sends_half_of_all_loads_its_partition_and_not_those_of_message_ids() -> None:
    skews = {(one.scenario, one.key.split(":")[0], one.of, one.count): one for one in measure(SMALL, [1])}
    for count in (4, 16, 64):
        by_account = skews[Scenario.BURST, "account_id", "partitions", count]
        assert count / 2 <= by_account.max_to_mean <= count
        assert by_account.floor == pytest.approx(count / 2, rel=0.1)
    assert skews[Scenario.BURST, "message_id", "partitions", 4].max_to_mean < 1.15
    assert (
        skews[Scenario.BURST, "account_id", "shards", 2].max_to_mean
        > skews[Scenario.BURST, "message_id", "shards", 2].max_to_mean
    )


def test_the_largest_key_sets_a_floor_and_the_figures_repeat() -> None:
    first, again = measure(SMALL, [1, 2]), measure(SMALL, [1, 2])
    assert first == again
    assert all(1 <= one.floor <= one.max_to_mean <= one.worst <= one.count for one in first)


def test_the_sizes_of_accounts_fall_as_in_zipfs_distribution() -> None:
    shares = zipf(1_000, 1.0)
    assert sum(shares) == pytest.approx(1)
    assert shares[0] == pytest.approx(2 * shares[1]) == pytest.approx(1_000 * shares[-1])
    assert len(set(zipf(10, 0.0))) == 1
