"""The recipe, step by step: from the audio of a track to the rows of its part. No Beam."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from singsong.audio.clips import ClipCutter
from singsong.audio.downmix import mix_to_mono
from singsong.audio.loudness import peak_rms_db, without_offset
from singsong.audio.mix_facts import measure_mix
from singsong.audio.noise import add_noise
from singsong.audio.resample import resample
from singsong.audio.separation import check_separation, measure_separation
from singsong.audio.sound_files import flac_bytes
from singsong.dataset.part_files import TrackFacts
from singsong.dataset.parts import row_drop_reason
from singsong.models.bundle import Models
from singsong.schemas.arrays import FloatArray
from singsong.schemas.errors import (
    ClipError,
    EmptyFileError,
    NonFiniteAudioError,
    OutOfRangeAudioError,
)
from singsong.schemas.geometry import clip_samples
from singsong.schemas.names import clip_id
from singsong.schemas.outcomes import ClipStatus
from singsong.schemas.part_row import PartRow
from singsong.schemas.recipe import NO_FILTER, EncodeRecipe, LoudnessFilter
from singsong.transforms.arithmetic import made_with
from singsong.transforms.model_calls import ModelCalls
from singsong.transforms.stopwatch import Stopwatch

_MAX_AMPLITUDE = 32.0
_LEAST_AMPLITUDE = 1e-25
"""Smaller samples, at -500 dBFS, become zero: denormal numbers make networks several times slower,
and the product of two small numbers is one."""


@dataclass
class _Clip:
    """A clip during the recipe.

    Attributes:
        row: What will be stored.
        given: What the separator gets: the mix, or its two channels, [2, samples].
        mix: The mono mix.
        heard: The mono mix less its offset.
        sounds: What is encoded, by name.
    """

    row: PartRow
    given: FloatArray
    mix: FloatArray
    heard: FloatArray
    sounds: dict[str, FloatArray] = field(default_factory=dict)


class TrackRows:
    """Makes the rows of one track.

    Attributes:
        watch: Takes the seconds spent in each step.

    Args:
        track_id: Hex sha256 of the track's file.
        recipe: The recipe.
        models: The models of the recipe.
        watch: Takes the seconds spent in each step.
        encode_filter: A clip that it drops gets a row with its figures, but no codes.
        only: The clips to make rows of, by index; None makes a row of each.
        check_determinism: How many clips, from the first on, each model is asked about twice.

    Paper: 3.4, 4.1 and 4.2.
    """

    def __init__(
        self,
        *,
        track_id: str,
        recipe: EncodeRecipe,
        models: Models,
        watch: Stopwatch,
        encode_filter: LoudnessFilter = NO_FILTER,
        only: Collection[int] | None = None,
        check_determinism: int = 0,
    ) -> None:
        self.watch = watch
        self._track_id = track_id
        self._encode_filter = encode_filter
        self._only = only
        self._check_determinism = check_determinism
        self._recipe = recipe
        self._models = models
        self._calls = ModelCalls(models, watch)
        self._digest = hashlib.sha256()
        self._cutter = ClipCutter(
            clip_samples=clip_samples(recipe.clip_seconds, recipe.mix_rate_hz)
        )

    def rows(self, blocks: Iterable[FloatArray]) -> Iterator[PartRow]:
        """Yields a row for each clip, in order, from one batch of clips at a time.

        Args:
            blocks: Consecutive float32 [samples] of the mono mix at the recipe's rate, or
                [samples, 2] where the recipe is in stereo.

        Raises:
            ClipError: The track as a whole cannot be used.
            NondeterminismError: A model gave another result when it was asked again.
        """
        batch: list[_Clip] = []
        clips = self._cutter.cut(self._fingerprinted(self.watch.iterate("decode", blocks)))
        for index, audio in enumerate(clips):
            if self._only is not None and index not in self._only:
                continue
            batch.append(self._new_clip(index, audio))
            if len(batch) == self._recipe.batch_clips:
                yield from self._encode(batch)
                batch = []
        yield from self._encode(batch)
        if not self._cutter.total_samples:
            raise EmptyFileError("the file decodes to no samples")

    def facts(self) -> TrackFacts:
        """Returns what is known of the track once `rows` is exhausted."""
        return TrackFacts(
            track_id=self._track_id,
            audio_sha256=self._digest.hexdigest(),
            samples=self._cutter.total_samples,
            rate_hz=self._recipe.mix_rate_hz,
            clip_samples=self._cutter.clip_samples,
            made_with=(made_with(self._recipe.device),),
        )

    def _fingerprinted(self, blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """Hashes 16-bit samples, so that the same audio in two containers is one track."""
        for block in blocks:
            with self.watch("fingerprint"):
                finite = np.nan_to_num(_mono(block), nan=0.0, posinf=1.0, neginf=-1.0)
                self._digest.update(np.rint(finite.clip(-1, 1) * 32767).astype("<i2").tobytes())
            yield block

    def _new_clip(self, index: int, audio: FloatArray) -> _Clip:
        row = PartRow(
            clip_id=clip_id(self._track_id, index),
            track_id=self._track_id,
            clip_index=index,
            start_s=index * self._recipe.clip_seconds,
        )
        given = _without_denormals(audio.T)
        mix = given if given.ndim == 1 else _without_denormals(_mono(audio))
        return _Clip(row=row, given=given, mix=mix, heard=mix)

    def _encode(self, batch: list[_Clip]) -> list[PartRow]:
        self._calls.twice = any(clip.row.clip_index < self._check_determinism for clip in batch)
        usable = [clip for clip in batch if self._attempt(clip, self._check_mix)]
        self._separate(usable)
        usable = [clip for clip in usable if self._attempt(clip, self._measure)]
        self._add_codes([clip for clip in usable if clip.row.status is ClipStatus.ENCODED])
        return [clip.row for clip in batch]

    def _attempt(self, clip: _Clip, step: Callable[[_Clip], None]) -> bool:
        """Runs a step on one clip; a `ClipError` costs this clip and no other."""
        try:
            step(clip)
        except ClipError as error:
            clip.row.status = ClipStatus.FAILED
            clip.row.reason, clip.row.message = error.reason, str(error)
            return False
        return True

    def _check_mix(self, clip: _Clip) -> None:
        if not np.isfinite(clip.mix).all():
            raise NonFiniteAudioError("the clip has samples that are NaN or infinite")
        peak = float(np.abs(clip.given).max())
        if peak > _MAX_AMPLITUDE:
            raise OutOfRangeAudioError(f"the clip's largest sample is {peak:.3g}, full scale is 1")
        clip.heard = self._heard(clip.mix)
        clip.row.figures["mix_peak_rms_db"] = self._peak_rms_db(clip.heard)
        with self.watch("figures"):
            facts = measure_mix(clip.mix, sample_rate_hz=self._recipe.mix_rate_hz)
        clip.row.figures.update({f"mix_{name}": value for name, value in vars(facts).items()})

    def _separate(self, batch: list[_Clip]) -> None:
        if not batch:
            return
        if self._models.separator is None:
            for clip in batch:
                clip.sounds = {"mix": clip.mix}
            return
        vocals = self._calls.separate(np.stack([clip.given for clip in batch]))
        for clip, separated in zip(batch, vocals, strict=True):
            clip_vocals = _without_denormals(separated)
            clip.sounds = {"vocals": clip_vocals, "instrumental": clip.mix - clip_vocals}

    def _measure(self, clip: _Clip) -> None:
        """Measures loudness, checks the separation and takes the paper's decision (4.2)."""
        if self._models.separator is None:
            return
        if not np.isfinite(clip.sounds["vocals"]).all():
            raise NonFiniteAudioError("the separator's vocals are NaN or infinite in places")
        vocals = self._heard(clip.sounds["vocals"])
        clip.row.figures.update(
            vocals_peak_rms_db=self._peak_rms_db(vocals),
            instrumental_peak_rms_db=self._peak_rms_db(clip.heard - vocals),
        )
        self._check_separation(clip, vocals)
        reason = row_drop_reason(clip.row.figures, self._encode_filter)
        if reason is not None:
            clip.row.status, clip.row.reason = ClipStatus.DROPPED, reason

    def _check_separation(self, clip: _Clip, vocals: FloatArray) -> None:
        with self.watch("figures"):
            found = measure_separation(
                clip.heard,
                vocals,
                sample_rate_hz=self._recipe.mix_rate_hz,
                offset_power=float(np.square(clip.mix - clip.heard).mean()),
            )
        clip.row.figures.update({f"vocals_{name}": value for name, value in vars(found).items()})
        check_separation(found, self._recipe.separation)

    def _heard(self, audio: FloatArray) -> FloatArray:
        with self.watch("loudness"):
            return without_offset(audio, sample_rate_hz=self._recipe.mix_rate_hz)

    def _peak_rms_db(self, heard: FloatArray) -> float:
        with self.watch("loudness"):
            return peak_rms_db(
                heard,
                sample_rate_hz=self._recipe.mix_rate_hz,
                rms_window=self._recipe.window,
                keep_offset=True,
            )

    def _add_codes(self, clips: list[_Clip]) -> None:
        if not clips:
            return
        sources = self._recipe.sources
        acoustic, semantic = self._models.acoustic, self._models.semantic
        at_rate = {
            rate: self._sounds_at(clips, rate)
            for rate in {acoustic.geometry.sample_rate_hz, semantic.geometry.sample_rate_hz}
        }
        audio = at_rate[acoustic.geometry.sample_rate_hz]
        acoustic_codes = self._calls.acoustic(audio)
        semantic_codes = self._calls.semantic(at_rate[semantic.geometry.sample_rate_hz])
        for position, clip in enumerate(clips):
            for number, source in enumerate(sources):
                at = position * len(sources) + number
                clip.row.codes[f"{source}_acoustic"] = acoustic_codes[at]
                clip.row.codes[f"{source}_semantic"] = semantic_codes[at]
                if self._recipe.store_audio:
                    rate = acoustic.geometry.sample_rate_hz
                    clip.row.flac[f"{source}_audio"] = flac_bytes(audio[at], sample_rate_hz=rate)

    def _sounds_at(self, clips: list[_Clip], rate_hz: int) -> FloatArray:
        """Returns each clip's sounds, resampled: float32 [clips * sources, samples]."""
        sounds = []
        for clip in clips:
            with self.watch("resample"):
                resampled = {
                    name: resample(audio, from_hz=self._recipe.mix_rate_hz, to_hz=rate_hz)
                    for name, audio in clip.sounds.items()
                }
            if "vocals" in resampled:
                with self.watch("noise"):
                    resampled["vocals_noisy"] = add_noise(
                        resampled["vocals"],
                        sample_rate_hz=rate_hz,
                        sigma=self._recipe.noise_sigma,
                        seed=self._recipe.noise_seed,
                        clip_id=clip.row.clip_id,
                    )
            sounds += [resampled[source] for source in self._recipe.sources]
        return np.stack(sounds)


def _mono(audio: FloatArray) -> FloatArray:
    """Returns the mean of both channels of [samples, 2]; mono as it is."""
    return audio if audio.ndim == 1 else mix_to_mono(audio, (0.5, 0.5))


def _without_denormals(audio: FloatArray) -> FloatArray:
    """Returns zeros for samples too small to hear; all others keep their bits."""
    tiny = np.abs(audio) < _LEAST_AMPLITUDE
    return np.where(tiny, np.float32(0), audio) if audio[tiny].any() else audio
