"""Asks whether a model listens to the singer: S-SA against the same on shuffled vocals.

    python -m benchmarks.shuffled_vocals --work study

Songs are composed, sung and prepared; then, for each seed, a model is trained on the dataset, and
one on the same records with the vocals of other clips. Both are scored on the true pairs of
held-out songs, and both accompany the sung stems of songs that are in no split, whose key and
tempo are known. What the folder holds already is not made again.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
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
from schemas.recipe import ModelSpec
from training.accompanist import Accompanist, Sampling
from training.generation import evaluation_mode
from training.loader import LoaderConfig, ShardDataset
from training.losses import token_losses
from training.stages import stage_of
from transforms.dsp.resample import resample
from transforms.dsp.synth_score import PITCH_NAMES, Key

KINDS = ("true vocals", "shuffled vocals")
MEASURES = ("key", "tempo")


def make_songs(
    folder: Path, *, songs: int, seconds: float, seed: int, tempi: Sequence[float]
) -> Path:
    if not (folder / "songs.json").exists():
        flags = ("--songs", songs, "--seconds", seconds, "--seed", seed)
        given = (word for tempo in tempi for word in ("--tempo", tempo))
        singsong("demo-songs", "--output", folder, *flags, *given)
    return folder


def code_models(
    songs: Path, folder: Path, *, codes: int | None, coarse: int
) -> dict[str, ModelSpec]:
    """Returns the models behind the codes: ours, or as many codes fitted to mixes and voices."""
    found = {}
    for kind, options in {"semantic": "", "acoustic": f",coarse={coarse}"}.items():
        source = ""
        if codes is not None:
            output = folder / f"{kind}.safetensors"
            if not output.exists():
                music = (songs / "mixes", songs / "stems/*/vocals.flac")
                flags = ("--codes", codes, "--max-frames", 100_000)
                singsong("fit", kind, *music, "--output", output, *flags)
            source = f":{output}"
        found[kind] = ModelSpec.parse(f"lite{source}{options}")
    return found


def held_out_nats(
    run: Path, *, dataset: Path, models: dict[str, ModelSpec], steps: int
) -> dict[str, float]:
    """Returns the nats a code that a model leaves of the held-out records, by kind of code."""
    torch.set_num_threads(1)
    model = Accompanist.load(f"{run}/checkpoints/step-{steps:08}/model", **models).model
    reading = LoaderConfig(batch_size=32, split=VALIDATION, shuffle=False, epochs=1)
    data = ShardDataset(str(dataset), default_view(), reading)
    stage = stage_of(data.featurizer)
    parts = []
    with torch.inference_mode(), evaluation_mode(model):
        for batch in data:
            source, target = stage.split(batch)
            _, nats = token_losses(stage.target_logits(model, source, target), target, z_loss=0.0)
            parts.append((nats, target >= stage.first_scored))
    nats, coarse = (torch.cat(part) for part in zip(*parts, strict=True))
    return {
        "all": float(nats.mean()),
        "semantic": float(nats[~coarse].mean()),
        "coarse": float(nats[coarse].mean()),
    }


def agreement(audio: Any, rate_hz: int, song: dict[str, Any]) -> dict[str, float]:
    """Returns how well what is heard agrees with what the song is, 0 to 1 each."""
    tonic, mode = song["key"].split()
    key = Key(tonic=PITCH_NAMES.index(tonic), mode=mode)
    tempo = estimate_tempo(audio, sample_rate_hz=rate_hz)
    return {
        "key": key_agreement(key, estimate_key(audio, sample_rate_hz=rate_hz)),
        "tempo": float(tempo_agrees(song["tempo_bpm"], tempo)),
    }


def read_stems(folder: Path, song: dict[str, Any]) -> tuple[Any, Any, int]:
    """Returns vocals and instrumental, float32 [samples] each, and their rate."""
    sounds = {}
    for name, path in song["stems"].items():
        audio, rate_hz = soundfile.read(folder / path, dtype="float32", always_2d=True)
        sounds[name] = audio.mean(axis=1)
    vocals = sounds.pop("vocals")
    return vocals, np.sum(list(sounds.values()), axis=0), rate_hz


def accompanied(
    run: Path, *, songs: Path, models: dict[str, ModelSpec], temperature: float
) -> list[dict[str, float]]:
    """Returns the agreement of what a run plays to each song; it is written beside the run."""
    torch.set_num_threads(1)
    accompanist = Accompanist.load(str(run), **models)
    rows = []
    for number, song in enumerate(read_songs(songs)):
        vocals, _, rate_hz = read_stems(songs, song)
        [heard] = accompanist.accompany(
            vocals,
            sample_rate_hz=rate_hz,
            seeds=[number],
            sampling=Sampling(temperature=temperature),
        )
        sounds = run / "accompanied"
        sounds.mkdir(exist_ok=True)
        soundfile.write(sounds / f"{song['name']}.flac", heard, rate_hz)
        rows.append(agreement(heard, rate_hz, song))
    return rows


def through_codec(acoustic: ModelSpec, *, songs: Path) -> list[dict[str, float]]:
    """Returns the agreement of the true instrumentals, as the coarse codes hold them."""
    torch.set_num_threads(1)
    codec = load_acoustic(acoustic, device="cpu", dtype="float32", batch_clips=1)
    own_hz = codec.geometry.sample_rate_hz
    rows = []
    for song in read_songs(songs):
        _, instrumental, rate_hz = read_stems(songs, song)
        codes = codec.encode(resample(instrumental, from_hz=rate_hz, to_hz=own_hz)[None])
        [heard] = codec.decode(codes[..., : codec.geometry.coarse_codebooks])
        rows.append(agreement(heard, own_hz, song))
    return rows


def read_songs(folder: Path) -> list[dict[str, Any]]:
    songs: list[dict[str, Any]] = json.loads((folder / "songs.json").read_text())["songs"]
    return songs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--work", type=Path, required=True, help="a folder for all that is made")
    parser.add_argument("--songs", type=int, default=640)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a song to train on")
    parser.add_argument(
        "--tempo", type=float, action="append", default=[], help="as in demo-songs: drawn if none"
    )
    parser.add_argument("--clip-seconds", type=float, default=2.0)
    parser.add_argument("--codes", type=int, help="in codebooks fitted to the songs; none: ours")
    parser.add_argument("--coarse", type=int, default=2, help="codebooks: fewer, less to learn")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--warmup-steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held-out-songs", type=int, default=24)
    parser.add_argument("--held-out-seconds", type=float, default=10.0)
    parser.add_argument("--temperature", type=float, default=Sampling.temperature)
    parser.add_argument("--at-once", type=int, default=2, help="processes side by side")
    args = parser.parse_args()
    work = args.work
    compose = partial(make_songs, tempi=args.tempo)
    songs = compose(work / "songs", songs=args.songs, seconds=args.seconds, seed=7)
    held_out = compose(
        work / "held-out", songs=args.held_out_songs, seconds=args.held_out_seconds, seed=8
    )
    models = code_models(songs, work, codes=args.codes, coarse=args.coarse)
    dataset = work / "dataset"
    singsong(
        *("prepare", songs / "mixes", "--output", dataset, "--clip-seconds", args.clip_seconds),
        *("--splits", f"{TRAIN}=90,{VALIDATION}=10", "--formats", "parquet"),
        *(word for role, model in models.items() for word in (f"--{role}", model)),
    )
    shuffle = partial(with_shuffled_vocals, seed=0)
    datasets = dict(
        zip(KINDS, (dataset, changed_dataset(dataset, work / "shuffled", shuffle)), strict=True)
    )
    runs = {
        (kind, seed): work / f"run-{kind.split()[0]}-{seed}"
        for seed in range(args.seeds)
        for kind in KINDS
    }
    flags = ("--preset", "tiny", "--batch-size", args.batch_size, "--steps", args.steps)
    flags = (*flags, "--warmup-steps", args.warmup_steps, "--dropout", 0)
    flags = (*flags, "--evaluate-every", max(1, args.steps // 5))
    train_all(
        {
            run: ("--data", datasets[kind], "--seed", seed, *flags)
            for (kind, seed), run in runs.items()
        },
        at_once=args.at_once,
    )
    score = partial(held_out_nats, dataset=dataset, models=models, steps=args.steps)
    play = partial(accompanied, songs=held_out, models=models, temperature=args.temperature)
    with ProcessPoolExecutor(args.at_once) as pool:
        nats = pool.map(score, runs.values())
        played = pool.map(play, runs.values())
        ceiling = pool.submit(through_codec, models["acoustic"], songs=held_out).result()
        figures = {
            run: [*of_codes.values(), *_means(rows)]
            for run, of_codes, rows in zip(runs, nats, played, strict=True)
        }

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
    values = " | ".join(f"{unigram[name]:.3f}" for name in ("loss", "semantic", "nll"))
    print(f"| nothing (unigram) | | {values} | | |")
    values = " | ".join(f"{value:.3f}" for value in _means(ceiling))
    print(f"| the true instrumental, from its coarse codes | | | | | {values} |")


def _means(rows: list[dict[str, float]]) -> list[float]:
    return [float(np.mean([row[measure] for row in rows])) for measure in MEASURES]


def _line(name: str, values: Iterable[float]) -> str:
    return f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |"


if __name__ == "__main__":
    sys.exit(main())
