"""Writes synthetic songs, to try everything without any music files.

    singsong demo-songs --output demo --songs 4 --seconds 30
    singsong prepare demo/mixes --output demo/dataset

`mixes/` holds the songs. Their stems are in `stems/`, apart from the songs, so that they are not
taken for songs. `songs.json`, written last, lists the key, tempo, chords and melody of each song.
"""

from __future__ import annotations

import argparse

from singsong.pipelines.places import check_output_folder
from singsong.runners.exit_codes import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `DemoSongsConfig`, which has the defaults."""
    unset = argparse.SUPPRESS
    parser.add_argument("--output", required=True, help="folder for the songs")
    parser.add_argument("--songs", type=int, default=unset, help="number of songs")
    parser.add_argument("--seconds", type=float, default=unset, help="length of each song")
    parser.add_argument("--seed", type=int, default=unset, help="seed of the songs")
    parser.add_argument(
        "--tempo",
        dest="tempi_bpm",
        type=float,
        action="append",
        metavar="BPM",
        help="tempo; repeat the flag to give several, used in turn (default: drawn for each song)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs `singsong demo-songs` and returns its exit code.

    Raises:
        ValueError: A value is outside its range, or the output holds other audio.
        OSError: The output cannot be written.
    """
    check_output_folder(args.output)
    from singsong.synth.demo_songs import DemoSongsConfig, write_songs

    given = {**vars(args), "tempi_bpm": tuple(args.tempi_bpm or ())}
    write_songs(DemoSongsConfig(**given))
    return ExitCode.DONE
