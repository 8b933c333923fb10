"""One small dataset, 20 steps of training and one accompanied file, and their digests.

    OMP_NUM_THREADS=1 python -m tests.support.golden

prints what `tests/test_golden.py` holds for this machine. Everything goes through the command
line, from songs composed here, on the CPU with one thread.
"""

import contextlib
import hashlib
import json
import re
import sys
import tempfile
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile
import torch
from safetensors.torch import load_file

from singsong.commands import cli
from singsong.dataset.manifest import Manifest, read_manifest
from tests.support.accompanying import save_accompaniment
from tests.support.numeric_machine import numeric_fingerprint

STEPS = 20
_PLACES = ("data", "output", "cache", "start_from")  # of a training config
_RATE_HZ = 44100
_HASH, _PART = re.compile(r"[0-9a-f]{12,64}"), re.compile(r"parts/[0-9a-f]{2}")


def measure(folder: Path) -> dict[str, Any]:
    """Makes everything in an empty folder and returns its digests.

    Returns:
        "machine": the numeric fingerprint; "fixed": what no rounding can change; "exact": digests
        of bytes that passed through floating point.
    """
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(sys.stderr):
        fixed, exact = {}, {}
        for part in (_measure_dataset, _measure_training, _measure_accompaniment):
            more_fixed, more_exact = part(folder)
            fixed.update(more_fixed)
            exact.update(more_exact)
    return {"machine": numeric_fingerprint(), "fixed": fixed, "exact": exact}


def _measure_dataset(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    _write_music(folder)
    _run("prepare", folder / "songs/mixes", "--output", folder / "dataset", *_PREPARE)
    manifest = read_manifest(str(folder / "dataset"))
    stored = json.loads((folder / "dataset/manifest.json").read_text())
    (parquet,) = [shard for shard in manifest.shards if shard.format == "parquet"]
    rows = pq.read_table(folder / "dataset" / parquet.path)
    beat = _sha256(folder / "songs/mixes/beat.wav")
    names = _files(folder / "dataset")
    fixed = {
        "counts": stored["counts"],
        "splits": stored["splits"],
        "weights": manifest.weights,
        "recipe": _json_sha256(manifest.recipe),
        "files": sorted(_PART.sub("parts/*", _HASH.sub("*", name)) for name in names),
        "columns": rows.column_names,
        "ids_in_order": rows["clip_id"].to_pylist() == _expected_ids(folder / "songs/mixes"),
        "beat": [row for row in rows["clip_id"].to_pylist() if row.startswith(beat[:32])],
    }
    return fixed, {"dataset_digest": manifest.dataset_digest, **_dataset_bytes(folder, manifest)}


_PREPARE = ("--clip-seconds", "1", "--splits", "train=1", "--mode", "in_memory", "--device", "cpu")


def _dataset_bytes(folder: Path, manifest: Manifest) -> dict[str, str]:
    shards = {shard.format: shard.path for shard in manifest.shards}
    parts = sorted((folder / "dataset/parts").rglob("*.parquet"))
    return {
        "shard_parquet": _sha256(folder / "dataset" / shards["parquet"]),
        "shard_tfrecord": _sha256(folder / "dataset" / shards["tfrecord"]),
        "parts": hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest(),
    }


def _write_music(folder: Path) -> None:
    """Writes two songs, and a beat of whole numbers, whose bytes are the same on every machine."""
    _run("demo-songs", "--output", folder / "songs", "--songs", "2", "--seconds", "4")
    time = np.arange(_RATE_HZ * 5 // 2, dtype=np.int64)
    noise = time * 2654435761 % 65521 % 8192 - 4096
    fall = np.maximum(0, 11025 - time % 11025)
    beat = noise * fall // 11025 + (time // 200 % 2 * 2 - 1) * 3000
    with wave.open(str(folder / "songs/mixes/beat.wav"), "wb") as file:
        file.setparams((2, 2, _RATE_HZ, 0, "NONE", ""))
        file.writeframes(np.stack([beat, beat], axis=1).astype("<i2").tobytes())


def _expected_ids(music: Path) -> list[str]:
    """Returns the ids that clips of a second have, in the order of the shard."""
    ids = []
    for path in music.iterdir():
        clips = int(soundfile.info(path).duration)
        ids += [f"{_sha256(path)[:32]}-{index:06d}" for index in range(clips)]
    return sorted(ids)


def _measure_training(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    data = ("--data", folder / "dataset", "--evaluate-every", "0")
    flags = ("--preset", "tiny", "--steps", str(STEPS), "--batch-size", "4", "--device", "cpu")
    _run("train", "accompaniment", "--output", folder / "run", *data, *flags, "--dtype", "float32")
    (checkpoint,) = (folder / "run/checkpoints").iterdir()
    state = json.loads((checkpoint / "state.json").read_text())
    config = json.loads((checkpoint / "model/config.json").read_text())
    weights = load_file(checkpoint / "model/model.safetensors")
    state["loader"].pop("dataset_digest")
    config["data"].pop("dataset_digest")
    for place in _PLACES:
        state["config"].pop(place)
    fixed = {
        "checkpoint": [checkpoint.name, *_files(checkpoint)],
        "state": state,
        "provenance": _json_sha256(config["data"]),
        "shapes": _json_sha256({name: list(value.shape) for name, value in weights.items()}),
    }
    exact = {
        "trained_weights": tensors_sha256(weights),
        "optimizer": tensors_sha256(load_file(checkpoint / "optimizer.safetensors")),
        "model_config": _json_sha256(config),
    }
    return fixed, exact


def _measure_accompaniment(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Accompanies the synthetic singer by a model whose weights are drawn by a seed."""
    model = save_accompaniment(folder / "model")
    vocals, mix = folder / "songs/stems/song-0000/vocals.flac", folder / "mix.wav"
    _run(
        "accompany",
        vocals,
        "--checkpoint",
        model,
        "--seed",
        "0",
        "--device",
        "cpu",
        "--output",
        mix,
    )
    info = soundfile.info(mix)
    sound = [info.format, info.subtype, info.samplerate, info.channels, info.frames]
    weights = load_file(Path(model) / "model.safetensors")
    exact = {"accompanied_wav": _sha256(mix), "seeded_weights": tensors_sha256(weights)}
    return {"accompanied_sound": sound}, exact


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Returns the digest of names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _run(*arguments: object) -> None:
    if code := cli.main([str(argument) for argument in arguments]):
        raise RuntimeError(f"singsong {arguments[0]} ended with exit code {code}")


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _json_sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder)), indent=4))


if __name__ == "__main__":
    main()
