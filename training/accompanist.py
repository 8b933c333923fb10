"""A checkpoint that accompanies a singer: vocals in, an instrumental out, of any length.

accompanist = Accompanist.load("run", fine="fine-run")
instrumental = accompanist.accompany(vocals, sample_rate_hz=48000, seeds=[0, 1])
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.protocols import AcousticCodec, SemanticEncoder
from models.registry import load_acoustic, load_semantic
from models.weights import load_pretrained, tensors_sha256
from schemas import storage
from schemas.geometry import clip_samples
from schemas.recipe import ModelSpec
from training.accompaniment_model import AccompanimentModel
from training.checkpoints import find_model
from training.fine_model import FineModel
from training.generation import accompany_codes, fine_codes
from training.provenance import Provenance, read_provenance
from training.song_windows import WindowLayout, window_starts
from training.vocabulary import TokenArray
from transforms.dsp.noise import add_noise
from transforms.dsp.resample import resample

FloatArray = npt.NDArray[np.float32]
_IS_FINE = "crop_seconds"
_TICKS_HZ = 1000
"""What windows are counted in; the sample rates of codec, encoder and vocals differ."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How codes are drawn.

    Attributes:
        temperature: Of the accompaniment model; 0 takes the most likely code.
        fine_temperature: Of the fine model.

    Raises:
        ValueError: A temperature is negative.

    Paper: 3.3; the fine one as AudioLM.
    """

    temperature: float = 0.85
    fine_temperature: float = 0.6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, found {value}")


DEFAULT_SAMPLING = Sampling()


@dataclass(frozen=True, kw_only=True)
class Accompanist:
    """The models that turn vocals into an instrumental.

    Attributes:
        model: Writes semantic and coarse codes.
        provenance: What it was trained on.
        acoustic: The codec of its dataset.
        semantic: The semantic encoder of its dataset.
        fine: Completes the coarse codes; None decodes the coarse ones alone.
    """

    model: AccompanimentModel
    provenance: Provenance
    acoustic: AcousticCodec
    semantic: SemanticEncoder
    fine: tuple[FineModel, Provenance] | None = None

    @classmethod
    def load(
        cls,
        checkpoint: str,
        *,
        fine: str | None = None,
        acoustic: ModelSpec | None = None,
        semantic: ModelSpec | None = None,
        device: str = "cpu",
    ) -> Accompanist:
        """Returns what accompanies by a checkpoint.

        Args:
            checkpoint: Folder or URL of a run of `singsong train accompaniment`, or of one of its
                models; a URL is copied as a whole.
            fine: The same of `singsong train fine`.
            acoustic: Where the codec of the dataset is; None names no folder, as `lite`.
            semantic: The same for the semantic encoder.
            device: Where everything runs.

        Raises:
            ValueError: There is no checkpoint, the models behind the codes are others than those of
                its dataset, or the fine model was trained on other codes.
        """
        model, provenance = _load_model(AccompanimentModel, checkpoint, device)
        encode = provenance.recipe["encode"]
        where = {
            "device": device,
            "dtype": encode["dtype"],
            "batch_clips": encode["batch_clips"],
        }
        codec = load_acoustic(acoustic or _spec(encode["acoustic"]), **where)
        encoder = load_semantic(semantic or _spec(encode["semantic"]), **where)
        for role, found in (("acoustic", codec), ("semantic", encoder)):
            if found.weights_sha256 != provenance.weights[role]:
                raise ValueError(
                    f"{checkpoint} was trained on codes of another {role} model "
                    f"({provenance.weights[role][:12]}, this one is {found.weights_sha256[:12]}): "
                    f"name its own with --{role}"
                )
        return cls(
            model=model,
            provenance=provenance,
            acoustic=codec,
            semantic=encoder,
            fine=_load_fine(fine, provenance, device) if fine else None,
        )

    @property
    def weights_sha256(self) -> str:
        """Hex digest of all models that decide what comes out."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.fine is not None:
            fine = self.fine[0].state_dict()
            tensors |= {f"fine.{name}": value for name, value in fine.items()}
        weights = {
            "acoustic": self.acoustic.weights_sha256,
            "semantic": self.semantic.weights_sha256,
        }
        return tensors_sha256({k: v.cpu() for k, v in tensors.items()}, settings=weights)

    @property
    def window_seconds(self) -> float:
        """Length of a window, that of a training clip."""
        return self.provenance.clip_seconds

    @property
    def hop_seconds(self) -> float:
        """How far apart windows start: about half their length, in whole frames.

        Paper: 6: 5 s of 10 s.
        """
        return self._layout.coarse_hop / self.acoustic.geometry.frame_rate_hz

    def tokens_to_draw(self, samples: int, *, sample_rate_hz: int) -> int:
        """Returns how often `on_token` will be called for vocals of a length."""
        windows = self._count_windows(samples / sample_rate_hz)
        layout = self._layout
        coarse = self.provenance.vocabulary.coarse_codebooks
        new = layout.semantic_hop + layout.coarse_hop * coarse
        return layout.semantic_frames + layout.coarse_frames * coarse + (windows - 1) * new

    def accompany(
        self,
        vocals: FloatArray,
        *,
        sample_rate_hz: int,
        seeds: Sequence[int] = (0,),
        sampling: Sampling = DEFAULT_SAMPLING,
        on_token: Callable[[], None] | None = None,
    ) -> FloatArray:
        """Returns instrumentals to sing to, in time with the vocals.

        Args:
            vocals: float32 [samples], one voice or the mean of its channels.
            sample_rate_hz: Its rate.
            seeds: One for each instrumental that is wanted; the same seed gives the same one.
            sampling: How codes are drawn.
            on_token: Called after each position that the accompaniment model draws.

        Returns:
            float32 [seeds, samples] at the rate of the vocals.

        Raises:
            ValueError: The vocals are not [samples], empty or not finite, or there is no seed.

        Paper: 3.3 and 6: the noise of training, windows of 10 s every 5 s, prompted by what was
            generated before; the vocals themselves never pass through the codec.
        """
        windows = self._windows(vocals, sample_rate_hz)
        return self._played(
            windows[:, None].repeat(len(seeds), axis=1),
            samples=len(vocals),
            sample_rate_hz=sample_rate_hz,
            seeds=seeds,
            sampling=sampling,
            on_token=on_token,
        )

    def accompany_each(
        self,
        vocals: Sequence[FloatArray],
        *,
        sample_rate_hz: int,
        seeds: Sequence[int],
        sampling: Sampling = DEFAULT_SAMPLING,
        on_token: Callable[[], None] | None = None,
    ) -> FloatArray:
        """Returns an instrumental for each of many singers at once, as fills a GPU.

        Args:
            vocals: float32 [samples] each, all of one length.
            sample_rate_hz: Their rate.
            seeds: One for each singer.
            sampling: As in `accompany`.
            on_token: As in `accompany`.

        Returns:
            float32 [singers, samples] at the rate of the vocals.

        Raises:
            ValueError: As `accompany`, or lengths differ, or there is not one seed for each singer.

        Paper: As `accompany`.
        """
        lengths = {len(voice) for voice in vocals}
        if len(lengths) != 1 or len(vocals) != len(seeds):
            raise ValueError(
                f"each singer needs a seed and the same number of samples, found {len(vocals)} "
                f"singers, {len(seeds)} seeds, lengths {sorted(lengths)}"
            )
        return self._played(
            np.stack([self._windows(voice, sample_rate_hz) for voice in vocals], axis=1),
            samples=lengths.pop(),
            sample_rate_hz=sample_rate_hz,
            seeds=seeds,
            sampling=sampling,
            on_token=on_token,
        )

    def _played(
        self,
        windows: TokenArray,
        *,
        samples: int,
        sample_rate_hz: int,
        seeds: Sequence[int],
        sampling: Sampling,
        on_token: Callable[[], None] | None,
    ) -> FloatArray:
        """Returns float32 [rows, samples] for windows of vocals, int64 [windows, rows, tokens]."""
        codes = accompany_codes(
            self.model,
            list(windows),
            vocabulary=self.provenance.vocabulary,
            layout=self._layout,
            seeds=seeds,
            temperature=sampling.temperature,
            on_token=on_token,
        )
        acoustic = self._completed(codes.coarse, seeds, sampling)
        audio = self.acoustic.decode(acoustic.astype(np.uint16))
        rate_hz = self.acoustic.geometry.sample_rate_hz
        audio = audio[:, : -(-samples * rate_hz // sample_rate_hz)]
        heard = resample(audio, from_hz=rate_hz, to_hz=sample_rate_hz)[:, :samples]
        return np.pad(heard, [(0, 0), (0, samples - heard.shape[1])])

    def _completed(self, coarse: TokenArray, seeds: Sequence[int], how: Sampling) -> TokenArray:
        if self.fine is None:
            return coarse
        model, provenance = self.fine
        return fine_codes(
            model,
            coarse,
            vocabulary=provenance.fine_vocabulary,
            seeds=seeds,
            chunk_frames=provenance.chunk_frames,
            temperature=how.fine_temperature,
        )

    @property
    def _layout(self) -> WindowLayout:
        return self.provenance.window_layout()

    def _count_windows(self, seconds: float) -> int:
        size, hop = (round(x * _TICKS_HZ) for x in (self.window_seconds, self.hop_seconds))
        return len(window_starts(max(1, round(seconds * _TICKS_HZ)), window=size, hop=hop))

    def _windows(self, vocals: FloatArray, sample_rate_hz: int) -> TokenArray:
        """Returns what the model reads of each window, int64 [windows, tokens]."""
        _check_vocals(vocals)
        windows = self._count_windows(len(vocals) / sample_rate_hz)
        key = hashlib.sha256(vocals.tobytes()).hexdigest()
        audio = {
            rate_hz: self._cut(vocals, windows, from_hz=sample_rate_hz, to_hz=rate_hz, key=key)
            for rate_hz in {
                self.acoustic.geometry.sample_rate_hz,
                self.semantic.geometry.sample_rate_hz,
            }
        }
        return self.provenance.source_tokens(
            semantic=self.semantic.encode(audio[self.semantic.geometry.sample_rate_hz]),
            acoustic=self.acoustic.encode(audio[self.acoustic.geometry.sample_rate_hz]),
        )

    def _cut(
        self, vocals: FloatArray, windows: int, *, from_hz: int, to_hz: int, key: str
    ) -> FloatArray:
        """Returns windows of the vocals with the noise of training, float32 [windows, samples]."""
        size = clip_samples(self.window_seconds, to_hz)
        hop = round(self.hop_seconds * to_hz)
        audio = resample(vocals, from_hz=from_hz, to_hz=to_hz)[: hop * (windows - 1) + size]
        padded = np.zeros(hop * (windows - 1) + size, np.float32)
        padded[: len(audio)] = audio
        encode = self.provenance.recipe["encode"]
        sigma = encode["noise_sigma"] if self.provenance.view["noisy"] else 0.0
        return np.stack(
            [
                add_noise(
                    padded[index * hop : index * hop + size],
                    sigma=sigma,
                    seed=encode["noise_seed"],
                    clip_id=f"{key} window {index}",
                )
                for index in range(windows)
            ]
        )


def _check_vocals(vocals: FloatArray) -> None:
    if vocals.ndim != 1 or not len(vocals):
        raise ValueError(f"vocals must be [samples], found {list(vocals.shape)}")
    if not np.isfinite(vocals).all():
        raise ValueError("the vocals have samples that are NaN or infinite")


def _load_fine(place: str, provenance: Provenance, device: str) -> tuple[FineModel, Provenance]:
    model, own = _load_model(FineModel, place, device)
    if _acoustic(own) != _acoustic(provenance):
        raise ValueError(f"{place} was trained on codes of another acoustic codec")
    return model, own


def _acoustic(provenance: Provenance) -> tuple[Any, str]:
    return provenance.geometry["acoustic"], provenance.weights["acoustic"]


def _load_model(kind: Any, place: str, device: str) -> tuple[Any, Provenance]:
    """Returns a model and what it was trained on, after a look at which of the two it is."""
    with storage.local_folder(place) as local:
        folder = find_model(local)
        provenance = read_provenance(folder)
        if _IS_FINE in provenance.view and kind is AccompanimentModel:
            raise ValueError(f"{place} holds a fine model, which is the other of the two")
        if _IS_FINE not in provenance.view and kind is FineModel:
            raise ValueError(f"{place} holds an accompaniment model, which is the other of the two")
        return load_pretrained(kind, str(folder), safetensors_only=True).to(device), provenance


def _spec(value: dict[str, Any]) -> ModelSpec:
    options = tuple(sorted(value["options"].items()))
    return ModelSpec(name=value["name"], options=options)
