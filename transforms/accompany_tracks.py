"""Accompanies many singers: files of vocals in, a sound file for each out."""

from __future__ import annotations

import hashlib
import json
import posixpath
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import apache_beam as beam
import numpy as np

from singsong import storage
from singsong.audio.decode import read_channels
from singsong.audio.sound_files import check_audio_fits, write_sound_file
from singsong.dataset.commit import AccountingError
from singsong.generation.accompanist import DEFAULT_SAMPLING, Accompanist, Sampling
from singsong.schemas.elements import DeadLetter, Track, TrackSummary
from singsong.schemas.errors import ClipError, NonFiniteAudioError
from singsong.schemas.recipe import ModelSpec, json_digest
from singsong.transforms.list_tracks import check_content, local_track
from singsong.transforms.progress import ProgressLog

SOUNDS, DEAD_LETTERS = "sounds", "dead_letters"
REPORT_NAME = "accompaniments.json"
_MAX_NAME_BYTES = 160
"""Of the vocals' name in that of a sound: a name on a disk has up to 255."""


@dataclass(frozen=True, kw_only=True)
class AccompanyConfig:
    """How vocals are accompanied.

    Attributes:
        checkpoint: Folder of a run or of a model.
        fine: The same for the fine model; None decodes the coarse codes alone.
        acoustic: Where the codec is; None names no folder.
        semantic: Where the semantic encoder is; None names no folder.
        sampling: How codes are drawn.
        seeds: One for each accompaniment of a file.
        stem: Whether the instrumental is written alone, without the vocals.
        device: Where the models run.
        progress: Folder of this machine to report progress to; None reports none.
        start_process: Called once in each worker before the first model is loaded.

    Raises:
        ValueError: There is no seed, or one twice.
    """

    checkpoint: str
    fine: str | None = None
    acoustic: ModelSpec | None = None
    semantic: ModelSpec | None = None
    sampling: Sampling = DEFAULT_SAMPLING
    seeds: tuple[int, ...] = (0,)
    stem: bool = False
    device: str = "cpu"
    progress: str | None = None
    start_process: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different, one or more, found {list(self.seeds)}")

    def load(self) -> Accompanist:
        """Returns the models, the same ones for the same names in one process.

        Raises:
            ValueError: As `Accompanist.load`.
        """
        with _LOADING:
            return _load(self.checkpoint, self.fine, self.acoustic, self.semantic, self.device)

    def digest(self, accompanist: Accompanist) -> str:
        """Returns a hex digest of all that decides what comes out for given vocals."""
        value = {"stem": self.stem, "sampling": asdict(self.sampling)}
        return json_digest({**value, "models": accompanist.weights_sha256})


_LOADING = threading.Lock()
"""Threads that want the same models must not load them twice."""


@lru_cache(maxsize=2)
def _load(
    checkpoint: str,
    fine: str | None,
    acoustic: ModelSpec | None,
    semantic: ModelSpec | None,
    device: str,
) -> Accompanist:
    return Accompanist.load(
        checkpoint, fine=fine, acoustic=acoustic, semantic=semantic, device=device
    )


def accompany_file(
    path: str,
    *,
    config: AccompanyConfig,
    suffix: str,
    on_token: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, np.ndarray, int]]:
    """Yields seed, audio [channels, samples] and sample rate of each accompaniment of a file.

    The vocals in the mix are those of the file, sample by sample.

    Args:
        path: A local file.
        config: How.
        suffix: Of the files that the audio will be written to, see `write_sound_file`.
        on_token: Called with the number of tokens in all, after each that is drawn.

    Raises:
        ClipError: The file cannot be decoded, its samples are not finite, or the format cannot hold
            what comes out.
        ValueError: As `Accompanist.load`.

    Paper: 3.3.
    """
    vocals, rate_hz = read_channels(path)
    if not np.isfinite(vocals).all():
        raise NonFiniteAudioError("the vocals have samples that are NaN or infinite")
    channels = 1 if config.stem else len(vocals)
    check_audio_fits(suffix, channels=channels, sample_rate_hz=rate_hz)
    accompanist = config.load()
    total = accompanist.tokens_to_draw(
        vocals.shape[1], sample_rate_hz=rate_hz, seeds=len(config.seeds)
    )
    instrumentals = accompanist.accompany(
        vocals.mean(axis=0, dtype=np.float32),
        sample_rate_hz=rate_hz,
        seeds=config.seeds,
        sampling=config.sampling,
        on_token=None if on_token is None else lambda: on_token(total),
    )
    for seed, instrumental in zip(config.seeds, instrumentals, strict=True):
        yield seed, instrumental[None] if config.stem else vocals + instrumental, rate_hz


def sound_name(track: Track, *, digest: str, seed: int, suffix: str) -> str:
    """Returns the name of an accompaniment: that of the file, and what tells it from all others.

    >>> track = Track(track_id="ab12", uri="gs://takes/verse one.wav", size_bytes=1)
    >>> sound_name(track, digest="cd34", seed=0, suffix=".flac")
    'verse one-9bcee15b-seed0.flac'
    """
    name = posixpath.splitext(posixpath.basename(track.uri))[0]
    name = name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
    key = hashlib.sha256(f"{track.track_id} {digest}".encode()).hexdigest()[:8]
    return f"{name}-{key}-seed{seed}{suffix}"


