"""Generated songs with known stems, key, chords and tempo."""
