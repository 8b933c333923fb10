"""Makes a page to hear and see what the codes of a dataset hold.

    singsong listen dataset --output page

Open `page/index.html` in a browser. A dataset made with `--store-audio` also has the audio that
went into the codec, next to the audio that comes out of it.
"""

from __future__ import annotations

import argparse

from singsong.pipelines.places import check_dataset, check_output_folder
from singsong.runners.exit_codes import ExitCode
from singsong.schemas.text import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong listen`."""
    parser.add_argument("dataset", metavar="DATASET", help="folder or URL")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder of the page")
    parser.add_argument(
        "--clips", type=int, default=8, help="how many clips, of different tracks if possible"
    )


def run(args: argparse.Namespace) -> int:
    """Runs `singsong listen` and returns its exit code.

    Raises:
        ValueError: There is no dataset or no clip in it, the output cannot be written, or a model
            cannot be loaded.
        DatasetError: The dataset cannot be read.
    """
    if args.clips < 1:
        raise ValueError(f"clips must be at least 1, found {args.clips}")
    check_dataset(args.dataset)
    check_output_folder(args.output)
    from singsong.evaluation.code_listening import make_page

    print(printable(make_page(args.dataset, args.output, clips=args.clips)))
    return ExitCode.DONE
