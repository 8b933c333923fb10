"""Writes a static HTML page with players and spectrograms of clips side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from singsong.audio.sound_files import flac_bytes
from singsong.evaluation.listening_page_look import COLOUR_BAR, SCRIPT, STYLE
from singsong.evaluation.spectrogram import (
    HIGHEST_HZ,
    LOUDEST_DB,
    LOWEST_HZ,
    QUIETEST_DB,
    spectrogram_png,
)
from singsong.storage import join, put_bytes

PAGE = "index.html"
SOUNDS_FOLDER = "sounds"
_TICKS_HZ = (100, 300, 1000, 3000)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sound:
    """A sound on the page.

    Attributes:
        label: What it is, such as "vocals".
        audio: float32 [samples] in [-1, 1]; values outside are clipped in the file.
        sample_rate_hz: Samples per second.

    Raises:
        ValueError: The audio is not one-dimensional, is empty or is not finite, or the sample rate
            is not positive.
    """

    label: str
    audio: npt.NDArray[np.float32]
    sample_rate_hz: int

    def __post_init__(self) -> None:
        if self.audio.ndim != 1 or not self.audio.size:
            raise ValueError(f"audio must be [samples], found shape {self.audio.shape}")
        if not np.isfinite(self.audio).all():
            raise ValueError(f"audio must be finite, found NaN or infinity in {self.label!r}")
        if self.sample_rate_hz <= 0:
            raise ValueError(f"sample_rate_hz must be positive, found {self.sample_rate_hz}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ListeningClip:
    """A clip: its name, its figures as formatted text, and its sounds.

    Raises:
        ValueError: There is no sound.
    """

    name: str
    figures: Mapping[str, str]
    sounds: Sequence[Sound]

    def __post_init__(self) -> None:
        if not self.sounds:
            raise ValueError(f"sounds must hold at least one, found none for clip {self.name!r}")


def write_listening_page(
    folder: str,
    clips: Sequence[ListeningClip],
    *,
    title: str,
    summary_rows: Sequence[tuple[str, str]],
) -> str:
    """Writes `index.html`, last, and beside it a FLAC and a PNG for each sound.

    The page needs nothing from outside of its folder, and its script adds comfort only. Files are
    named by position, never by what a clip is called.

    Args:
        folder: Local folder or URL to write to.
        clips: The clips in order.
        title: Heading of the page.
        summary_rows: (name, value) of each figure for all clips together.

    Returns:
        Path or URL of the page.

    Raises:
        ValueError: There is no clip.
        OSError: The folder cannot be written.
    """
    if not clips:
        raise ValueError("clips must hold at least one, found none")
    sections = [_clip_html(folder, clip, number=number) for number, clip in enumerate(clips, 1)]
    page = join(folder, PAGE)
    html = _page_html(clips, sections=sections, title=title, summary_rows=summary_rows)
    # A name may contain lone surrogates, from a file name that is not UTF-8.
    put_bytes(page, html.encode("utf-8", "backslashreplace"))
    return page


def _clip_html(folder: str, clip: ListeningClip, *, number: int) -> str:
    figures = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in clip.figures.items()
    )
    cards = []
    for index, sound in enumerate(clip.sounds):
        stem = f"{SOUNDS_FOLDER}/clip-{number:04}-{index:02}"
        _write_sound(folder, sound, stem=stem)
        cards.append(_sound_html(sound, stem=stem, clip_name=clip.name))
    return (
        f'<section id="clip-{number}" aria-labelledby="clip-{number}-name">'
        f'<h2 id="clip-{number}-name">{_breakable(clip.name)}</h2>'
        f'<dl class="figures">{figures}</dl><div class="sounds">{"".join(cards)}</div></section>\n'
    )


def _write_sound(folder: str, sound: Sound, *, stem: str) -> None:
    flac = flac_bytes(sound.audio, sample_rate_hz=sound.sample_rate_hz)
    put_bytes(join(folder, f"{stem}.flac"), flac)
    picture = spectrogram_png(sound.audio, sample_rate_hz=sound.sample_rate_hz)
    put_bytes(join(folder, f"{stem}.png"), picture)


def _sound_html(sound: Sound, *, stem: str, clip_name: str) -> str:
    seconds = len(sound.audio) / sound.sample_rate_hz
    label, clip = escape(sound.label), escape(clip_name)
    return (
        f'<figure class="sound"><figcaption><strong>{label}</strong> <span>'
        f"{sound.sample_rate_hz / 1000:g} kHz, {seconds:.1f} s</span></figcaption>"
        f'<div class="picture"><img src="{stem}.png" width="960" height="192" loading="lazy" '
        f'alt="Spectrogram of {label}, {clip}">{_ticks_html()}<i class="playhead" hidden></i></div>'
        f'<audio controls preload="metadata" src="{stem}.flac" aria-label="{label}, {clip}">'
        "</audio></figure>"
    )


def _ticks_html() -> str:
    """Returns labels of round frequencies at the heights of these rows of the spectrogram."""
    ticks = []
    for tick_hz in _TICKS_HZ:
        height = np.log(tick_hz / LOWEST_HZ) / np.log(HIGHEST_HZ / LOWEST_HZ)
        name = f"{tick_hz / 1000:g}k" if tick_hz >= 1000 else str(tick_hz)
        ticks.append(f'<b class="tick" style="bottom:{100 * height:.1f}%">{name}</b>')
    return f'<span aria-hidden="true">{"".join(ticks)}</span>'


def _page_html(
    clips: Sequence[ListeningClip],
    *,
    sections: Sequence[str],
    title: str,
    summary_rows: Sequence[tuple[str, str]],
) -> str:
    summary = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in summary_rows
    )
    links = "".join(
        f'<li><a href="#clip-{number}">{_breakable(clip.name)}</a></li>'
        for number, clip in enumerate(clips, 1)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n"
        f"<header><h1>{escape(title)}</h1>"
        f"{f'<table>{summary}</table>' if summary_rows else ''}"
        '<div class="legend"><span>Spectrograms, all on the same scale: '
        f"{LOWEST_HZ:g} Hz to {HIGHEST_HZ / 1000:g} kHz, logarithmic.</span>"
        f"<span>{_minus(QUIETEST_DB)} dB {COLOUR_BAR} {_minus(LOUDEST_DB)} dB</span></div>"
        f'<nav aria-label="Clips"><ul>{links}</ul></nav></header>\n'
        f"<main>\n{''.join(sections)}</main><script>{SCRIPT}</script></body></html>\n"
    )


def _breakable(name: str) -> str:
    """Returns a name as HTML with line breaks allowed after the separators in file names."""
    return "<wbr>".join(escape(part) for part in re.split(r"(?<=[/_.-])", name))


def _minus(value: float) -> str:
    return f"{value:g}".replace("-", "−")
