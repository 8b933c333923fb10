"""webdataset: tar files of `.npy` members, `WebDataset` and `WebLoader`.

It has no saved state: resuming in the middle of an epoch reads up to there again.
"""

import itertools
from pathlib import Path
from typing import Any

import webdataset

from benchmarks.loader_peers.pairs import BATCH_SIZE, CODES, pair, records


def convert(dataset: Path, output: Path) -> None:
    for number, shard in enumerate(records(dataset)):
        with webdataset.TarWriter(str(output / f"{number:05d}.tar")) as writer:
            for row, record in enumerate(shard):
                members = {f"{name}.npy": codes for name, codes in record.items()}
                writer.write({"__key__": f"{number:05d}-{row:06d}", **members})


def _pair(sample: dict[str, Any]) -> dict[str, Any]:
    return pair({name: sample[f"{name}.npy"] for name in CODES})


def batches(data: Path, *, workers: int) -> Any:
    files = sorted(map(str, data.glob("*.tar")))
    dataset = (
        webdataset.WebDataset(files, shardshuffle=len(files), seed=0)
        .shuffle(1000)
        .decode()
        .map(_pair)
        .batched(BATCH_SIZE)
    )
    return webdataset.WebLoader(dataset, batch_size=None, num_workers=workers)


def state(data: Path, *, samples: int) -> Any:
    del data
    return samples


def resumed(data: Path, saved: Any) -> Any:
    return itertools.islice(batches(data, workers=0), saved // BATCH_SIZE, None)