@dataclass(frozen=True, kw_only=True)
class AccompanySink:
    """Where accompaniments go.

    Attributes:
        output: Folder or URL.
        suffix: Suffix that names the format, see `write_sound_file`.
        digest: Hex digest of how they are made.
    """

    output: str
    suffix: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class SoundRef:
    """An accompaniment that exists.

    Attributes:
        uri: The vocals.
        path: The sound, relative to the output.
        seed: Its seed.
    """

    uri: str
    path: str
    seed: int


class _AccompanyTrack(beam.DoFn):
    def __init__(self, config: AccompanyConfig, sink: AccompanySink) -> None:
        self._config = config
        self._sink = sink

    def setup(self) -> None:
        if self._config.start_process is not None:
            self._config.start_process()

    def process(self, track: Track) -> Iterator[object]:
        names = {
            seed: sound_name(track, digest=self._sink.digest, seed=seed, suffix=self._sink.suffix)
            for seed in self._config.seeds
        }
        progress = ProgressLog(self._config.progress)
        if all(storage.exists(storage.join(self._sink.output, name)) for name in names.values()):
            progress.track("found", track.size_bytes)
        else:
            try:
                self._write(track, names, progress)
            except ClipError as error:
                progress.track("failed", track.size_bytes)
                yield beam.pvalue.TaggedOutput(
                    DEAD_LETTERS,
                    DeadLetter.of_track(
                        error, stage="AccompanyTracks", uri=track.uri, track_id=track.track_id
                    ),
                )
                return
            progress.track("encoded", track.size_bytes)
        for seed, name in names.items():
            yield SoundRef(uri=track.uri, path=name, seed=seed)

    def _write(self, track: Track, names: Mapping[int, str], progress: ProgressLog) -> None:
        with local_track(track) as local:
            check_content(track, local)
            for seed, audio, rate_hz in accompany_file(
                local,
                config=self._config,
                suffix=self._sink.suffix,
                on_token=lambda _total: progress.check_stopped(),
            ):
                url = storage.join(self._sink.output, names[seed])
                write_sound_file(url, audio, sample_rate_hz=rate_hz)


class AccompanyTracks(beam.PTransform):
    """Writes the accompaniments of each track that do not exist yet.

    Returns a dict with the outputs "sounds" and "dead_letters".
    """

    def __init__(self, config: AccompanyConfig, sink: AccompanySink) -> None:
        super().__init__()
        self._config = config
        self._sink = sink

    def expand(self, tracks: beam.PCollection) -> dict[str, beam.PCollection]:
        """Returns the two outputs."""
        outputs = tracks | "AccompanyAndWrite" >> beam.ParDo(
            _AccompanyTrack(self._config, self._sink)
        ).with_outputs(DEAD_LETTERS, main=SOUNDS)
        return {SOUNDS: outputs[SOUNDS], DEAD_LETTERS: outputs[DEAD_LETTERS]}


def write_report(
    _: None,
    sounds: Sequence[SoundRef],
    duplicates: Sequence[TrackSummary],
    letters: Sequence[DeadLetter],
    listed: int,
    sink: AccompanySink,
) -> None:
    """Writes what became of each file, last of all.

    Raises:
        AccountingError: A listed file is not accounted for; nothing is written.
    """
    accounted = len({sound.uri for sound in sounds}) + len(duplicates) + len(letters)
    if accounted != listed:
        raise AccountingError(f"{listed} files were listed, {accounted} are accounted for")
    report = {
        "sounds": [asdict(sound) for sound in sorted(sounds, key=lambda s: (s.uri, s.seed))],
        "duplicates": [
            {"uri": other.uri, "track_id": other.track_id}
            for other in sorted(duplicates, key=lambda other: other.uri)
        ],
        "dead_letters": [asdict(letter) for letter in sorted(letters, key=lambda x: x.uri)],
    }
    text = json.dumps(report, indent=1, ensure_ascii=False)
    storage.put_bytes(storage.join(sink.output, REPORT_NAME), text.encode())


class WriteReport(beam.PTransform):
    """Writes `accompaniments.json` from sounds, duplicates, dead letters and their number."""

    def __init__(self, sink: AccompanySink) -> None:
        super().__init__()
        self._sink = sink

    def expand(self, inputs: Mapping[str, beam.PCollection]) -> beam.PCollection:
        """Returns one None."""
        as_list = beam.pvalue.AsList
        return (
            inputs[SOUNDS].pipeline
            | "Once" >> beam.Create([None])
            | "WriteReport"
            >> beam.Map(
                write_report,
                sounds=as_list(inputs[SOUNDS]),
                duplicates=as_list(inputs["duplicates"]),
                letters=as_list(inputs[DEAD_LETTERS]),
                listed=beam.pvalue.AsSingleton(inputs["listed"]),
                sink=self._sink,
            )
        )
