"""Lyra, a SoundStream whose weights are public, through LiteRT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from singsong.models.checks import check_codes, encode_each
from singsong.models.network_codec import coarse_of
from singsong.models.weights import WeightsError, tensors_sha256
from singsong.schemas.arrays import CodeArray, FloatArray, IntArray
from singsong.schemas.geometry import AcousticGeometry

PACKS = (2, 3)
"""How many quantisers may share a code."""

_ENCODER = "soundstream_encoder.tflite"
_QUANTISER = "quantizer.tflite"
_DECODER = "lyragan.tflite"
_FOLDER_IN_CLONE = Path("lyra", "model_coeffs")

_RATE_HZ = 16000
_HOP = 320
_FEATURES = (1, 1, 64)
_QUANTISERS = 46
_LEVELS = 16
_ABSENT = -1


class LyraCodec:
    """Encodes audio with Lyra (`AcousticCodec`).

    A frame of 20 ms has 46 residual quantisers of 16 levels. Neighbouring quantisers share a code,
    the first of them in its highest bits: two give 23 codebooks of 256 codes; three give 15 of
    4096, and the last quantiser is left out. Lyra runs on the CPU, whatever the device of the other
    models, and in one thread.

    Attributes:
        geometry: 16 kHz, 50 frames per second, and the codebooks that `pack` gives.
        weights_sha256: Hex digest of the three files and of `pack`.

    Args:
        source: A clone of github.com/google/lyra, or the folder in it that holds the `.tflite`
            files.
        pack: How many quantisers share a code.
        coarse_codebooks: How many codebooks count as coarse; None means a third of them, rounded
            up. With two quantisers to a code these are 3.2 kbps, the least that Lyra is used with.

    Raises:
        ValueError: No source is given, `pack` is not one of `PACKS`, or there are more coarse
            codebooks than codebooks.
        WeightsError: A file is missing or broken, or holds another model.

    Paper: 3.2, the same kind of codec.
    Differs: it was trained on speech, and its quantisers are smaller and more.
    """

    def __init__(
        self, source: str | None, *, pack: int = 2, coarse_codebooks: int | None = None
    ) -> None:
        if pack not in PACKS:
            raise ValueError(f"pack must be one of {PACKS}, found {pack}")
        codebooks = _QUANTISERS // pack
        self.geometry = AcousticGeometry(
            sample_rate_hz=_RATE_HZ,
            hop_samples=_HOP,
            codebooks=codebooks,
            coarse_codebooks=coarse_of(codebooks, coarse_codebooks),
            codebook_size=_LEVELS**pack,
        )
        self._weights = _LEVELS ** np.arange(pack - 1, -1, -1)
        folder, files = _read_files(source)
        with _readable(folder):
            # LiteRT finds some faults of a file only when it runs.
            networks = _Networks(files)
            networks.decode(networks.encode(np.zeros((1, _HOP), np.float32)))
        self._files = files
        self.weights_sha256 = tensors_sha256(
            {name: np.frombuffer(content, np.uint8) for name, content in files.items()},
            settings={"model": "lyra", "pack": pack},
        )

    def encode(self, audio: FloatArray) -> CodeArray:
        """Returns the codes of each clip, its last hop padded with silence.

        Args:
            audio: float32 [clips, samples] in [-1, 1].

        Returns:
            uint16 [clips, frames, codebooks].

        Raises:
            ValueError: The audio is not finite float32 [clips, samples], or there is no clip.
        """
        return encode_each(audio, self._encode_clip)

    def decode(self, codes: CodeArray) -> FloatArray:
        """Returns the audio of codes of all codebooks or the first few.

        Args:
            codes: [clips, frames, k], 1 <= k <= codebooks.

        Returns:
            float32 [clips, frames x hop].

        Raises:
            ValueError: The codes do not have that shape, or a code is not in the codebook.
        """
        geometry = self.geometry
        check_codes(codes, codebooks=geometry.codebooks, codebook_size=geometry.codebook_size)
        return np.stack([_Networks(self._files).decode(self._unpacked(clip)) for clip in codes])

    def _encode_clip(self, clip: FloatArray) -> CodeArray:
        frames = self.geometry.frames(len(clip))
        padded = np.zeros((frames, _HOP), np.float32)
        padded.reshape(-1)[: len(clip)] = clip
        levels = _Networks(self._files).encode(padded)[
            :, : self.geometry.codebooks * len(self._weights)
        ]
        codes = levels.reshape(frames, -1, len(self._weights)) @ self._weights
        return codes.astype(np.uint16)

    def _unpacked(self, codes: CodeArray) -> IntArray:
        """Returns the levels of the quantisers of codes [frames, k], int32 [frames, 46]."""
        known = codes[:, :, None].astype(np.int64) // self._weights % _LEVELS
        levels = np.full((len(codes), _QUANTISERS), _ABSENT, np.int32)
        levels[:, : known.shape[1] * known.shape[2]] = known.reshape(len(codes), -1)
        return levels


class _Networks:
    """The three networks, for one clip: encoder and decoder keep the state of a stream.

    `reset_all_variables` of LiteRT 2.3 leaves that state in place, so each clip has new networks,
    which are made in a few milliseconds. That also lets threads share a codec.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._encoder = _Stream(files[_ENCODER], takes=(1, _HOP), gives=_FEATURES)
        self._decoder = _Stream(files[_DECODER], takes=_FEATURES, gives=(1, _HOP))
        quantiser = _interpreter(files[_QUANTISER])
        self._quantise = quantiser.get_signature_runner("encode")
        self._dequantise = quantiser.get_signature_runner("decode")
        levels = (_QUANTISERS, 1, 1)
        _check_shape(self._quantise.get_input_details()["input_frames"], _FEATURES)
        _check_shape(self._quantise.get_output_details()["output_0"], levels)
        _check_shape(self._dequantise.get_input_details()["encoding_indices"], levels)
        _check_shape(self._dequantise.get_output_details()["output_0"], _FEATURES)

    def encode(self, frames: FloatArray) -> IntArray:
        """Returns the levels of a clip of [frames, 320], int32 [frames, 46]."""
        every = np.int32(_QUANTISERS)
        levels = [
            self._quantise(input_frames=features, num_quantizers=every)["output_0"].reshape(-1)
            for features in map(self._encoder.run, frames)
        ]
        return np.stack(levels)

    def decode(self, levels: IntArray) -> FloatArray:
        """Returns the audio of the levels of a clip [frames, 46], float32 [samples]."""
        features = (
            self._dequantise(encoding_indices=frame)["output_0"]
            for frame in levels.reshape(-1, _QUANTISERS, 1, 1)
        )
        return np.concatenate([hop[0] for hop in map(self._decoder.run, features)])


