"""Reads a dataset through torchdata's loader, stops and goes on; prints the rows of each case.

A program of its own: worker processes are forked, which a test run with all its threads is not
made for.
"""

import itertools
import json
import sys

from torchdata.stateful_dataloader import StatefulDataLoader

from singsong.training.featurization import Featurization
from singsong.training.loader import LoaderConfig, ShardDataset


def loader(folder: str, workers: int) -> StatefulDataLoader:
    config = LoaderConfig(batch_size=100, buffer_groups=3, epochs=2)
    dataset = ShardDataset(folder, Featurization(), config)
    return StatefulDataLoader(dataset, batch_size=None, num_workers=workers)


def rows_of(folder: str, *, workers: int, used: int) -> list[int]:
    first = loader(folder, workers)
    batches = [batch["row"].tolist() for batch in itertools.islice(iter(first), used)]
    again = loader(folder, workers)
    again.load_state_dict(first.state_dict())
    batches += [batch["row"].tolist() for batch in again]
    return [row for batch in batches for row in batch]


def refusal(folder: str) -> str:
    """Returns what a dataset says of its state after an iteration in a worker process."""
    stateful = loader(folder, 1)
    list(itertools.islice(stateful, 3))
    try:
        stateful.dataset.state_dict()
    except ValueError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    folder, *cases = sys.argv[1:]
    found = {}
    for case in cases:
        workers, used = map(int, case.split(","))
        found[case] = rows_of(folder, workers=workers, used=used)
    print(json.dumps({"rows": found, "refusal": refusal(folder)}))
