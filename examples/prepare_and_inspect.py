"""Prepares a dataset of the music in a folder, and looks at what is in it.

    python examples/prepare_and_inspect.py ~/Music --output dataset

Run it again after you have added music: only the new files are encoded.
"""

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np

import singsong


def main(argv: Sequence[str] | None = None) -> None:
    """Prepares, and prints what became of the files and what the clips are like."""
    parser = argparse.ArgumentParser(description="Prepare a dataset and look at it.")
    parser.add_argument("music", help="a folder, a file, a glob or a URL")
    parser.add_argument("--output", required=True, help="folder or URL of the dataset")
    args = parser.parse_args(argv)

    dataset = singsong.prepare(args.music, output=args.output, max_failure_rate=1.0)

    print("\nfiles:", dict(Counter(str(track.status) for track in dataset.tracks)))
    for failure in dataset.failures:
        print(f"  {failure.reason}: {failure.uri}: {failure.message}")
    for split in dataset.manifest.splits:
        print_split(dataset, split)


def print_split(dataset: singsong.Dataset, split: str) -> None:
    """Prints the number of clips, how loud the singers are, and how many codes are in use."""
    used, levels = set[int](), []
    for clip in dataset.clips(split):
        used.update(np.unique(clip.codes["instrumental"].semantic).tolist())
        levels.append(clip.vocals_peak_rms_db)
    if levels:
        size = dataset.geometry.semantic.codebook_size
        print(
            f"{split}: {len(levels)} clips, vocals at {np.median(levels):.1f} dBFS (median), "
            f"{len(used)} of {size} semantic codes in use"
        )


if __name__ == "__main__":
    main()
