"""Trains a model on a dataset.

    singsong train accompaniment --data dataset --preset tiny --output run
    singsong train fine --data dataset --preset tiny --output fine

The run folder holds TensorBoard's files and checkpoints; `checkpoints/step-.../model` holds the
weights (safetensors) and config.json, which singsong loads. After Ctrl-C, the same command with
--resume continues where it stopped. On several GPUs:

    torchrun --nproc-per-node 8 --no-python singsong train accompaniment ...
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from singsong.commands.subcommands import add_subcommands
from singsong.pipelines.places import check_dataset, check_output_folder, check_run
from singsong.runners.errors import JobFailedError
from singsong.runners.exit_codes import ExitCode
from singsong.schemas.recipe import DTYPES
from singsong.schemas.text import printable
from singsong.training.featurization import FEATURIZATIONS, ModelKind
from singsong.training.presets import PRESETS
from singsong.training.train_config import TrainConfig

if TYPE_CHECKING:
    from singsong.training.train import TrainResult


_KINDS: Mapping[str, str] = {
    ModelKind.ACCOMPANIMENT: "vocals in, semantic and coarse acoustic codes out",
    ModelKind.FINE: "coarse acoustic codes in, fine ones out, for better sound",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the kinds of models of `singsong train` and their flags."""
    for kind, of_kind in add_subcommands(parser, _KINDS, dest="kind").items():
        add_kind_arguments(of_kind, ModelKind(kind))


def add_kind_arguments(parser: argparse.ArgumentParser, kind: ModelKind) -> None:
    """Adds the flags of a kind of model; the defaults are those of `TrainConfig`."""
    parser.add_argument("--data", required=True, metavar="DATASET", help="folder or URL")
    parser.add_argument("--output", required=True, metavar="RUN", help="local folder")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in RUN, if there is one"
    )
    _add(parser, "preset", choices=sorted(PRESETS[kind]), help="size of the model")
    _add(parser, "start_from", metavar="RUN", help="start with the weights of another run")
    _add_model_arguments(parser.add_argument_group("model"), kind)
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


def run(args: argparse.Namespace) -> int:
    """Runs `singsong train`, prints how it ended and returns its exit code.

    Raises:
        ValueError: A setting is wrong, or does not fit the dataset, the machine or the run to
            resume.
        DatasetError: The dataset cannot be read.
        JobFailedError: The loss is not finite.
        OSError: A checkpoint cannot be written.
    """
    check_dataset(args.data)
    check_output_folder(args.output)
    if args.start_from is not None:
        check_run(args.start_from)
    return train(config_from(args), resume=args.resume)


def train(config: TrainConfig, *, resume: bool) -> int:
    """Trains, prints how it ended and returns the exit code. Raises as `run`."""
    from transformers.utils.logging import disable_progress_bar

    from singsong.models.allocator import keep_freed_memory
    from singsong.training.train import TrainingError
    from singsong.training.train import train as train_model

    disable_progress_bar()  # of writing weights
    keep_freed_memory()
    try:
        result = train_model(config, resume=resume)
    except TrainingError as error:
        raise JobFailedError(str(error)) from error
    if result.first_process:
        print(summary(result, config))
    return ExitCode.INTERRUPTED if result.reason == "stopped" else ExitCode.DONE


def summary(result: TrainResult, config: TrainConfig) -> str:
    """Returns the lines that are printed at the end."""
    lines = [f"{config.output} is at step {result.step}."]
    if result.best is not None:
        value = result.best.metrics[config.best_metric]
        lines.append(f"Best {config.best_metric}: {value:.4f}, in {result.best.folder}")
    if result.reason == "patience":
        lines.append(f"Ended early: no improvement in {config.patience} evaluations.")
    if result.reason == "stopped":
        lines.append("Stopped and saved: the same command with --resume continues.")
    return "\n".join(map(printable, lines))


def _add_model_arguments(group: argparse._ArgumentGroup, kind: ModelKind) -> None:
    if kind is ModelKind.ACCOMPANIMENT:
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
        help="T5's relative positions, or fixed sinusoids; by default the paper's choice",
    )
    _add(group, "dropout", type=float, help="dropout rate")


def _add_optimisation_arguments(group: argparse._ArgumentGroup) -> None:
    _add(group, "steps", type=int, help="number of updates")
    _add(group, "batch_size", type=int, help="clips per update, over all processes")
    _add(group, "micro_batch_size", type=int, help="clips that a process computes at once")
    _add(
        group,
        "warmup_steps",
        type=int,
        help="the learning rate is 1 / sqrt(max(step, this)); small models learn faster with less",
    )
    _add(group, "z_loss", type=float, help="weight of the z-loss")
    _add(group, "seed", type=int, help="seed of weights, order, crops and dropout")


def _add_checkpoint_arguments(group: argparse._ArgumentGroup) -> None:
    _add(group, "evaluate_every", type=int, help="steps between evaluations; 0 never evaluates")
    _add(group, "save_every", type=int, help="steps between checkpoints")
    _add(group, "log_every", type=int, help="steps between entries in TensorBoard")
    _add(group, "keep_last", type=int, help="number of last checkpoints to keep")
    _add(
        group,
        "best_metric",
        choices=("loss", "nll"),
        help="metric that decides which checkpoint is best",
    )
    _add(group, "patience", type=int, help="end after this many evaluations without improvement")


def _add_machine_arguments(group: argparse._ArgumentGroup) -> None:
    _add(group, "device", help='"cpu" or "cuda"; by default CUDA where available')
    _add(group, "dtype", choices=DTYPES, help="by default bfloat16 on CUDA, else float32")
    group.add_argument(
        "--compile", dest="compiled", action="store_true", help="compile the model first"
    )
    group.add_argument(
        "--gradient-checkpointing", action="store_true", help="use less memory and more time"
    )
    _add(group, "cache", metavar="FOLDER", help="keep the shards of a remote dataset here")


def _add(group: argparse._ActionsContainer, name: str, **how: Any) -> None:
    group.add_argument(f"--{name.replace('_', '-')}", default=getattr(TrainConfig, name), **how)
