"""Writes songs that our synthesiser composes and sings. The flags are in `demo_songs_arguments`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from tqdm import tqdm

from singsong.audio.sound_files import flac_bytes
from singsong.schemas.seeds import generator
from singsong.storage import is_temporary, join, list_files, put_bytes, remove
from singsong.synth.score import Score, SongSpec, compose
from singsong.synth.song import MIX, STEMS, render_song

FOLDERS = ("mixes", "stems")
INDEX = "songs.json"


@dataclass(frozen=True, kw_only=True)
class DemoSongsConfig:
    """What to write.

    Attributes:
        output: Folder for the songs; it may hold an earlier run of no more songs, and nothing else.
        songs: How many.
        seconds: Length of each.
        seed: Chooses the songs; song i does not depend on how many there are.
        tempi_bpm: Tempi that the songs have in turn; none draws one for each song.

    Raises:
        ValueError: No output, no songs, or seconds or a tempo that no song can have.
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


def write_songs(config: DemoSongsConfig) -> None:
    """Writes the songs and, last, their index.

    Raises:
        ValueError: The output holds audio that this run would not write, which `prepare` would
            take for one of its songs.
        OSError: The output cannot be written.
    """
    _clean_up(config)
    entries = [write_song(config, index) for index in tqdm(range(config.songs), unit="song")]
    index = {"seed": config.seed, "seconds": config.seconds, "songs": entries}
    put_bytes(join(config.output, INDEX), json.dumps(index, indent=1).encode())


def write_song(config: DemoSongsConfig, index: int) -> dict[str, Any]:
    """Writes the mix and the stems of one song and returns its entry in the index.

    Files are 16-bit FLAC, so the stems add up to the mix within a few steps of 16 bits.

    Raises:
        OSError: The output cannot be written.
    """
    spec = config.spec(index)
    score = compose(spec)
    for name, audio in render_song(spec, score).items():
        data = flac_bytes(audio, sample_rate_hz=spec.sample_rate_hz)
        put_bytes(join(config.output, _path(config.name(index), name)), data)
    return _entry(config.name(index), spec=spec, score=score)


def _path(song: str, stem: str) -> str:
    return f"mixes/{song}.flac" if stem == MIX else f"stems/{song}/{stem}.flac"


def _clean_up(config: DemoSongsConfig) -> None:
    """Removes half-written files of a killed run; raises if the folder holds other audio."""
    expected = {
        _path(config.name(index), stem) for index in range(config.songs) for stem in (*STEMS, MIX)
    }
    found = {
        join(folder, path) for folder in FOLDERS for path in list_files(join(config.output, folder))
    }
    unfinished = set(filter(is_temporary, found))
    if others := sorted(found - expected - unfinished):
        raise ValueError(
            f"output must be a new folder, or one that an equal or smaller run wrote; found "
            f"{others[0]} in {config.output}"
        )
    for path in unfinished:
        remove(join(config.output, path))


def _entry(name: str, *, spec: SongSpec, score: Score) -> dict[str, Any]:
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
