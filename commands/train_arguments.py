"""Trains a model on a dataset.

    singsong train accompaniment --data dataset --preset tiny --output run
    singsong train fine --data dataset --preset tiny --output fine

The run holds TensorBoard's files and checkpoints; `checkpoints/step-.../model` opens with
`transformers`. After Ctrl-C the same command with --resume continues. Several GPUs:

    torchrun --nproc-per-node 8 --no-python singsong train accompaniment ...
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from singsong.pipelines.places import check_dataset, check_output_folder, check_run
from singsong.schemas.recipe import DTYPES
from singsong.training.presets import ACCOMPANIMENT, FINE

if TYPE_CHECKING:
    from singsong.training.train_config import TrainConfig

_PRESETS = {"accompaniment": ACCOMPANIMENT, "fine": FINE}

_Group = argparse.ArgumentParser | argparse._ArgumentGroup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the stages of `singsong train` and their flags.

    A flag that is not given is left out of the parsed ones: `TrainConfig` has the defaults.
    """
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for stage, text in (
        ("accompaniment", "vocals in, semantic and coarse acoustic codes out"),
        ("fine", "coarse acoustic codes in, fine ones out, for better sound"),
    ):
        add_stage_arguments(
            stages.add_parser(
                stage,
                help=text,
                description=text,
                allow_abbrev=False,
                argument_default=argparse.SUPPRESS,
                formatter_class=parser.formatter_class,
            ),
            stage,
        )


def add_stage_arguments(parser: argparse.ArgumentParser, stage: str) -> None:
    """Adds the flags of a stage."""
    parser.add_argument("--data", required=True, metavar="DATASET", help="folder or URL")
    parser.add_argument("--output", required=True, metavar="RUN", help="folder of this machine")
    parser.add_argument(
        "--resume",
        action="store_true",
        default=False,
        help="continue the run in RUN, if there is one",
    )
    parser.add_argument("--preset", choices=sorted(_PRESETS[stage]), help="size of the model")
    parser.add_argument("--start-from", metavar="RUN", help="start with the weights of a run")
    _add_model_arguments(parser.add_argument_group("model"), stage)
    _add_optimisation_arguments(parser.add_argument_group("optimisation"))
    _add_checkpoint_arguments(parser.add_argument_group("evaluation and checkpoints"))
    _add_machine_arguments(parser.add_argument_group("machine"))


def config_from(args: argparse.Namespace) -> TrainConfig:
    """Returns the configuration that the flags describe.

    Raises:
        ValueError: A value is outside its range.
    """
    from singsong.training.train_config import TrainConfig

    given = {name: value for name, value in vars(args).items() if name != "resume"}
    return TrainConfig(**given)


def run(args: argparse.Namespace) -> int:
    """Runs `singsong train` and returns its exit code.

    Raises:
        ValueError: A setting is wrong, or does not fit the dataset, the machine or the run that is
            to continue.
        DatasetError: The dataset cannot be read.
        JobFailedError: The loss is not finite.
        OSError: A checkpoint cannot be written.
    """
    check_dataset(args.data)
    check_output_folder(args.output)
    if getattr(args, "start_from", None) is not None:
        check_run(args.start_from)
    config = config_from(args)
    from singsong.commands import train

    return train.run(config, resume=args.resume)


def _add_model_arguments(group: _Group, stage: str) -> None:
    if stage == "accompaniment":
        group.add_argument(
            "--featurization",
            metavar="IN-OUT",
            help="codes of the vocals - codes of the instrumental, such as S-SA, where S is "
            "semantic and A acoustic",
        )
        group.add_argument(
            "--clean", dest="noisy", action="store_false", help="read the vocals without noise"
        )
    else:
        group.add_argument("--crop-seconds", type=float, help="length of a training crop")
    group.add_argument(
        "--relative-positions",
        action=argparse.BooleanOptionalAction,
        help="use T5's relative positions, or fixed sinusoids; the paper's choice by default",
    )
    group.add_argument("--dropout", type=float, help="dropout rate")


def _add_optimisation_arguments(group: _Group) -> None:
    _add_numbers(
        group,
        {
            "--steps": "updates of the model",
            "--batch-size": "clips in an update, over all processes",
            "--micro-batch-size": "clips that a process computes at once",
            "--warmup-steps": "W in the learning rate, 1 / sqrt(max(step, W)): a small model needs "
            "fewer",
            "--seed": "seed of weights, order and dropout",
        },
    )
    group.add_argument("--z-loss", type=float, help="weight of the z-loss")


def _add_checkpoint_arguments(group: _Group) -> None:
    _add_numbers(
        group,
        {
            "--evaluate-every": "steps between evaluations; 0 never evaluates",
            "--save-every": "steps between checkpoints",
            "--log-every": "steps between entries in TensorBoard",
            "--keep-last": "how many of the last checkpoints are kept",
            "--patience": "evaluations without improvement that end the run",
        },
    )
    group.add_argument(
        "--best-metric", choices=("loss", "nll"), help="metric that decides the best checkpoint"
    )


def _add_machine_arguments(group: _Group) -> None:
    group.add_argument("--device", help='"cpu" or "cuda"; CUDA where there is one, by default')
    group.add_argument(
        "--dtype", choices=DTYPES, help="bfloat16 on CUDA, float32 elsewhere, by default"
    )
    group.add_argument(
        "--compile", dest="compiled", action="store_true", help="compile the model first"
    )
    group.add_argument(
        "--gradient-checkpointing", action="store_true", help="trade time for less memory"
    )
    group.add_argument(
        "--cache", metavar="FOLDER", help="keep the shards of a remote dataset in this folder"
    )


def _add_numbers(group: _Group, flags: Mapping[str, str]) -> None:
    for flag, text in flags.items():
        group.add_argument(flag, type=int, help=text)
