"""The batches that every loader delivers, and the records to convert; imports no singsong."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

BATCH_SIZE = 32
CODES = {
    "vocals_noisy_semantic": (250,),
    "instrumental_semantic": (250,),
    "instrumental_acoustic": (500, 12),
}
_OFFSETS = 1026 + 1024 * np.arange(4)


def pair(record: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the noisy S-SA tokens of a record, int64."""
    coarse = record["instrumental_acoustic"].reshape(-1, 12)[:, :4] + _OFFSETS
    semantic = record["instrumental_semantic"].astype(np.int64) + 2
    return {
        "input_tokens": record["vocals_noisy_semantic"].astype(np.int64) + 2,
        "target_tokens": np.concatenate([semantic, coarse.reshape(-1)]),
    }


def records(dataset: Path) -> Iterator[list[dict[str, np.ndarray]]]:
    """Yields the records of each shard, with only the codes that the pairs need."""
    for path in sorted((dataset / "shards").glob("*.parquet")):
        table = pq.read_table(path, columns=list(CODES))
        columns = {
            name: table[name].combine_chunks().flatten().to_numpy().reshape(-1, *shape)
            for name, shape in CODES.items()
        }
        yield [{name: values[row] for name, values in columns.items()} for row in range(len(table))]
