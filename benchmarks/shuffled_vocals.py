"""Asks whether a model listens to the singer: S-SA against the same on shuffled vocals.

    python -m benchmarks.shuffled_vocals --work study --device cuda

Songs are composed, sung and prepared; then, for each seed, a model is trained on the dataset, and
one on the same records with the vocals of other clips. Both are scored on the true pairs of
held-out songs, and both accompany the sung stems of songs that are in no split, whose key and
tempo are known. What the folder holds already is not made again, so that the first part may run on
a machine with cores and the second on one with a GPU.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from benchmarks.training_runs import (
    TRAIN,
    VALIDATION,
    changed_dataset,
    default_view,
    singsong,
    train_all,
    unigram_nats,
    with_shuffled_vocals,
)
from evaluation.keys import estimate_key, key_agreement
from evaluation.tempo import estimate_tempo, tempo_agrees
from models.registry import load_acoustic
from schemas.manifest import read_manifest
from schemas.names import MANIFEST_NAME
from schemas.recipe import ModelSpec
from training.accompanist import Accompanist, Sampling
from training.generation import evaluation_mode
from training.loader import LoaderConfig, ShardDataset
from training.losses import token_losses
from training.presets import ACCOMPANIMENT
from training.stages import stage_of
from transforms.dsp.resample import resample
from transforms.dsp.synth import STEMS
from transforms.dsp.synth_score import PITCH_NAMES, Key

KINDS = ("true vocals", "shuffled vocals")
VOCALS, *BAND = STEMS


def make_songs(folder: Path, *, songs: int, seconds: float, seed: int) -> Path:
    if not (folder / "songs.json").exists():
        flags = ("--songs", songs, "--seconds", seconds, "--seed", seed)
        singsong("demo-songs", "--output", folder, *flags)
    return folder


def make_dataset(songs: Path, folder: Path, *, clip_seconds: float, acoustic: ModelSpec) -> Path:
    if not (folder / MANIFEST_NAME).exists():
        singsong(
            *("prepare", songs / "mixes", "--output", folder, "--clip-seconds", clip_seconds),
            *("--splits", f"{TRAIN}=90,{VALIDATION}=10", "--formats", "parquet"),
            *("--acoustic", acoustic),
        )
    return folder


def read_songs(folder: Path) -> list[dict[str, Any]]:
    songs: list[dict[str, Any]] = json.loads((folder / "songs.json").read_text())["songs"]
    return songs


def read_stem(folder: Path, song: dict[str, Any], stem: str) -> tuple[Any, int]:
    """Returns a stem, float32 [samples], and its rate."""
    audio, rate_hz = soundfile.read(folder / song["stems"][stem], dtype="float32", always_2d=True)
    return audio.mean(axis=1), rate_hz


def held_out_nats(accompanist: Accompanist, dataset: Path) -> list[float]:
    """Returns the nats a code of the held-out records: of all codes, semantic and coarse ones."""
    model = accompanist.model
    reading = LoaderConfig(batch_size=32, split=VALIDATION, shuffle=False, epochs=1)
    data = ShardDataset(str(dataset), default_view(), reading)
    stage = stage_of(data.featurizer)
    parts = []
    with torch.inference_mode(), evaluation_mode(model):
        for batch in data:
            source, target = (part.to(model.device) for part in stage.split(batch))
            _, nats = token_losses(stage.target_logits(model, source, target), target, z_loss=0.0)
            parts.append((nats, target >= stage.first_scored))
    nats, coarse = (torch.cat(part) for part in zip(*parts, strict=True))
    return [float(x.mean()) for x in (nats, nats[~coarse], nats[coarse])]


def agreement(heard: Any, song: dict[str, Any], *, rate_hz: int) -> list[float]:
    """Returns how well what is heard agrees with the key and the tempo of a song, 0 to 1 each."""
    tonic, mode = song["key"].split()
    key = Key(tonic=PITCH_NAMES.index(tonic), mode=mode)
    tempo = estimate_tempo(heard, sample_rate_hz=rate_hz)
    return [
        key_agreement(key, estimate_key(heard, sample_rate_hz=rate_hz)),
        float(tempo_agrees(song["tempo_bpm"], tempo)),
    ]


def played(accompanist: Accompanist, songs: Path, *, temperature: float, folder: Path) -> Any:
    """Returns what a model plays to each song, float32 [songs, samples] at 16 kHz."""
    all_songs = read_songs(songs)
    rate_hz = accompanist.acoustic.geometry.sample_rate_hz
    vocals = [read_stem(songs, song, VOCALS) for song in all_songs]
    heard = accompanist.accompany_each(
        [resample(audio, from_hz=own_hz, to_hz=rate_hz) for audio, own_hz in vocals],
        sample_rate_hz=rate_hz,
        seeds=range(len(vocals)),
        sampling=Sampling(temperature=temperature),
    )
    folder.mkdir(exist_ok=True)
    for song, audio in zip(all_songs, heard, strict=True):
        soundfile.write(folder / f"{song['name']}.flac", audio, rate_hz)
    return heard


def through_codec(acoustic: ModelSpec, *, songs: Path, cache: Path) -> list[float]:
    """Returns the agreement of the true instrumentals, as the coarse codes hold them."""
    if not cache.exists():
        codec = load_acoustic(acoustic, device="cpu", dtype="float32", batch_clips=1)
        own_hz = codec.geometry.sample_rate_hz
        rows = []
        for song in read_songs(songs):
            stems, rates = zip(*(read_stem(songs, song, stem) for stem in BAND), strict=True)
            heard = resample(np.sum(stems, axis=0), from_hz=rates[0], to_hz=own_hz)
            codes = codec.encode(heard[None])[..., : codec.geometry.coarse_codebooks]
            rows.append(agreement(codec.decode(codes)[0], song, rate_hz=own_hz))
        cache.write_text(json.dumps(np.mean(rows, axis=0).tolist()))
    values: list[float] = json.loads(cache.read_text())
    return values


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--work", type=Path, required=True, help="a folder for all that is made")
    parser.add_argument("--only-data", action="store_true", help="end before the training")
    parser.add_argument("--songs", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a song to train on")
    parser.add_argument("--clip-seconds", type=float, default=5.0)
    parser.add_argument("--coarse", type=int, default=2, help="codebooks: fewer, less to learn")
    parser.add_argument("--preset", choices=sorted(ACCOMPANIMENT), default="mini")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--warmup-steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held-out-songs", type=int, default=96)
    parser.add_argument("--held-out-seconds", type=float, default=10.0)
    parser.add_argument("--temperature", type=float, default=Sampling.temperature)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="compile the models to train")
    parser.add_argument("--at-once", type=int, default=2, help="processes side by side")
    return parser.parse_args()


def main() -> None:
    args = parsed_arguments()
    work, acoustic = args.work, ModelSpec.parse(f"lite,coarse={args.coarse}")
    songs = make_songs(work / "songs", songs=args.songs, seconds=args.seconds, seed=7)
    held_out = make_songs(
        work / "held-out", songs=args.held_out_songs, seconds=args.held_out_seconds, seed=8
    )
    dataset = make_dataset(
        songs, work / "dataset", clip_seconds=args.clip_seconds, acoustic=acoustic
    )
    ceiling = through_codec(acoustic, songs=held_out, cache=work / "ceiling.json")
    if args.only_data:
        return
    shuffle = partial(with_shuffled_vocals, seed=0)
    datasets = dict(
        zip(KINDS, (dataset, changed_dataset(dataset, work / "shuffled", shuffle)), strict=True)
    )
    runs = {
        (kind, seed): work / f"run-{kind.split()[0]}-{seed}"
        for seed in range(args.seeds)
        for kind in KINDS
    }
    flags: tuple[Any, ...] = ("--preset", args.preset, "--steps", args.steps)
    flags += ("--batch-size", args.batch_size, "--micro-batch-size", args.batch_size)
    flags += ("--warmup-steps", args.warmup_steps, "--device", args.device)
    flags += ("--evaluate-every", max(1, args.steps // 5), "--save-every", 0)
    flags += ("--compile",) if args.compile else ()
    train_all(
        {
            run: ("--data", datasets[kind], "--seed", seed, *flags)
            for (kind, seed), run in runs.items()
        },
        at_once=args.at_once,
    )
    figures = {}
    with ProcessPoolExecutor() as pool:
        for key, run in runs.items():
            accompanist = Accompanist.load(str(run), acoustic=acoustic, device=args.device)
            nats = held_out_nats(accompanist, dataset)
            heard = played(
                accompanist, held_out, temperature=args.temperature, folder=run / "accompanied"
            )
            measure = partial(agreement, rate_hz=accompanist.acoustic.geometry.sample_rate_hz)
            figures[key] = [*nats, *np.mean([*pool.map(measure, heard, read_songs(held_out))], 0)]

    clips = read_manifest(str(dataset)).splits[VALIDATION]["clips"]
    print(f"Nats a code of {clips} held-out clips; agreement on {args.held_out_songs} songs\n")
    print("| trained on | seed | all codes | semantic codes | coarse codes | key | tempo |")
    print("|---|---|---|---|---|---|---|")
    for (kind, seed), values in figures.items():
        print(_line(f"{kind} | {seed}", values))
    for kind in KINDS:
        of_kind = [values for (other, _), values in figures.items() if other == kind]
        print(_line(f"{kind} | mean", np.mean(of_kind, axis=0)))
    unigram = unigram_nats(dataset, default_view())
    values = [unigram[name] for name in ("loss", "semantic", "nll")]
    print(_line("nothing (unigram) | ", values) + " | |")
    print(_line("the true instrumental, from its coarse codes | | | | ", ceiling))


def _line(name: str, values: Iterable[float]) -> str:
    return f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |"


if __name__ == "__main__":
    sys.exit(main())
