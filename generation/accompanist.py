"""A checkpoint that accompanies a singer: vocals in, an instrumental out, of any length.

accompanist = Accompanist.load("run", fine="fine-run")
instrumental = accompanist.accompany(vocals, sample_rate_hz=48000, seeds=[0, 1])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from singsong import storage
from singsong.audio.resample import resample
from singsong.generation.sampling_config import DEFAULT_SAMPLING, Sampling
from singsong.generation.song_codes import accompany_codes, fine_codes, fine_steps
from singsong.generation.vocal_windows import VocalWindows
from singsong.models.devices import checked_device
from singsong.models.protocols import AcousticCodec, SemanticEncoder
from singsong.models.registry import load_acoustic, load_semantic
from singsong.models.weights import load_pretrained, tensors_sha256
from singsong.schemas.arrays import FloatArray, TokenArray
from singsong.schemas.recipe import ModelSpec
from singsong.training.accompaniment_model import AccompanimentModel
from singsong.training.checkpoints import find_model
from singsong.training.fine_model import FineModel
from singsong.training.provenance import Provenance, read_provenance

_IS_FINE = "crop_seconds"


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
            ValueError: There is no such device or no checkpoint, the models behind the codes are
                others than those of its dataset, or the fine model was trained on other codes.
        """
        checked_device(device)
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
    def windows(self) -> VocalWindows:
        """What is read of vocals."""
        return VocalWindows(
            provenance=self.provenance, acoustic=self.acoustic, semantic=self.semantic
        )

    def tokens_to_draw(self, samples: int, *, sample_rate_hz: int, seeds: int = 1) -> int:
        """Returns how often `on_token` will be called for so many accompaniments of vocals."""
        layout, codebooks = self.windows.layout, self.provenance.vocabulary.coarse_codebooks
        windows = self.windows.count(samples, sample_rate_hz=sample_rate_hz)
        drawn = layout.free_tokens(windows, codebooks=codebooks)
        if self.fine is None:
            return drawn
        _, provenance = self.fine
        return drawn + fine_steps(
            layout.frames(windows),
            rows=seeds,
            vocabulary=provenance.fine_vocabulary,
            chunk_frames=provenance.chunk_frames,
        )

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
            on_token: Called after each position that a model draws.

        Returns:
            float32 [seeds, samples] at the rate of the vocals.

        Raises:
            ValueError: The vocals are not [samples], empty or not finite, or there is no seed.

        Paper: 3.3, 3.4 and 6: noise as in training, windows of 10 s every 5 s, prompted by what was
            generated before; the vocals themselves never pass through the codec.
        """
        windows = self.windows.tokens(vocals, sample_rate_hz=sample_rate_hz)
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
            np.stack(
                [self.windows.tokens(voice, sample_rate_hz=sample_rate_hz) for voice in vocals],
                axis=1,
            ),
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
            layout=self.windows.layout,
            seeds=seeds,
            temperature=sampling.temperature,
            on_token=on_token,
        )
        acoustic = codes.coarse
        if self.fine is not None:
            model, provenance = self.fine
            acoustic = fine_codes(
                model,
                acoustic,
                vocabulary=provenance.fine_vocabulary,
                seeds=seeds,
                chunk_frames=provenance.chunk_frames,
                temperature=sampling.fine_temperature,
                on_token=on_token,
            )
        audio = self.acoustic.decode(acoustic.astype(np.uint16))
        rate_hz = self.acoustic.geometry.sample_rate_hz
        audio = audio[:, : -(-samples * rate_hz // sample_rate_hz)]
        heard = resample(audio, from_hz=rate_hz, to_hz=sample_rate_hz)[:, :samples]
        return np.pad(heard, [(0, 0), (0, samples - heard.shape[1])])


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
        try:
            folder = find_model(local)
            provenance = read_provenance(folder)
        except ValueError as error:
            raise ValueError(str(error).replace(local, place)) from error
        if _IS_FINE in provenance.view and kind is AccompanimentModel:
            raise ValueError(f"{place} holds a fine model, which is the other of the two")
        if _IS_FINE not in provenance.view and kind is FineModel:
            raise ValueError(f"{place} holds an accompaniment model, which is the other of the two")
        return load_pretrained(kind, str(folder), safetensors_only=True).to(device), provenance


def _spec(value: dict[str, Any]) -> ModelSpec:
    options = tuple(sorted(value["options"].items()))
    return ModelSpec(name=value["name"], options=options)
