"""Names that two transforms must spell alike: their outputs, and the stages of dead letters."""

from __future__ import annotations

TRACKS = "tracks"
PARTS = "parts"
SOUNDS = "sounds"
FRAMES = "frames"
DUPLICATES = "duplicates"
DEAD_LETTERS = "dead_letters"
LISTED = "listed"


class Stage:
    """The step that gave a track up, as a dead letter names it."""

    LIST = "ListTracks"
    ENCODE = "EncodeTracks"
    DRAW = "DrawFrames"
    ACCOMPANY = "AccompanyTracks"
