"""The flags that describe a recipe."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace

from singsong.pipelines.runner_arguments import add_device_argument, device_from
from singsong.schemas.recipe import (
    DTYPES,
    FORMATS,
    NO_FILTER,
    WINDOW_KINDS,
    DatasetRecipe,
    EncodeRecipe,
    LoudnessFilter,
    LoudnessWindow,
    ModelSpec,
)
from singsong.schemas.separation import NO_SEPARATION_LIMITS, SeparationLimits

PROFILES: Mapping[str, Mapping[str, str]] = {
    "lite": {"separator": "spleeter", "acoustic": "lite:2", "semantic": "lite:1"},
    "paper": {
        "separator": "demucs:htdemucs",
        "acoustic": "dac:descript/dac_16khz",
        "semantic": "w2v-bert:facebook/w2v-bert-2.0,layer=7",
    },
    "hifi": {
        "separator": "demucs:htdemucs",
        "acoustic": "dac:descript/dac_44khz",
        "semantic": "w2v-bert:facebook/w2v-bert-2.0,layer=7",
    },
}


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a `DatasetRecipe`."""
    models = parser.add_argument_group("models")
    add_model_arguments(models, profile="lite")
    models.add_argument(
        "--stereo",
        action="store_true",
        help="give the separator both channels, and average the vocals; the paper separates mono",
    )
    _add_clip_arguments(parser.add_argument_group("clips"))
    _add_dataset_arguments(parser.add_argument_group("dataset"))


def add_model_arguments(group: argparse._ActionsContainer, *, profile: str | None) -> None:
    """Adds the flags of the models and of how they run.

    Args:
        group: Where to.
        profile: The default of `--profile`; None lets `models_from` return only some roles.
    """
    add_spec_arguments(group, profile=profile)
    defaults = EncodeRecipe()
    add_device_argument(group)
    group.add_argument(
        "--dtype", choices=DTYPES, default=defaults.dtype, help="what the networks compute in"
    )
    group.add_argument(
        "--batch-clips",
        type=int,
        default=defaults.batch_clips,
        help="clips in each batch: 1 is fastest on a CPU, 8 or more on a GPU",
    )


def add_spec_arguments(group: argparse._ActionsContainer, *, profile: str | None) -> None:
    """Adds the flags that name models, see `models_from`."""
    spec = "NAME[:SOURCE][,KEY=VALUE...]"
    text = "a set of models" if profile else "a set of models; lite if no model is named"
    group.add_argument("--profile", choices=sorted(PROFILES), default=profile, help=text)
    group.add_argument("--separator", metavar=spec, help="instead of the profile's; or 'none'")
    group.add_argument("--acoustic", metavar=spec, help="instead of the profile's")
    group.add_argument("--semantic", metavar=spec, help="instead of the profile's")


def models_from(args: argparse.Namespace) -> dict[str, ModelSpec]:
    """Returns the models that the flags name, by role; a separator may be left out.

    Raises:
        ValueError: An option is not `key=value`, or is given twice.
    """
    named = {role: getattr(args, role) for role in PROFILES["lite"] if getattr(args, role)}
    profile = args.profile or (None if named else "lite")
    chosen = {**PROFILES[profile], **named} if profile else named
    return {
        role: _numbered(role, ModelSpec.parse(text))
        for role, text in chosen.items()
        if (role, text) != ("separator", "none")
    }


def _numbered(role: str, spec: ModelSpec) -> ModelSpec:
    """Returns a spec of `lite` with the number of the newest weights, which datasets then keep."""
    newest = ModelSpec.parse(PROFILES["lite"][role])
    if spec.name != newest.name or spec.source is not None:
        return spec
    return replace(spec, source=newest.source)


def _add_clip_arguments(group: argparse._ArgumentGroup) -> None:
    defaults, window = EncodeRecipe(), LoudnessWindow()
    for name, default, text in (
        ("--clip-seconds", defaults.clip_seconds, "length of a clip"),
        ("--noise-sigma", defaults.noise_sigma, "standard deviation of the noise on the vocals"),
        ("--noise-seed", defaults.noise_seed, "seed of the noise"),
        ("--window-seconds", window.seconds, "length of the window of the peak RMS"),
    ):
        group.add_argument(name, type=type(default), default=default, help=text)
    group.add_argument(
        "--window-kind", choices=WINDOW_KINDS, default=window.kind, help="shape of that window"
    )
    add_threshold_arguments(group)
    _add_separation_arguments(group)
    group.add_argument("--no-filter", action="store_true", help="keep every clip (NoFilt)")
    group.add_argument(
        "--encode-dropped",
        action="store_true",
        help="encode dropped clips too, so that a looser filter later needs no separation",
    )
    group.add_argument(
        "--store-audio", action="store_true", help="store the audio as FLAC beside the codes"
    )


