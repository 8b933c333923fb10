"""Accompanies many singers: files of vocals in, sound files out."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import apache_beam as beam

from singsong import storage
from singsong.audio.sound_files import write_sound_file
from singsong.dataset.commit import AccountingError
from singsong.generation.accompanist import Accompanist
from singsong.generation.vocals_file import read_vocals
from singsong.schemas.elements import DeadLetter, Track, TrackSummary
from singsong.schemas.outcomes import Stage
from singsong.transforms.accompany_config import AccompanyConfig
from singsong.transforms.accompany_vocals import accompany_vocals, load_accompanist
from singsong.transforms.outputs import DEAD_LETTERS, DUPLICATES, LISTED, SOUNDS
from singsong.transforms.per_track import Meter, PerTrack
from singsong.transforms.progress import ProgressLog
from singsong.transforms.source_files import check_content, local_track

REPORT_NAME = "accompaniments.json"
_MAX_NAME_BYTES = 160
"""Of the vocals' name in that of a sound: a name on a disk has up to 255."""


def sound_name(track: Track, *, digest: str, seed: int, suffix: str) -> str:
    """Returns the name of an accompaniment: that of the file, a key of its content and the seed.

    >>> track = Track(track_id="ab12", uri="gs://takes/verse one.wav", size_bytes=1)
    >>> sound_name(track, digest="cd34", seed=0, suffix=".flac")
    'verse one-806f2a0a-seed0.flac'
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


@dataclass(frozen=True, kw_only=True)
class _AccompanyStep:
    config: AccompanyConfig
    sink: AccompanySink
    stage: Stage = Stage.ACCOMPANY_TRACKS

    def result_of(self, track: Track) -> str:
        return storage.join(self.sink.output, self._sounds(track)[0].path)

    def find(self, track: Track) -> list[SoundRef] | None:
        sounds = self._sounds(track)
        done = all(storage.exists(storage.join(self.sink.output, it.path)) for it in sounds)
        return sounds if done else None

    def load(self) -> Accompanist:
        return load_accompanist(self.config)

    def run(self, track: Track, models: Accompanist, meter: Meter) -> list[SoundRef]:
        sounds = {sound.seed: sound for sound in self._sounds(track)}
        progress = ProgressLog(self.config.progress)
        with local_track(track) as local, meter.watch("accompany"):
            check_content(track, local)
            vocals, rate_hz = read_vocals(local, suffix=self.sink.suffix, stem=self.config.stem)
            for seed, audio in accompany_vocals(
                vocals,
                sample_rate_hz=rate_hz,
                config=self.config,
                accompanist=models,
                on_token=lambda _total: progress.check_stopped(),
            ):
                url = storage.join(self.sink.output, sounds[seed].path)
                write_sound_file(url, audio, sample_rate_hz=rate_hz)
        return list(sounds.values())

    def _sounds(self, track: Track) -> list[SoundRef]:
        how = {"digest": self.sink.digest, "suffix": self.sink.suffix}
        return [
            SoundRef(uri=track.uri, path=sound_name(track, seed=seed, **how), seed=seed)
            for seed in self.config.seeds
        ]


class AccompanyTracks(PerTrack):
    """Writes the accompaniments of each track that do not exist yet.

    Returns a dict with the outputs "sounds" and "dead_letters".
    """

    def __init__(self, config: AccompanyConfig, sink: AccompanySink) -> None:
        step = _AccompanyStep(config=config, sink=sink)
        super().__init__(step, output=SOUNDS, element=SoundRef)


def write_report(
    _: None,
    sounds: Sequence[SoundRef],
    duplicates: Sequence[TrackSummary],
    letters: Sequence[DeadLetter],
    listed: int,
    sink: AccompanySink,
) -> None:
    """Writes the outcome of each file, last of all.

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
                duplicates=as_list(inputs[DUPLICATES]),
                letters=as_list(inputs[DEAD_LETTERS]),
                listed=beam.pvalue.AsSingleton(inputs[LISTED]),
                sink=self._sink,
            )
        )
