"""Asks whether a model listens to the singer: S-SA against the same on shuffled vocals.

    python -m benchmarks.shuffled_vocals --work study

Songs of two tempi are composed and sung, codebooks are fitted to them, and they are prepared; then,
for each seed, a model is trained on the dataset, and one on the same records with the vocals of
other clips. Both are scored on the true pairs of held-out songs, and both accompany the sung stems
of songs that are in no split, whose key and tempo are known. What the folder holds already is not
made again.
"""

import argparse
import json
import sys
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
from tests.trained import logged
from training.accompanist import Accompanist, Sampling
from transforms.dsp.resample import resample
from transforms.dsp.synth_score import PITCH_NAMES, Key

TEMPI_BPM = (60, 150)
"""Two seconds are whole beats of both, so that clips begin on one, as windows of theirs do."""
KINDS = ("true vocals", "shuffled vocals")
MEASURES = ("key", "tempo")


def make_songs(folder: Path, *, songs: int, seconds: float, seed: int) -> Path:
    if not (folder / "songs.json").exists():
        flags = ("--songs", songs, "--seconds", seconds, "--seed", seed)
        tempi = (word for tempo in TEMPI_BPM for word in ("--tempo", tempo))
        singsong("demo-songs", "--output", folder, *flags, *tempi)
    return folder


def fit_codebooks(songs: Path, folder: Path, *, codes: int) -> dict[str, Path]:
    """Returns the files of codebooks for mixes and voices like those of the songs, by kind."""
    files = {kind: folder / f"{kind}.safetensors" for kind in ("semantic", "acoustic")}
    for kind, output in files.items():
        if not output.exists():
            music = (songs / "mixes", songs / "stems/*/vocals.flac")
            flags = ("--codes", codes, "--max-frames", 100_000)
            singsong("fit", kind, *music, "--output", output, *flags)
    return files


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
    parser.add_argument("--songs", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=12.0, help="of a song to train on")
    parser.add_argument("--clip-seconds", type=float, default=4.0)
    parser.add_argument("--codes", type=int, default=256, help="fewer, less to learn")
    parser.add_argument("--coarse", type=int, default=2, help="codebooks: fewer, less to learn")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--warmup-steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held-out-songs", type=int, default=48)
    parser.add_argument("--held-out-seconds", type=float, default=10.0)
    parser.add_argument("--temperature", type=float, default=Sampling.temperature)
    parser.add_argument("--at-once", type=int, default=2, help="processes side by side")
    args = parser.parse_args()
    work = args.work
    songs = make_songs(work / "songs", songs=args.songs, seconds=args.seconds, seed=7)
    held_out = make_songs(
        work / "held-out", songs=args.held_out_songs, seconds=args.held_out_seconds, seed=8
    )
    codebooks = fit_codebooks(songs, work, codes=args.codes)
    models = {
        "acoustic": ModelSpec.parse(f"lite:{codebooks['acoustic']},coarse={args.coarse}"),
        "semantic": ModelSpec.parse(f"lite:{codebooks['semantic']}"),
    }
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
    play = partial(accompanied, songs=held_out, models=models, temperature=args.temperature)
    with ProcessPoolExecutor(args.at_once) as pool:
        played = dict(zip(runs, pool.map(play, runs.values()), strict=True))
        ceiling = pool.submit(through_codec, models["acoustic"], songs=held_out).result()

    clips = read_manifest(str(dataset)).splits[VALIDATION]["clips"]
    print(f"NLL of {clips} held-out clips; agreement on {args.held_out_songs} songs\n")
    print("| | seed | nats, all codes | nats, coarse codes | key agreement | tempo agreement |")
    print("|---|---|---|---|---|---|")
    for (kind, seed), run in runs.items():
        nats = [logged(run, f"validation/{metric}")[args.steps] for metric in ("loss", "nll")]
        print(_line(f"{kind} | {seed}", [*nats, *_means(played[kind, seed])]))
    for kind in KINDS:
        every = [row for (other, _), rows in played.items() if other == kind for row in rows]
        nats = [
            np.mean([logged(runs[kind, seed], f"validation/{metric}")[args.steps]
                     for seed in range(args.seeds)])
            for metric in ("loss", "nll")
        ]  # fmt: skip
        print(_line(f"{kind} | mean", [*nats, *_means(every)]))
    unigram = unigram_nats(dataset, default_view())
    print(f"| unigram | | {unigram['loss']:.3f} | {unigram['nll']:.3f} | | |")
    key, tempo = _means(ceiling)
    print(f"| the true instrumental, coarse codes | | | | {key:.3f} | {tempo:.3f} |")


def _means(rows: list[dict[str, float]]) -> list[float]:
    return [float(np.mean([row[measure] for row in rows])) for measure in MEASURES]


def _line(name: str, values: list[float]) -> str:
    return f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |"


if __name__ == "__main__":
    sys.exit(main())
