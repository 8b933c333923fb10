"""Each record once, in one order, for any number of processes, from wherever one goes on."""

import itertools
import json
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from benchmarks.support.code_dataset import read_records, write_dataset
from benchmarks.support.command import ROOT
from singsong.dataset.manifest import DatasetError
from singsong.dataset.shard_reader import ShardReader
from singsong.training.featurization import Featurization, FineCrops
from singsong.training.loader import LoaderConfig, ShardDataset
from singsong.training.order import EpochOrder, row_groups

RECORDS = 2000
VIEW = Featurization()
DIVISIONS = st.fixed_dictionaries(
    {"ranks": st.integers(1, 5), "batch_size": st.sampled_from([1, 7, 64, 300])}
)


def dataset_of(folder: Path, **settings: Any) -> ShardDataset:
    config = {"batch_size": 100, "buffer_groups": 3, "threads": 0, **settings}
    return ShardDataset(str(folder), VIEW, LoaderConfig(**config))


def worker_batches(dataset: ShardDataset, worker: int, workers: int) -> Iterator[list[int]]:
    info = SimpleNamespace(id=worker, num_workers=workers)
    with mock.patch("singsong.training.loader.get_worker_info", return_value=info):
        iterator = iter(dataset)
        first = next(iterator, None)
    for batch in itertools.chain([] if first is None else [first], iterator):
        yield batch["row"].tolist()


def rank_batches(dataset: ShardDataset, workers: int) -> Iterator[list[int]]:
    """Yields the batches of all workers in turn, as a `DataLoader` does."""
    turns = [worker_batches(dataset, worker, workers) for worker in range(workers)]
    for batches in itertools.zip_longest(*turns):
        yield from (batch for batch in batches if batch is not None)


def steps(
    folder: Path, *, ranks: int, workers: int = 1, state: dict | None = None, **settings: Any
) -> Iterator[list[int]]:
    """Yields the records of each step of all ranks, in the order they were dealt."""
    turns = []
    for rank in range(ranks):
        dataset = dataset_of(folder, rank=rank, ranks=ranks, **settings)
        if state is not None:
            dataset.load_state_dict(state)
        turns.append(rank_batches(dataset, workers))
    for batches in itertools.zip_longest(*turns, fillvalue=()):
        rows = itertools.chain(*itertools.zip_longest(*batches))
        yield [row for row in rows if row is not None]


def flat(lists: Iterator[list[int]], count: int) -> list[int]:
    return list(itertools.islice(itertools.chain.from_iterable(lists), count))


def reference(folder: Path, *, epochs: int, buffer_groups: int = 3) -> list[int]:
    manifest = dataset_of(folder).manifest
    groups = row_groups([shard.rows for shard in manifest.shards])
    rows = []
    for epoch in range(epochs):
        order = EpochOrder(groups, seed=0, epoch=epoch, buffer_groups=buffer_groups, shuffle=True)
        for number in range(order.buffers):
            buffer = order.buffer(number)
            rows += (groups.first_row[buffer.group] + buffer.row).tolist()
    return rows


@given(DIVISIONS, st.integers(1, 3))
@settings(deadline=None, max_examples=12)
def test_all_processes_together_give_the_one_order(
    small: Path, division: dict[str, int], workers: int
) -> None:
    found = flat(steps(small, workers=workers, **division), 2 * RECORDS)
    assert found == reference(small, epochs=2)
    assert sorted(found[:RECORDS]) == sorted(found[RECORDS:]) == list(range(RECORDS))


@given(DIVISIONS, DIVISIONS, st.integers(0, 6), st.integers(1, 3))
@settings(deadline=None, max_examples=12)
def test_a_state_goes_on_with_the_next_record_in_other_hands(
    small: Path, before: dict[str, int], after: dict[str, int], used: int, workers: int
) -> None:
    dataset = dataset_of(small, **before)
    for _ in zip(range(used), dataset, strict=False):
        pass
    state = dataset.state_dict()
    assert state == dataset_of(small, **before).state_dict(steps=used)
    done = used * before["ranks"] * before["batch_size"]
    epochs = done // RECORDS + 2
    want = reference(small, epochs=epochs)[done : done + 700]
    assert flat(steps(small, workers=workers, state=state, **after), 700) == want


@given(DIVISIONS, st.integers(1, 2))
@settings(deadline=None, max_examples=12)
def test_an_end_deals_what_is_left_evenly(
    small: Path, division: dict[str, int], epochs: int
) -> None:
    datasets = [
        dataset_of(small, rank=rank, epochs=epochs, **division) for rank in range(division["ranks"])
    ]
    batches = [[len(batch["row"]) for batch in dataset] for dataset in datasets]
    assert [len(sizes) for sizes in batches] == [len(dataset) for dataset in datasets]
    totals = [sum(sizes) for sizes in batches]
    assert sum(totals) == epochs * RECORDS
    assert max(totals) - min(totals) <= 1
    assert {size for sizes in batches for size in sizes[:-1]} <= {division["batch_size"]}
    assert datasets[0].state_dict()["samples"] == epochs * RECORDS


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_threads_change_nothing(small: Path, threads: int) -> None:
    dataset = dataset_of(small, threads=threads, epochs=2)
    rows = [row for batch in dataset for row in batch["row"].tolist()]
    assert rows == reference(small, epochs=2)


def test_worker_processes_change_nothing(small: Path) -> None:
    dataset = dataset_of(small, epochs=1)
    loader = DataLoader(dataset, batch_size=None, num_workers=2)
    batches = list(itertools.islice(loader, 9))
    assert [row for batch in batches for row in batch["row"].tolist()] == reference(
        small, epochs=1
    )[:900]
    later = dataset_of(small, epochs=1)
    later.load_state_dict(dataset.state_dict(steps=9))
    assert torch.equal(next(iter(later))["row"], torch.tensor(reference(small, epochs=1)[900:1000]))


