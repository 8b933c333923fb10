"""Trains a model on a dataset.

    singsong train accompaniment --data dataset --preset tiny --output run
    singsong train fine --data dataset --preset tiny --output fine

The run holds TensorBoard's files and checkpoints; `checkpoints/step-.../model` opens with
`transformers`. After Ctrl-C the same command with --resume goes on where it stopped. Several GPUs:

    torchrun --nproc-per-node 8 --no-python singsong train accompaniment ...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from transformers.utils.logging import disable_progress_bar

from singsong.models.allocator import keep_freed_memory
from singsong.runners.errors import STOPPED_EXIT_CODE, JobFailedError
from singsong.schemas.recipe import DTYPES
from singsong.training.featurization import FEATURIZATIONS
from singsong.training.presets import ACCOMPANIMENT, FINE
from singsong.training.stages import STAGES
from singsong.training.train import TrainingError, TrainResult, train
from singsong.training.train_config import TrainConfig

_PRESETS = {"accompaniment": ACCOMPANIMENT, "fine": FINE}


def add_arguments(parser: argparse.ArgumentParser, stage: str) -> None:
    """Adds the flags of a stage; the defaults are those of `TrainConfig`."""
    parser.add_argument("--data", required=True, metavar="DATASET", help="folder or URL")
    parser.add_argument("--output", required=True, metavar="RUN", help="folder of this machine")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in RUN, if there is one"
    )
    _add(parser, "preset", choices=sorted(_PRESETS[stage]), help="size of the model")
    _add(parser, "start_from", metavar="RUN", help="start with the weights of another run")
    _add_model_arguments(parser.add_argument_group("model"), stage)
    _add_optimisation_arguments(parser.add_argument_group("optimisation"))
    _add_checkpoint_arguments(parser.add_argument_group("evaluation and checkpoints"))
    _add_machine_arguments(parser.add_argument_group("machine"))


def config_from(args: argparse.Namespace) -> TrainConfig:
    """Returns the configuration that the flags describe.

    Raises:
        ValueError: A value is outside its range.
    """
    known = {field.name for field in fields(TrainConfig)}
    return TrainConfig(**{name: value for name, value in vars(args).items() if name in known})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `singsong train` and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="singsong train",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stages = parser.add_subparsers(dest="stage", required=True)
    for stage in STAGES:
        add_arguments(stages.add_parser(stage, allow_abbrev=False), stage)
    args = parser.parse_args(argv)
    return run(config_from(args), resume=args.resume)


def run(config: TrainConfig, *, resume: bool) -> int:
    """Trains, says how it ended and returns the exit code.

    Raises:
        ValueError: A setting does not fit the dataset, the machine or the run that is to go on.
        DatasetError: There is no dataset, or it does not hold together.
        JobFailedError: The loss is not finite.
        OSError: A checkpoint cannot be written.
    """
    disable_progress_bar()  # of writing weights
    keep_freed_memory()
    try:
        result = train(config, resume=resume)
    except TrainingError as error:
        raise JobFailedError(str(error)) from error
    if result.first_process:
        print(summary(result, config))
    return STOPPED_EXIT_CODE if result.reason == "stopped" else 0


def summary(result: TrainResult, config: TrainConfig) -> str:
    """Returns what is to be said at the end."""
    lines = [f"{config.output} is at step {result.step}."]
    if result.best is not None:
        value = result.best.metrics[config.best_metric]
        lines.append(f"Best {config.best_metric}: {value:.4f}, in {result.best.folder}")
    if result.reason == "patience":
        lines.append(f"Ended early: {config.patience} evaluations brought nothing better.")
    if result.reason == "stopped":
        lines.append("Stopped. All is saved: the same command with --resume goes on.")
    return "\n".join(lines)


def _add_model_arguments(group: Any, stage: str) -> None:
    if stage == "accompaniment":
        _add(
            group,
            "featurization",
            choices=FEATURIZATIONS,
            help="codes of the vocals - codes of the instrumental; S semantic, A acoustic",
        )
        group.add_argument(
            "--clean", dest="noisy", action="store_false", help="read the vocals without noise"
        )
    else:
        _add(group, "crop_seconds", type=float, help="length of a training crop")
    group.add_argument(
        "--relative-positions",
        action=argparse.BooleanOptionalAction,
        default=TrainConfig.relative_positions,
        help="T5's relative positions, or fixed sinusoids; the paper's choice by default",
    )
    _add(group, "dropout", type=float, help="rate of dropout")


def _add_optimisation_arguments(group: Any) -> None:
    _add(group, "steps", type=int, help="updates of the model")
    _add(group, "batch_size", type=int, help="clips in an update, over all processes")
    _add(group, "micro_batch_size", type=int, help="clips that a process computes at once")
    _add(
        group,
        "warmup_steps",
        type=int,
        help="the learning rate is 1 / sqrt(max(step, this)): fewer suit a small model",
    )
    _add(group, "z_loss", type=float, help="weight of the z-loss")
    _add(group, "seed", type=int, help="of weights, order and dropout")


def _add_checkpoint_arguments(group: Any) -> None:
    _add(group, "evaluate_every", type=int, help="steps between evaluations; 0 never does")
    _add(group, "save_every", type=int, help="steps between checkpoints")
    _add(group, "log_every", type=int, help="steps between entries in TensorBoard")
    _add(group, "keep_last", type=int, help="how many of the last checkpoints stay")
    _add(group, "best_metric", choices=("loss", "nll"), help="what the best checkpoint is best in")
    _add(group, "patience", type=int, help="evaluations without a better value that end the run")


def _add_machine_arguments(group: Any) -> None:
    _add(group, "device", help='"cpu" or "cuda"; CUDA where there is one, by default')
    _add(group, "dtype", choices=DTYPES, help="bfloat16 on CUDA, else float32, by default")
    group.add_argument(
        "--compile", dest="compiled", action="store_true", help="compile the model first"
    )
    group.add_argument(
        "--gradient-checkpointing", action="store_true", help="less memory for more time"
    )
    _add(group, "cache", metavar="FOLDER", help="keep the shards of a remote dataset here")


def _add(group: Any, name: str, **how: Any) -> None:
    group.add_argument(f"--{name.replace('_', '-')}", default=getattr(TrainConfig, name), **how)
