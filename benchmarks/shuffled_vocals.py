"""Tests whether a model uses the vocals: S-SA trained on true and on shuffled vocals.

    python -m benchmarks.shuffled_vocals --work study

Synthetic songs are prepared. Then, for each seed, one model is trained on the dataset, and one on
the same records with the vocals of other clips. Both are scored on true pairs of held-out songs.
Both also accompany further songs of known key and tempo, once from the vocal stem (isolated vocals)
and once from the vocals that the separator extracts from the mix (separated vocals, as in
training). Files that already exist in the folder are reused.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
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
from singsong.audio.resample import resample
from singsong.dataset.handle import open_dataset
from singsong.evaluation.keys import estimate_key, key_agreement
from singsong.evaluation.tempo import estimate_tempo, tempo_agrees
from singsong.generation.accompanist import Accompanist
from singsong.generation.sampling_config import Sampling
from singsong.models.registry import load_acoustic, load_separator
from singsong.schemas.arrays import FloatArray
from singsong.schemas.names import MANIFEST_NAME
from singsong.schemas.recipe import ModelSpec
from singsong.synth.score import PITCH_NAMES, Key
from singsong.synth.song import STEMS
from singsong.training.accompaniment_model import target_logits
from singsong.training.loader import LoaderConfig, ShardDataset
from singsong.training.losses import token_losses
from singsong.training.presets import ACCOMPANIMENT
from singsong.training.t5_layers import evaluation_mode

KINDS = ("true vocals", "shuffled vocals")
VOCALS, *BAND = STEMS
Models = Mapping[str, ModelSpec]


def make_songs(
    folder: Path, *, songs: int, seconds: float, seed: int, tempi: Sequence[float]
) -> Path:
    if not (folder / "songs.json").exists():
        flags = ("--songs", songs, "--seconds", seconds, "--seed", seed)
        given = (word for tempo in tempi for word in ("--tempo", tempo))
        singsong("demo-songs", "--output", folder, *flags, *given)
    return folder


def fit_codebooks(songs: Path, folder: Path, *, codes: Mapping[str, int], coarse: int) -> Models:
    """Returns the codec and the encoder, fitted to mixes and vocals of the first songs."""
    found = {}
    for role, options in {"semantic": "", "acoustic": f",coarse={coarse}"}.items():
        output = folder / f"{role}.safetensors"
        if not output.exists():
            music = (songs / "mixes/song-00*", songs / "stems/song-00*/vocals.flac")
            flags = ("--codes", codes[role], "--max-frames", 100_000)
            singsong("fit", role, *music, "--output", output, *flags)
        found[role] = ModelSpec.parse(f"lite:{output}{options}")
    return found


def make_dataset(songs: Path, folder: Path, *, clip_seconds: float, models: Models) -> Path:
    if not (folder / MANIFEST_NAME).exists():
        singsong(
            *("prepare", songs / "mixes", "--output", folder, "--clip-seconds", clip_seconds),
            *("--splits", f"{TRAIN}=90,{VALIDATION}=10", "--formats", "parquet"),
            *(word for role, model in models.items() for word in (f"--{role}", model)),
        )
    return folder


def read_songs(folder: Path) -> list[dict[str, Any]]:
    songs: list[dict[str, Any]] = json.loads((folder / "songs.json").read_text())["songs"]
    return songs


def read_mono(path: Path, *, rate_hz: int) -> FloatArray:
    """Returns the mono audio of a file, float32 [samples], at this sample rate."""
    audio, own_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return resample(audio.mean(axis=1), from_hz=own_hz, to_hz=rate_hz)


def all_vocals(folder: Path, *, rate_hz: int) -> dict[str, list[FloatArray]]:
    """Returns the isolated and the separated vocals of each song, float32 [samples]."""
    separator = load_separator(
        ModelSpec.parse("spleeter"), device="cpu", dtype="float32", batch_clips=1
    )
    own_hz = separator.sample_rate_hz
    isolated, separated = [], []
    for song in read_songs(folder):
        isolated.append(read_mono(folder / song["stems"][VOCALS], rate_hz=rate_hz))
        mix = read_mono(folder / song["mix"], rate_hz=own_hz)
        vocals = separator.separate_vocals(mix[None])[0]
        separated.append(resample(vocals, from_hz=own_hz, to_hz=rate_hz))
    return {"isolated": isolated, "separated": separated}


def held_out_nats(accompanist: Accompanist, dataset: Path) -> list[float]:
    """Returns the nats per code of held-out records: of all, the semantic and the coarse codes."""
    model = accompanist.model
    reading = LoaderConfig(batch_size=32, split=VALIDATION, shuffle=False, epochs=1)
    data = ShardDataset(str(dataset), default_view(), reading)
    parts = []
    with torch.inference_mode(), evaluation_mode(model):
        for batch in data:
            source, target = (
                batch[name].to(model.device) for name in ("input_tokens", "target_tokens")
            )
            _, nats = token_losses(target_logits(model, source, target), target, z_loss=0.0)
            parts.append((nats, target >= data.featurizer.first_scored))
    nats, coarse = (torch.cat(part) for part in zip(*parts, strict=True))
    return [float(x.mean()) for x in (nats, nats[~coarse], nats[coarse])]


def agreement(audio: FloatArray, song: dict[str, Any], *, rate_hz: int) -> list[float]:
    """Returns how well audio agrees with the key and with the tempo of a song, each 0 to 1."""
    tonic, mode = song["key"].split()
    key = Key(tonic=PITCH_NAMES.index(tonic), mode=mode)
    tempo = estimate_tempo(audio, sample_rate_hz=rate_hz)
    return [
        key_agreement(key, estimate_key(audio, sample_rate_hz=rate_hz)),
        float(tempo_agrees(song["tempo_bpm"], tempo)),
    ]


def score(
    run: Path,
    *,
    songs: Path,
    dataset: Path,
    models: Models,
    temperature: float,
    device: str,
) -> list[float]:
    """Returns the nats of all, semantic and coarse codes, then key and tempo for both vocals."""
    torch.set_num_threads(1)
    accompanist = Accompanist.load(str(run), **models, device=device)
    figures = held_out_nats(accompanist, dataset)
    rate_hz = accompanist.acoustic.geometry.sample_rate_hz
    for kind, vocals in all_vocals(songs, rate_hz=rate_hz).items():
        heard = accompanist.accompany_each(
            vocals,
            sample_rate_hz=rate_hz,
            seeds=range(len(vocals)),
            sampling=Sampling(temperature=temperature),
        )
        folder = run / kind
        folder.mkdir(exist_ok=True)
        rows = []
        for song, audio in zip(read_songs(songs), heard, strict=True):
            soundfile.write(folder / f"{song['name']}.flac", audio, rate_hz)
            rows.append(agreement(audio, song, rate_hz=rate_hz))
        figures += np.mean(rows, axis=0).tolist()
    return figures


def through_codec(acoustic: ModelSpec, songs: Path) -> list[float]:
    """Returns the agreement of the true instrumentals, decoded from their coarse codes."""
    codec = load_acoustic(acoustic, device="cpu", dtype="float32", batch_clips=1)
    rate_hz = codec.geometry.sample_rate_hz
    rows = []
    for song in read_songs(songs):
        stems = [read_mono(songs / song["stems"][stem], rate_hz=rate_hz) for stem in BAND]
        codes = codec.encode(np.sum(stems, axis=0)[None])[..., : codec.geometry.coarse_codebooks]
        rows.append(agreement(codec.decode(codes)[0], song, rate_hz=rate_hz))
    means: list[float] = np.mean(rows, axis=0).tolist()
    return means


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--work", type=Path, required=True, help="folder for all output")
    parser.add_argument("--songs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a song to train on")
    parser.add_argument(
        "--tempo",
        type=float,
        nargs="*",
        default=[60, 180],
        help="tempi of the songs, used in turn; drawn if empty. Half a clip should be a whole "
        "number of beats at each",
    )
    parser.add_argument("--semantic-codes", type=int, default=256)
    parser.add_argument(
        "--acoustic-codes", type=int, default=64, help="size of each acoustic codebook"
    )
    parser.add_argument(
        "--coarse",
        type=int,
        default=2,
        help="number of coarse codebooks; fewer are easier to learn",
    )
    parser.add_argument("--clip-seconds", type=float, default=4.0)
    parser.add_argument("--preset", choices=sorted(ACCOMPANIMENT), default="tiny")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--warmup-steps", type=int, default=400)
    parser.add_argument("--relative-positions", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held-out-songs", type=int, default=96)
    parser.add_argument("--held-out-seconds", type=float, default=10.0)
    parser.add_argument("--temperature", type=float, default=Sampling.temperature)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="faster; needs a C++ compiler")
    parser.add_argument("--at-once", type=int, default=2, help="number of processes in parallel")
    return parser.parse_args()


def train_and_score(args: argparse.Namespace) -> None:
    """Creates missing datasets and runs, and prints the table."""
    work, compose = args.work, partial(make_songs, tempi=args.tempo)
    songs = compose(work / "songs", songs=args.songs, seconds=args.seconds, seed=7)
    held_out = compose(
        work / "held-out", songs=args.held_out_songs, seconds=args.held_out_seconds, seed=8
    )
    codes = {"semantic": args.semantic_codes, "acoustic": args.acoustic_codes}
    models = fit_codebooks(songs, work, codes=codes, coarse=args.coarse)
    dataset = make_dataset(songs, work / "dataset", clip_seconds=args.clip_seconds, models=models)
    shuffle = partial(with_shuffled_vocals, seed=0)
    datasets = dict(
        zip(KINDS, (dataset, changed_dataset(dataset, work / "shuffled", shuffle)), strict=True)
    )
    runs = {
        (kind, seed): work / f"run-{kind.split()[0]}-{seed}"
        for seed in range(args.seeds)
        for kind in KINDS
    }
    flags = ("--preset", args.preset, "--steps", args.steps, "--batch-size", args.batch_size)
    flags = (*flags, "--warmup-steps", args.warmup_steps, "--dropout", 0, "--device", args.device)
    flags = (*flags, "--evaluate-every", 0)  # they are scored below
    flags = (*flags, *(("--relative-positions",) if args.relative_positions else ()))
    flags = (*flags, *(("--compile",) if args.compile else ()))
    train_all(
        {
            run: ("--data", datasets[kind], "--seed", seed, *flags)
            for (kind, seed), run in runs.items()
        },
        at_once=args.at_once,
    )
    scored = partial(
        score,
        songs=held_out,
        dataset=dataset,
        models=models,
        temperature=args.temperature,
        device=args.device,
    )
    with ProcessPoolExecutor(args.at_once) as pool:
        figures = dict(zip(runs, pool.map(scored, runs.values()), strict=True))
    report(figures, dataset=dataset, ceiling=through_codec(models["acoustic"], held_out))


def report(
    figures: Mapping[tuple[str, int], list[float]], *, dataset: Path, ceiling: list[float]
) -> None:
    heads = ("trained on", "seed", "all codes", "semantic", "coarse")
    heads = (*heads, "key, isolated", "tempo, isolated", "key, separated", "tempo, separated")
    print(
        f"Nats of {open_dataset(str(dataset)).manifest.splits[VALIDATION].clips} held-out clips\n"
    )
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for (kind, seed), values in figures.items():
        print(_line(f"{kind} | {seed}", values))
    for kind in KINDS:
        of_kind = [values for (other, _), values in figures.items() if other == kind]
        print(_line(f"{kind} | mean", np.mean(of_kind, axis=0)))
    unigram = unigram_nats(dataset, default_view())
    values = [unigram[name] for name in ("loss", "semantic", "nll")]
    print(_line("no context (unigram) | ", values) + " | | | |")
    print(_line("the true instrumental, from its coarse codes | | | | ", [*ceiling, *ceiling]))


def _line(name: str, values: Iterable[float]) -> str:
    return f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |"


if __name__ == "__main__":
    train_and_score(parsed_arguments())