def test_a_stateful_loader_goes_on_with_the_next_batch(small: Path) -> None:
    """And a state that nobody has counted is refused: it would say that nothing was read yet."""
    cases = [f"{workers},{used}" for workers in (0, 1, 3) for used in (1, 7)]
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.stateful_loading"]
    found = subprocess.run(
        [*command, str(small), *cases], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert found.returncode == 0, found.stderr
    printed = json.loads(found.stdout)
    assert list(printed["rows"]) == cases
    for case, rows in printed["rows"].items():
        assert rows == reference(small, epochs=2), case
    assert "came from worker processes" in printed["refusal"]
    assert "state_dict(steps=...)" in printed["refusal"]


def test_the_tokens_are_those_of_the_records(small: Path) -> None:
    records = read_records(small)
    dataset = dataset_of(small, epochs=1, threads=2)
    seen = 0
    for batch in dataset:
        inputs = records["vocals_noisy_semantic"].take(batch["row"].numpy()).to_pylist()
        assert (batch["input_tokens"] - 2).tolist() == inputs
        seen += len(inputs)
    assert seen == RECORDS


def test_without_a_shuffle_the_records_come_as_they_lie(small: Path) -> None:
    batches = dataset_of(small, shuffle=False, epochs=1)
    rows = [row for batch in batches for row in batch["row"].tolist()]
    assert rows == list(range(RECORDS))


def test_an_iteration_starts_anew(small: Path) -> None:
    dataset = dataset_of(small, epochs=1)
    first = [batch["row"].tolist() for batch in itertools.islice(dataset, 3)]
    assert dataset.state_dict()["samples"] == 300
    assert [batch["row"].tolist() for batch in itertools.islice(dataset, 3)] == first


def test_crops_change_from_epoch_to_epoch(small: Path) -> None:
    config = LoaderConfig(batch_size=RECORDS, epochs=2, shuffle=False, threads=0)
    one, other = (
        batch["target_tokens"] for batch in ShardDataset(str(small), FineCrops(seconds=0.5), config)
    )
    changed = (one != other).any(1).float().mean()
    assert 0.5 < changed < 0.9  # a clip of 4 frames has 3 crops of 2


def counted(dataset: ShardDataset, batches: int) -> list[tuple[int, int]]:
    read: list[tuple[int, int]] = []
    whole = ShardReader.read

    def count(self: ShardReader, shard: int, group: int) -> Any:
        read.append((shard, group))
        return whole(self, shard, group)

    with mock.patch.object(ShardReader, "read", count):
        for _ in itertools.islice(dataset, batches):
            pass
    return read


def test_going_on_reads_nothing_of_what_came_before(small: Path) -> None:
    dataset = dataset_of(small, epochs=1)
    whole = counted(dataset, len(dataset))
    assert len(whole) == len(set(whole)) == len(dataset._groups.rows)
    dataset.load_state_dict({**dataset.state_dict(steps=0), "samples": 1500})
    rest = counted(dataset, 5)
    assert len(rest) <= 6  # of 10 row groups, in buffers of 3
    assert whole[-len(rest) :] == rest


def test_only_the_shards_that_are_needed_are_touched(tmp_path: Path) -> None:
    write_dataset(tmp_path, clips=300, shards=10)
    dataset = dataset_of(tmp_path, epochs=1, buffer_groups=1, batch_size=1)
    order = reference(tmp_path, epochs=1, buffer_groups=1)
    shards = [np.searchsorted(dataset._groups.first_row, row, "right") - 1 for row in order]
    for shard in set(shards) - set(shards[200:]):
        (tmp_path / dataset.manifest.shards[shard].path).unlink()
    dataset.load_state_dict({**dataset.state_dict(), "samples": 200})
    assert [batch["row"].item() for batch in dataset] == order[200:]


def test_memory_does_not_grow_with_the_dataset(small: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path, clips=4 * RECORDS, shards=12)
    peaks = []
    for folder in (small, tmp_path):
        dataset = dataset_of(folder, epochs=1, buffer_groups=1)
        next(iter(dataset))
        tracemalloc.start()
        for _ in dataset:
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_damage_ends_an_iteration_before_the_second_buffer(tmp_path: Path) -> None:
    write_dataset(tmp_path, clips=6 * 256, shards=1)
    dataset = dataset_of(tmp_path, batch_size=32, epochs=1)
    path = tmp_path / dataset.manifest.shards[0].path
    data = bytearray(path.read_bytes())
    data[10] ^= 1  # a column that the view does not read
    path.write_bytes(data)
    iterator = iter(dataset)
    first_buffer = list(itertools.islice(iterator, 256 // 32))
    assert len(first_buffer) == 8
    with pytest.raises(DatasetError, match=f"{path} is damaged"):
        next(iterator)


def test_an_iteration_that_is_left_leaves_no_thread(small: Path) -> None:
    before = threading.active_count()
    iterator = iter(dataset_of(small, threads=3))
    next(iterator)
    assert threading.active_count() > before
    iterator.close()
    assert threading.active_count() == before


def test_the_loader_needs_no_library_but_torch() -> None:
    """Whoever only reads a dataset does not wait for the models' libraries."""
    heavy = {"transformers", "apache_beam"}
    code = f"import singsong.training.loader, sys; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_a_state_keeps_the_names_that_saved_ones_have(small: Path) -> None:
    names = ["samples", "dataset_digest", "split", "seed", "shuffle", "window_groups"]
    assert list(dataset_of(small).state_dict()) == names
