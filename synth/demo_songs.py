"""Writes demo songs to a folder: mixes, stems, and an index of their keys, tempi and chords."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import soundfile
from tqdm import tqdm

from singsong.schemas.seeds import generator
from singsong.storage import is_temporary, join, list_files, put_bytes, remove
from singsong.synth.score import Score, SongSpec, compose
from singsong.synth.song import MIX, STEMS, render_song

FOLDERS = ("mixes", "stems")
INDEX = "songs.json"


@dataclass(frozen=True, kw_only=True)
class DemoSongsConfig:
    """The demo songs to write.

    Attributes:
        output: Folder for the songs; new, or from an earlier run of the same or fewer songs.
        songs: Number of songs.
        seconds: Length of each song.
        seed: Determines the songs; song i does not depend on the number of songs.
        tempi_bpm: Tempi that the songs use in turn; empty to draw one for each song.

    Raises:
        ValueError: The output is empty, there are no songs, or `SongSpec` refuses the length or a
            tempo.
    """

    output: str
    songs: int = 4
    seconds: float = 30.0
    seed: int = 0
    tempi_bpm: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.output:
            raise ValueError("output must name a folder, found an empty name")
        if self.songs < 1:
            raise ValueError(f"songs must be at least 1, found {self.songs}")
        for index in range(max(1, len(self.tempi_bpm))):
            self.spec(index)

    def spec(self, index: int) -> SongSpec:
        """Returns the spec of one song."""
        rng = generator(seed=self.seed, purpose="demo-songs", key=str(index))
        tempi = self.tempi_bpm
        return SongSpec(
            seed=int(rng.integers(2**31)),
            seconds=self.seconds,
            tempo_bpm=tempi[index % len(tempi)] if tempi else None,
        )

    def name(self, index: int) -> str:
        """Returns the name of one song, such as "song-0000"."""
        return f"song-{index:04}"


class ChordEntry(TypedDict):
    """A chord of a song."""

    start_s: float
    end_s: float
    name: str


class SongEntry(TypedDict):
    """A song in the index.

    Attributes:
        name: Name of the song.
        mix: Path of the mix in the output folder.
        stems: Path of each stem in the output folder.
        seed: Seed of its `SongSpec`.
        sample_rate_hz: Sample rate of its files.
        key: Name of its key, such as "C# minor".
        tempo_bpm: Quarter notes per minute.
        chords: Its chords, in order of time.
        melody: The fields of each `SungNote`, in order of time.
    """

    name: str
    mix: str
    stems: dict[str, str]
    seed: int
    sample_rate_hz: int
    key: str
    tempo_bpm: float
    chords: list[ChordEntry]
    melody: list[dict[str, object]]


def write_songs(config: DemoSongsConfig) -> None:
    """Writes the songs, with a progress bar, and then their index.

    Raises:
        ValueError: The output holds audio of another run, which `prepare` would take for songs of
            this one.
        OSError: The output cannot be written.
    """
    _clean_up(config)
    entries = [_write_song(config, index) for index in tqdm(range(config.songs), unit="song")]
    contents = {"seed": config.seed, "seconds": config.seconds, "songs": entries}
    put_bytes(join(config.output, INDEX), json.dumps(contents, indent=1).encode())


def _write_song(config: DemoSongsConfig, index: int) -> SongEntry:
    """Writes the mix and the stems of a song as 16-bit FLAC, and returns its index entry.

    Rounding to 16 bits makes the sum of the stems differ from the mix by a few quantisation steps.
    """
    spec = config.spec(index)
    score = compose(spec)
    for name, audio in render_song(spec, score).items():
        data = _flac(audio, sample_rate_hz=spec.sample_rate_hz)
        put_bytes(join(config.output, _path(config.name(index), name)), data)
    return _entry(config.name(index), spec=spec, score=score)


def _path(song: str, stem: str) -> str:
    return f"mixes/{song}.flac" if stem == MIX else f"stems/{song}/{stem}.flac"


def _clean_up(config: DemoSongsConfig) -> None:
    """Removes unfinished files of a killed run; raises if there are files of another run."""
    expected = {
        _path(config.name(index), stem) for index in range(config.songs) for stem in (*STEMS, MIX)
    }
    found = {
        join(folder, path) for folder in FOLDERS for path in list_files(join(config.output, folder))
    }
    unfinished = set(filter(is_temporary, found))
    if others := sorted(found - expected - unfinished):
        raise ValueError(
            f"output must be a new folder, or that of a run of the same or fewer songs; found "
            f"{others[0]} in {config.output}"
        )
    for path in unfinished:
        remove(join(config.output, path))


def _flac(audio: npt.NDArray[np.float32], *, sample_rate_hz: int) -> bytes:
    out = BytesIO()
    soundfile.write(out, audio.T, sample_rate_hz, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def _entry(name: str, *, spec: SongSpec, score: Score) -> SongEntry:
    return {
        "name": name,
        "mix": _path(name, MIX),
        "stems": {stem: _path(name, stem) for stem in STEMS},
        "seed": spec.seed,
        "sample_rate_hz": spec.sample_rate_hz,
        "key": score.key.name,
        "tempo_bpm": score.tempo_bpm,
        "chords": [
            {"start_s": chord.start_s, "end_s": chord.end_s, "name": chord.name}
            for chord in score.chords
        ],
        "melody": [asdict(note) for note in score.melody],
    }
