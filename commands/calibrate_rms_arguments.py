"""Counts the MUSDB18 clips with loud vocals, for a grid of loudness windows.

    singsong calibrate-rms ~/musdb18/test --subset test

The paper keeps the 10 s clips whose vocals have a peak RMS above -25 dB, and gets 1232 of the train
set and 778 of the test set (4.1); it does not define "peak RMS". If you have MUSDB18, this shows
which window gives those counts. Reads `*.stem.mp4` and the folders of MUSDB18-HQ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from singsong.schemas.recipe import LoudnessFilter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong calibrate-rms`."""
    parser.add_argument("musdb", type=Path, metavar="FOLDER", help="a subset of MUSDB18")
    parser.add_argument(
        "--subset", choices=("test", "train"), default="test", help="which one it is"
    )
    parser.add_argument("--clip-seconds", type=float, default=10.0, help="length of a clip")
    parser.add_argument(
        "--threshold-db",
        type=float,
        default=LoudnessFilter().min_instrumental_db,
        help="count clips whose vocals have a higher peak RMS than this, dBFS",
    )


def run(args: argparse.Namespace) -> int:
    """Runs `singsong calibrate-rms` and returns its exit code.

    Raises:
        ValueError: The folder does not exist, or is not MUSDB18.
        ClipError: A track cannot be decoded.
    """
    if not args.musdb.is_dir():
        raise ValueError(f"{args.musdb} does not exist: name the folder of a subset of MUSDB18")
    from singsong.commands.calibrate_rms import calibrate

    return calibrate(
        args.musdb,
        subset=args.subset,
        clip_seconds=args.clip_seconds,
        threshold_db=args.threshold_db,
    )
