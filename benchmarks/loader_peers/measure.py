"""Runs one action with one loader, in the loader's environment, and prints the result as JSON.

    python -m benchmarks.loader_peers.measure mds convert DATASET OUTPUT
    python -m benchmarks.loader_peers.measure mds epoch DATA WORKERS
    python -m benchmarks.loader_peers.measure mds contents DATA WORKERS
    python -m benchmarks.loader_peers.measure mds state DATA SAMPLES
    python -m benchmarks.loader_peers.measure mds resume DATA STATE

No time includes imports: they are mostly those of torch, and the same for all loaders.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any


def epoch(peer: Any, data: Path, workers: int) -> dict[str, float]:
    """Returns the seconds from the start to the first and to the last batch."""
    started = time.perf_counter()
    batches = iter(peer.batches(data, workers=workers))
    samples = len(next(batches)["input_tokens"])
    first_s = time.perf_counter() - started
    for batch in batches:
        samples += len(batch["input_tokens"])
    return {"first_s": first_s, "epoch_s": time.perf_counter() - started, "samples": samples}


def contents(peer: Any, data: Path, workers: int) -> list[Any]:
    """Returns a fingerprint of the tokens of an epoch that does not depend on their order."""
    found = [0, 0, 0, 0]
    for batch in peer.batches(data, workers=workers):
        tokens = batch["input_tokens"], batch["target_tokens"]
        assert [str(one.dtype) for one in tokens] == ["torch.int64"] * 2
        found[0] += tokens[0].numel()
        found[1] += tokens[1].numel()
        found[2] += int(tokens[0].sum())
        found[3] += int((tokens[1] * tokens[1]).sum())
    return found


def resume(peer: Any, data: Path, saved: Any) -> float:
    """Returns the seconds from a saved state to its next batch."""
    started = time.perf_counter()
    batches = iter(peer.resumed(data, saved))
    next(batches)
    return time.perf_counter() - started  # measured before `batches` is closed


def main() -> None:
    name, action, data, argument = sys.argv[1:]
    peer = importlib.import_module(f"benchmarks.loader_peers.{name}")
    result: Any = None
    if action == "convert":
        peer.convert(Path(data), Path(argument))
    elif action == "epoch":
        result = epoch(peer, Path(data), int(argument))
    elif action == "contents":
        result = contents(peer, Path(data), int(argument))
    elif action == "state":
        result = peer.state(Path(data), samples=int(argument))
    else:
        result = resume(peer, Path(data), json.loads(argument))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
