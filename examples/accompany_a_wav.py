"""Accompanies a recording of a singer with a checkpoint, and writes the mix.

    python examples/accompany_a_wav.py vocals.wav --checkpoint run --output mix.wav

`singsong accompany` does the same and more; this shows the steps.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import soundfile

import singsong


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the vocals, generates an instrumental, and writes both together."""
    parser = argparse.ArgumentParser(description="Accompany a recording.")
    parser.add_argument("vocals", help="a wav or flac file")
    parser.add_argument("--checkpoint", required=True, help="a run of singsong train accompaniment")
    parser.add_argument("--output", default="mix.wav")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another accompaniment")
    args = parser.parse_args(argv)

    vocals, rate = soundfile.read(args.vocals, dtype="float32", always_2d=True)
    accompanist = singsong.Accompanist.load(args.checkpoint)
    voice = vocals.mean(axis=1)  # the model reads one channel
    (band,) = accompanist.accompany(voice, sample_rate_hz=rate, seeds=[args.seed])

    mix = vocals + band[:, None]  # the original channels, and the band in the middle
    peak = float(np.abs(mix).max())
    if peak > 1:
        mix /= peak
    soundfile.write(args.output, mix, rate, subtype="PCM_24")
    print(f"{args.output}: {len(mix) / rate:.1f} s, peak {min(peak, 1):.2f}")


if __name__ == "__main__":
    main()