class _Stream:
    """A network that runs frame by frame and remembers the frames before."""

    def __init__(self, content: bytes, *, takes: tuple[int, ...], gives: tuple[int, ...]) -> None:
        self._network = _interpreter(content)
        self._network.allocate_tensors()
        [given] = self._network.get_input_details()
        [result] = self._network.get_output_details()
        _check_shape(given, takes)
        _check_shape(result, gives)
        self._takes = takes
        self._input, self._output = given["index"], result["index"]

    def run(self, frame: FloatArray) -> FloatArray:
        self._network.set_tensor(self._input, frame.reshape(self._takes))
        self._network.invoke()
        return self._network.get_tensor(self._output)


def _interpreter(content: bytes) -> Any:
    return Interpreter(model_content=content, num_threads=1)


def _check_shape(tensor: Mapping[str, Any], wanted: tuple[int, ...]) -> None:
    found = tuple(int(size) for size in tensor["shape"])
    if found != wanted:
        raise ValueError(f"{tensor['name']} must be of shape {wanted}, found {found}")


def _read_files(source: str | None) -> tuple[Path, dict[str, bytes]]:
    """Returns the folder of the files, and their content by name."""
    if source is None:
        raise ValueError(
            "lyra needs its weights: git clone --depth 1 https://github.com/google/lyra, "
            "and give that folder, as lyra:FOLDER"
        )
    folder = Path(source)
    if (folder / _FOLDER_IN_CLONE).is_dir():
        folder = folder / _FOLDER_IN_CLONE
    try:
        return folder, {
            name: (folder / name).read_bytes() for name in (_ENCODER, _QUANTISER, _DECODER)
        }
    except OSError as error:
        raise WeightsError(
            f"no weights of Lyra in {source} ({error.strerror}: {error.filename}): give a clone of "
            "https://github.com/google/lyra"
        ) from error


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError, KeyError) as error:
        raise WeightsError(
            f"{folder} does not hold the networks of Lyra ({error}): a file may be cut short; "
            "get the files again"
        ) from error
