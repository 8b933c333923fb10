"""Names of the outputs of transforms."""

from __future__ import annotations

FILES = "files"
TRACKS = "tracks"
PARTS = "parts"
SOUNDS = "sounds"
FRAMES = "frames"
DUPLICATES = "duplicates"
DEAD_LETTERS = "dead_letters"
LISTED = "listed"
SKIPPED = "skipped"
