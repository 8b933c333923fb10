"""A checkpoint that accompanies a singer: vocals in, an instrumental out, of any length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from singsong.audio.resample import resample
from singsong.generation.loading import load_codec_and_encoder, load_fine, load_trained
from singsong.generation.sampling_config import DEFAULT_SAMPLING, Sampling
from singsong.generation.song_codes import accompany_codes, fine_codes, fine_steps
from singsong.generation.vocal_windows import VocalWindows
from singsong.models.devices import checked_device, set_numerics
from singsong.models.protocols import AcousticCodec, SemanticEncoder
from singsong.models.weights import tensors_sha256
from singsong.schemas.arrays import FloatArray, TokenArray
from singsong.schemas.recipe import ModelSpec
from singsong.training.accompaniment_model import AccompanimentModel
from singsong.training.featurization import Featurization, FineCrops
from singsong.training.fine_model import FineModel
from singsong.training.provenance import Provenance


@dataclass(frozen=True, kw_only=True)
class Accompanist:
    """The models that turn vocals into an instrumental.

        accompanist = Accompanist.load("run", fine="fine-run")
        [instrumental] = accompanist.accompany(vocals, sample_rate_hz=48000)
        mix = vocals + instrumental

    Attributes:
        model: Writes semantic and coarse codes.
        provenance: What it was trained on.
        acoustic: The codec of its dataset.
        semantic: The semantic encoder of its dataset.
        fine: The fine model, which completes the coarse codes, and what it was trained on; None
            decodes the coarse codes alone.
    """

    model: AccompanimentModel
    provenance: Provenance[Featurization]
    acoustic: AcousticCodec
    semantic: SemanticEncoder
    fine: tuple[FineModel, Provenance[FineCrops]] | None = None

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
        """Returns the accompanist of a checkpoint.

        Calls `set_numerics`: the same vocals get the same accompaniment in each process.

        Args:
            checkpoint: Folder or URL of a run of `singsong train accompaniment`, or of one of its
                models; a URL is copied as a whole.
            fine: Folder or URL of a run of `singsong train fine`, or of one of its models.
            acoustic: Where to load the codec of the dataset from; None loads the one that the
                checkpoint names, which suffices for models that come with the package.
            semantic: Where to load the semantic encoder from, in the same way.
            device: The device that all models run on.

        Raises:
            ValueError: There is no such device or checkpoint, the codec or the encoder is not the
                one of the checkpoint's dataset, or the fine model was trained on other codes.
        """
        checked_device(device)
        set_numerics()
        model, provenance = load_trained(AccompanimentModel, Featurization, checkpoint, device)
        codec, encoder = load_codec_and_encoder(
            checkpoint, provenance, acoustic=acoustic, semantic=semantic, device=device
        )
        return cls(
            model=model,
            provenance=provenance,
            acoustic=codec,
            semantic=encoder,
            fine=load_fine(fine, provenance, device) if fine else None,
        )

    @property
    def weights_sha256(self) -> str:
        """Hex digest of all models that decide the result."""
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
        """How vocals are read."""
        return VocalWindows(
            provenance=self.provenance, acoustic=self.acoustic, semantic=self.semantic
        )

    def tokens_to_draw(self, samples: int, *, sample_rate_hz: int, seeds: int = 1) -> int:
        """Returns the number of times that `accompany` calls `on_token`.

        Args:
            samples: Length of the vocals.
            sample_rate_hz: Their rate.
            seeds: Number of accompaniments.
        """
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
            chunk_frames=provenance.chunk_frames(),
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
        """Returns instrumentals for vocals, in time with them.

        Args:
            vocals: float32 [samples] in [-1, 1], mono.
            sample_rate_hz: Samples per second.
            seeds: One for each instrumental; the same seed gives the same instrumental.
            sampling: How codes are drawn.
            on_token: Called after each position that a model draws.

        Returns:
            float32 [seeds, samples] at the rate of the vocals.

        Raises:
            ValueError: The vocals are not [samples], empty or not finite, or there is no seed.

        Paper: 3.3, 3.4 and 6: the noise of training; windows of 10 s every 5 s, each prompted with
            the codes generated before. The vocals themselves never pass through the codec.
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
        """Returns an instrumental for each of many singers at once, which fills a GPU.

        Args:
            vocals: float32 [samples] each, all of one length.
            sample_rate_hz: Their rate.
            seeds: One for each singer.
            sampling: As in `accompany`.
            on_token: As in `accompany`.

        Returns:
            float32 [singers, samples] at the rate of the vocals.

        Raises:
            ValueError: As `accompany`, or lengths differ, or singers and seeds differ in number.
        """
        lengths = {len(voice) for voice in vocals}
        if len(lengths) != 1 or len(vocals) != len(seeds):
            raise ValueError(
                f"each singer needs a seed and the same number of samples, found {len(vocals)} "
                f"singers, {len(seeds)} seeds, lengths {sorted(lengths)}"
            )
        windows = [self.windows.tokens(voice, sample_rate_hz=sample_rate_hz) for voice in vocals]
        return self._played(
            np.stack(windows, axis=1),
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
                chunk_frames=provenance.chunk_frames(),
                temperature=sampling.fine_temperature,
                on_token=on_token,
            )
        audio = self.acoustic.decode(acoustic.astype(np.uint16))
        rate_hz = self.acoustic.geometry.sample_rate_hz
        audio = audio[:, : -(-samples * rate_hz // sample_rate_hz)]
        heard = resample(audio, from_hz=rate_hz, to_hz=sample_rate_hz)[:, :samples]
        return np.pad(heard, [(0, 0), (0, samples - heard.shape[1])])
