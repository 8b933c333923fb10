"""MosaicML streaming: MDS shards, `StreamingDataset` and `StreamingDataLoader`."""

from pathlib import Path
from typing import Any

from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
from streaming.base.util import clean_stale_shared_memory

from benchmarks.loader_peers.pairs import BATCH_SIZE, CODES, pair, records


def convert(dataset: Path, output: Path) -> None:
    columns = {name: f"ndarray:uint16:{','.join(map(str, shape))}" for name, shape in CODES.items()}
    with MDSWriter(out=str(output), columns=columns) as writer:
        for shard in records(dataset):
            for record in shard:
                writer.write(record)


class _Pairs(StreamingDataset):
    def __getitem__(self, at: Any) -> Any:
        return pair(super().__getitem__(at))


def _dataset(data: Path) -> _Pairs:
    clean_stale_shared_memory()
    return _Pairs(local=str(data), shuffle=True, shuffle_seed=0, batch_size=BATCH_SIZE)


def batches(data: Path, *, workers: int) -> Any:
    return StreamingDataLoader(_dataset(data), batch_size=BATCH_SIZE, num_workers=workers)


def state(data: Path, *, samples: int) -> Any:
    loader = batches(data, workers=0)
    iterator = iter(loader)
    for _ in range(samples // BATCH_SIZE):
        next(iterator)
    return loader.state_dict()


def resumed(data: Path, saved: Any) -> Any:
    loader = batches(data, workers=0)
    loader.load_state_dict(saved)
    return loader