def _add_separation_arguments(group: argparse._ArgumentGroup) -> None:
    limits = SeparationLimits()
    for name, text in (
        ("max_lag_ms", "are late or early by more than this"),
        ("min_gain_in_mix", "are in the mix with a smaller gain than this"),
        ("max_excess_fraction", "have more of their energy than this where they outweigh the mix"),
        ("max_above_mix_db", "rise above the mix around them by more than this, dB"),
    ):
        group.add_argument(
            "--" + name.replace("_", "-"),
            type=float,
            default=getattr(limits, name),
            help=f"fail clips whose vocals {text}",
        )
    group.add_argument(
        "--no-separation-check",
        action="store_true",
        help="fail no clip for its vocals, and test the separator for their shape alone",
    )


def _separation_from(args: argparse.Namespace) -> SeparationLimits:
    if args.no_separation_check:
        return NO_SEPARATION_LIMITS
    return SeparationLimits(**{name: getattr(args, name) for name in vars(SeparationLimits())})


def add_threshold_arguments(group: argparse._ActionsContainer) -> None:
    """Adds the thresholds of the loudness filter."""
    thresholds = LoudnessFilter()
    group.add_argument(
        "--min-instrumental-db",
        type=float,
        default=thresholds.min_instrumental_db,
        help="drop clips whose instrumental has a lower peak RMS than this, dBFS",
    )
    group.add_argument(
        "--max-vocals-above-db",
        type=float,
        default=thresholds.max_vocals_above_db,
        help="drop clips whose vocals are louder than the instrumental by more than this, dB",
    )


def thresholds_from(args: argparse.Namespace) -> LoudnessFilter:
    """Returns the loudness filter that the flags describe.

    Raises:
        ValueError: A threshold is not a number.
    """
    return LoudnessFilter(
        min_instrumental_db=args.min_instrumental_db, max_vocals_above_db=args.max_vocals_above_db
    )


def _add_dataset_arguments(group: argparse._ArgumentGroup) -> None:
    defaults = DatasetRecipe()
    group.add_argument(
        "--splits",
        type=_splits,
        default=defaults.splits,
        metavar="NAME=WEIGHT,...",
        help="splits of the tracks, chosen by their content",
    )
    group.add_argument(
        "--clips-per-shard",
        type=int,
        default=defaults.clips_per_shard,
        help="about how many clips a shard holds",
    )
    group.add_argument(
        "--formats",
        type=lambda text: tuple(text.split(",")),
        default=defaults.formats,
        metavar=",".join(FORMATS),
        help="formats of the shards",
    )


def recipe_from(args: argparse.Namespace) -> DatasetRecipe:
    """Returns the recipe that the flags describe.

    Raises:
        ValueError: A value is outside its range.
    """
    asked = NO_FILTER if args.no_filter else thresholds_from(args)
    models = models_from(args)
    encode = EncodeRecipe(
        clip_seconds=args.clip_seconds,
        separator=models.get("separator"),
        stereo=args.stereo,
        acoustic=models["acoustic"],
        semantic=models["semantic"],
        noise_sigma=args.noise_sigma,
        noise_seed=args.noise_seed,
        window=LoudnessWindow(seconds=args.window_seconds, kind=args.window_kind),
        separation=_separation_from(args),
        store_audio=args.store_audio,
        device=device_from(args),
        dtype=args.dtype,
        batch_clips=args.batch_clips,
    )
    return DatasetRecipe(
        encode=encode,
        dataset_filter=asked,
        splits=args.splits,
        clips_per_shard=args.clips_per_shard,
        formats=args.formats,
    )


def _splits(text: str) -> tuple[tuple[str, float], ...]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    try:
        return tuple((name, float(weight)) for name, _, weight in pairs)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"splits are NAME=WEIGHT,..., such as train=98,test=2; found {text!r}"
        ) from None
