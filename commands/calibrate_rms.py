"""Counts the MUSDB18 clips with loud vocals, for a grid of loudness windows.

    singsong calibrate-rms ~/musdb18/test --subset test

The paper keeps the 10 s clips whose vocals have a peak RMS above -25 dB, and gets 1232 of the train
set and 778 of the test set (4.1), but does not define "peak RMS". With a copy of MUSDB18, this
command shows which window gives these counts. Reads `*.stem.mp4` and the folders of MUSDB18-HQ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from singsong.runners.exit_codes import ExitCode
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
    from tqdm import tqdm

    from singsong.evaluation.rms_calibration import (
        PAPER_COUNTS,
        RMS_WINDOWS,
        count_clips,
        vocal_tracks,
    )

    counts, total = count_clips(
        tqdm(vocal_tracks(args.musdb), unit="track", disable=None),
        clip_seconds=args.clip_seconds,
        threshold_db=args.threshold_db,
    )
    paper = PAPER_COUNTS[args.subset]
    print(f"{total} clips in total; the paper kept {paper} of the {args.subset} set")
    print(f"{'window':<22}{'clips':>8}{'- paper':>10}")
    for window in RMS_WINDOWS:
        name = f"{window.kind} {window.seconds * 1000:g} ms"
        print(f"{name:<22}{counts[window]:>8}{counts[window] - paper:>+10}")
    return ExitCode.DONE
