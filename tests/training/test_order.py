"""The order of an epoch against its definition, counted out by hand and by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singsong.schemas.records import ROWS_PER_GROUP
from singsong.training.order import EpochOrder, row_groups

SHARD_ROWS = st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any)


def order_of(shard_rows: list[int], **changes: object) -> EpochOrder:
    settings = {"seed": 0, "epoch": 0, "buffer_groups": 2, "shuffle": True, **changes}
    return EpochOrder(row_groups(shard_rows, rows_per_group=4), **settings)


def sequence(order: EpochOrder, shard_rows: list[int]) -> list[int]:
    """Returns the record at each position, all buffers one after the other."""
    first_row = row_groups(shard_rows, rows_per_group=4).first_row
    buffers = [order.buffer(number) for number in range(order.buffers)]
    return [int(row) for w in buffers for row in first_row[w.group] + w.row]


@given(SHARD_ROWS, st.integers(0, 3), st.integers(1, 9), st.booleans())
@settings(deadline=None)
def test_each_record_comes_once(
    shard_rows: list[int], epoch: int, buffer_groups: int, shuffle: bool
) -> None:
    order = order_of(shard_rows, epoch=epoch, buffer_groups=buffer_groups, shuffle=shuffle)
    found = sequence(order, shard_rows)
    assert sorted(found) == list(range(sum(shard_rows)))
    if not shuffle:
        assert found == sorted(found)


@given(SHARD_ROWS, st.integers(1, 9))
@settings(deadline=None)
def test_every_position_is_found_without_the_buffers_before(
    shard_rows: list[int], buffer_groups: int
) -> None:
    order = order_of(shard_rows, buffer_groups=buffer_groups)
    for position in range(sum(shard_rows)):
        buffer = order.buffer(order.buffer_at(position))
        assert buffer.start <= position < buffer.start + len(buffer.row)
        assert len(buffer.groups) <= buffer_groups


@given(SHARD_ROWS)
@settings(deadline=None)
def test_row_groups_are_those_of_brute_force(shard_rows: list[int]) -> None:
    groups = row_groups(shard_rows, rows_per_group=4)
    want = [
        (shard, number, len(range(rows)[start : start + 4]), sum(shard_rows[:shard]) + start)
        for shard, rows in enumerate(shard_rows)
        for number, start in enumerate(range(0, rows, 4))
    ]
    columns = (groups.shard, groups.number, groups.rows, groups.first_row)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == want
    assert groups.total == sum(shard_rows)


def test_the_order_stays_what_it_was() -> None:
    """A state that was saved must go on with the same records after an upgrade."""
    order = order_of([10, 6, 7], seed=0, epoch=0)
    assert sequence(order, [10, 6, 7]) == GOLDEN


def test_seed_and_epoch_change_the_order() -> None:
    rows = [40] * 6
    orders = [
        sequence(order_of(rows, seed=seed, epoch=epoch), rows)
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4


def test_shards_follow_each_other_and_row_groups_are_shuffled_in_them() -> None:
    order = order_of([40] * 6, buffer_groups=1)
    groups = [order.buffer(number).groups.item() for number in range(order.buffers)]
    shards = [group // 10 for group in groups]
    assert [shards[at] for at in range(0, 60, 10)] != sorted(set(shards))
    assert [shard for at, shard in enumerate(shards) if shard != shards[at - at % 10]] == []
    assert groups[:10] != sorted(groups[:10])


def test_a_window_is_shuffled_as_one() -> None:
    """Records stand in their buffer at a uniformly random place, whatever their row group."""
    order = order_of([4 * 2048], buffer_groups=1024)
    buffer = order.buffer(order.buffers - 1)
    assert len(buffer.groups) == 1024
    first_half = slice(0, len(buffer.row) // 2)
    middle = np.median(buffer.groups)
    assert np.mean(buffer.group[first_half] < middle) == pytest.approx(0.5, abs=0.03)
    assert np.mean(buffer.row[first_half] < 2) == pytest.approx(0.5, abs=0.03)


def test_a_row_group_is_what_the_shards_have() -> None:
    assert row_groups([ROWS_PER_GROUP + 1]).rows.tolist() == [ROWS_PER_GROUP, 1]


GOLDEN = [16, 17, 19, 18, 20, 22, 21, 15, 12, 14, 10, 11, 13, 4, 7, 9, 8, 5, 6, 3, 1, 0, 2]
