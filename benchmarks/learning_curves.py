"""Trains a small model on a whole dataset and on a few of its clips, and plots both.

    python -m benchmarks.learning_curves MUSIC... --work curves --picture docs/learning_curves.png

MUSIC is prepared first. The model trained on everything must beat the best model without context;
the model trained on a few clips must get worse on held-out music as it overfits. Datasets and runs
that already exist in the folder are reused.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.support.training_log import logged
from benchmarks.training_runs import (
    TRAIN,
    VALIDATION,
    changed_dataset,
    default_view,
    singsong,
    train_all,
    unigram_nats,
)
from singsong.dataset.handle import open_dataset

WHAT = {"loss": "all codes", "nll": "coarse acoustic codes"}


def draw(path: Path, runs: dict[str, Path], unigram: dict[str, float]) -> None:
    """Plots the training and validation loss of each run."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(runs), figsize=(10, 3.8))
    for axis, (name, run) in zip(axes, runs.items(), strict=True):
        for tag, label in (("train/nll", "trained on"), ("validation/loss", "held out")):
            values = logged(run, tag)
            axis.plot(list(values), list(values.values()), label=label)
        axis.axhline(unigram["loss"], linestyle="--", color="grey", label="unigram, held out")
        axis.set(title=name, xlabel="steps", ylabel="nats per code")
        axis.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("music", nargs="+")
    parser.add_argument("--work", type=Path, required=True, help="folder for datasets and runs")
    parser.add_argument(
        "--parts", type=Path, help="folder of parts of datasets with the same recipe, to reuse"
    )
    parser.add_argument("--picture", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--clip-seconds", type=float, default=2.0)
    parser.add_argument("--few", type=int, default=32, help="number of clips for the second model")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--few-steps", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--warmup-steps", type=int, default=400)
    parser.add_argument("--at-once", type=int, default=2, help="number of runs in parallel")
    args = parser.parse_args()
    dataset = args.work / "dataset"
    singsong(
        *("prepare", *args.music, "--output", dataset, "--clip-seconds", args.clip_seconds),
        *("--splits", f"{TRAIN}=85,{VALIDATION}=15", "--formats", "parquet"),
        *(("--parts", args.parts) if args.parts else ()),
    )
    few = changed_dataset(dataset, args.work / "few", lambda table: table.slice(0, args.few))
    splits = open_dataset(str(dataset)).manifest.splits
    hours = splits[TRAIN].clips * args.clip_seconds / 3600
    runs = {
        f"{hours:.1f} hours": args.work / "run-all",
        f"{args.few} clips": args.work / "run-few",
    }
    flags = ("--preset", "tiny", "--batch-size", args.batch_size, "--log-every", 10)
    flags = (*flags, "--warmup-steps", args.warmup_steps)
    train_all(
        {
            run: ("--data", data, "--steps", steps, "--evaluate-every", steps // 10, *flags)
            for run, data, steps in zip(
                runs.values(), (dataset, few), (args.steps, args.few_steps), strict=True
            )
        },
        at_once=args.at_once,
    )
    unigram = unigram_nats(dataset, default_view())
    draw(args.picture, runs, unigram)
    print(f"held out: {splits[VALIDATION].clips} clips of {splits[VALIDATION].tracks} tracks")
    print("\n| nats per code | " + " | ".join(WHAT.values()) + " |\n|---|---|---|")
    print(_line("unigram, held out", unigram))
    for name, run in runs.items():
        held_out = {metric: logged(run, f"validation/{metric}") for metric in WHAT}
        best = min(held_out["loss"], key=held_out["loss"].__getitem__)
        last = max(held_out["loss"])
        for step in sorted({best, last}):
            values = {metric: held_out[metric][step] for metric in WHAT}
            print(_line(f"{name}, held out, step {step}", values))
        trained = logged(run, "train/nll")
        print(f"| {name}, trained on, step {max(trained)} | {trained[max(trained)]:.3f} | |")


def _line(name: str, values: dict[str, float]) -> str:
    return f"| {name} | " + " | ".join(f"{values[metric]:.3f}" for metric in WHAT) + " |"


if __name__ == "__main__":
    sys.exit(main())
