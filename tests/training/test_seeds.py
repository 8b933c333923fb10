"""What a run's seed decides: weights, order and crops, each against its definition by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from singsong.schemas.seeds import generator
from singsong.training.featurization import Featurization
from singsong.training.loader import LoaderConfig, ShardDataset
from singsong.training.order import EpochOrder, row_groups
from singsong.training.train import train
from tests.support.keyed_random import keyed
from tests.support.trained import quick_config
from tests.support.trainers import codes_of, first_batches, records_of, shard_rows_of, trainer_of

SEEDS = [0, 3]


def raw(seed: int, purpose: str, epoch: int, count: int) -> list[int]:
    numbers = keyed(seed, f"order of {purpose}", str(epoch))
    return [int(value) for value in numbers.bit_generator.random_raw(count)]


def order_by_hand(
    shard_rows: list[int], *, seed: int, epoch: int, buffer_groups: int, rows_per_group: int = 256
) -> list[int]:
    """Returns the records of an epoch: row groups by keys, in shuffle buffers of 1, 1, 2, 4, ..."""
    groups, first = [], 0
    for shard, rows in enumerate(shard_rows):
        for start in range(0, rows, rows_per_group):
            end = min(start + rows_per_group, rows)
            groups.append((shard, list(range(first + start, first + end))))
        first += rows
    shard_keys = raw(seed, "shards", epoch, max(shard for shard, _ in groups) + 1)
    group_keys = raw(seed, "groups", epoch, len(groups))
    dealt = sorted(range(len(groups)), key=lambda at: (shard_keys[groups[at][0]], group_keys[at]))
    order: list[int] = []
    taken = number = 0
    while taken < len(dealt):
        size = 1 if taken == 0 else min(buffer_groups, taken)
        records = [row for at in dealt[taken : taken + size] for row in groups[at][1]]
        keys = raw(seed, f"window {number}", epoch, len(records))
        order += [records[at] for at in sorted(range(len(records)), key=keys.__getitem__)]
        taken, number = taken + size, number + 1
    return order


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("buffer_groups", [1, 3, 16])
def test_the_order_of_an_epoch_is_its_definition(seed: int, epoch: int, buffer_groups: int) -> None:
    shard_rows = [23, 0, 41, 8]
    groups = row_groups(shard_rows, rows_per_group=4)
    order = EpochOrder(groups, seed=seed, epoch=epoch, buffer_groups=buffer_groups, shuffle=True)
    buffers = [order.buffer(number) for number in range(order.buffers)]
    found = np.concatenate([groups.first_row[buffer.group] + buffer.row for buffer in buffers])
    expected = order_by_hand(
        shard_rows, seed=seed, epoch=epoch, buffer_groups=buffer_groups, rows_per_group=4
    )
    assert found.tolist() == expected


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("buffer_groups", [1, 4])
def test_a_dataset_is_read_in_the_order_of_its_seed_epoch_by_epoch(
    small: Path, seed: int, buffer_groups: int
) -> None:
    config = LoaderConfig(batch_size=500, seed=seed, buffer_groups=buffer_groups, epochs=2)
    dataset = ShardDataset(str(small), Featurization(), config)
    found = [row for batch in dataset for row in batch["row"].tolist()]
    expected = [
        order_by_hand(shard_rows_of(small), seed=seed, epoch=epoch, buffer_groups=buffer_groups)
        for epoch in (0, 1)
    ]
    assert found == expected[0] + expected[1]
    assert expected[0] != expected[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_reads_in_the_order_of_its_seed(data: Path, tmp_path: Path, seed: int) -> None:
    rows = shard_rows_of(data)
    with trainer_of(quick_config(data, tmp_path, seed=seed)) as trainer:
        batches = first_batches(trainer.data, 2 * sum(rows) // 8)
    found = [row for batch in batches for row in batch["row"].tolist()]
    epochs = [order_by_hand(rows, seed=seed, epoch=epoch, buffer_groups=16) for epoch in (0, 1)]
    assert found == (epochs[0] + epochs[1])[: len(found)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_of_the_fine_model_crops_by_its_seed(data: Path, tmp_path: Path, seed: int) -> None:
    """Half a second is 2 of 4 frames, of 2 coarse and 1 fine codebook of 9 codes."""
    config = quick_config(data, tmp_path, kind="fine", crop_seconds=0.5, seed=seed)
    records = records_of(data)
    with trainer_of(config) as trainer:
        batches = first_batches(trainer.data, 2 * len(records) // 8)
    rows = [row for batch in batches for row in batch["row"].tolist()]
    codes = codes_of(records, "instrumental_acoustic", rows, (4, 3))
    starts = []
    for at, row in enumerate(rows):
        epoch, clip = at // len(records), records["clip_id"][row].as_py()
        number = keyed(seed, f"crop in epoch {epoch}", clip).bit_generator.random_raw()
        starts.append(int(number) % 3)
    crops = np.stack([code[start : start + 2] for code, start in zip(codes, starts, strict=True)])
    coarse = (crops[..., :2] + [2, 2 + 9]).reshape(len(rows), 4)
    fine = (crops[..., 2:] + 2 + 18).reshape(len(rows), 2)
    for name, expected in (("input_tokens", coarse), ("target_tokens", fine)):
        found = torch.cat([batch[name] for batch in batches])
        np.testing.assert_array_equal(found.numpy(), expected)
    assert set(starts) == {0, 1, 2}


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("featurization", ["S-SA", "A-SA", "SA-A"])
def test_a_run_reads_the_codes_that_it_was_told_to(
    data: Path, tmp_path: Path, featurization: str, noisy: bool
) -> None:
    config = quick_config(data, tmp_path, featurization=featurization, noisy=noisy, steps=1)
    records = records_of(data)
    with trainer_of(config) as trainer:
        (batch,) = first_batches(trainer.data, 1)
    inputs, targets = featurization.split("-")
    vocals = "vocals_noisy" if noisy else "vocals"
    for kinds, source, name in (
        (inputs, vocals, "input_tokens"),
        (targets, "instrumental", "target_tokens"),
    ):
        expected = tokens_by_hand(records, batch["row"].tolist(), source=source, kinds=kinds)
        np.testing.assert_array_equal(batch[name].numpy(), expected)
    train(config)
    (model,) = (tmp_path / "checkpoints").glob("*/model")
    config_json = json.loads((model / "config.json").read_text())
    assert config_json["data"]["view"] == {"featurization": featurization, "noisy": noisy}


def tokens_by_hand(records: Any, rows: list[int], *, source: str, kinds: str) -> np.ndarray:
    """7 semantic codes from token 2 on, then 2 coarse codebooks of 9 codes."""
    parts = []
    if "S" in kinds:
        parts.append(codes_of(records, f"{source}_semantic", rows, (5,)) + 2)
    if "A" in kinds:
        codes = codes_of(records, f"{source}_acoustic", rows, (4, 3))[..., :2]
        parts.append((codes + np.array([9, 18])).reshape(len(rows), 8))
    return np.concatenate(parts, 1)


def test_the_weights_of_a_new_run_follow_from_its_seed_alone(data: Path, tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((0, 3, 3)):
        torch.manual_seed(100 + number)
        with trainer_of(quick_config(data, tmp_path / str(number), seed=seed)) as trainer:
            found.append(trainer.model.state_dict())
    torch.testing.assert_close(found[1], found[2], rtol=0, atol=0)
    for name, value in found[0].items():
        assert name.endswith("layer_norm.weight") or not value.equal(found[1][name]), name


@pytest.mark.parametrize("seed", [0, 1, -1, 2**40])
def test_keyed_numbers_are_those_of_their_definition(seed: int) -> None:
    """Nought is a seed like any other, and each of the three arguments decides."""
    found = generator(seed=seed, purpose="noise", key="clip").random(3)
    np.testing.assert_array_equal(found, keyed(seed, "noise", "clip").random(3))
    for other in ((seed + 1, "noise", "clip"), (seed, "order", "clip"), (seed, "noise", "song")):
        assert not np.array_equal(found, keyed(*other).random(3))
