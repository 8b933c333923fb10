import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singsong.audio.clips import ClipCutter


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(1, 40))
def test_clips_are_the_audio_whatever_the_blocks_are(sizes: list[int], clip_samples: int) -> None:
    audio = np.arange(sum(sizes), dtype=np.float32)
    blocks = np.split(audio, np.cumsum(sizes)[:-1]) if sizes else []
    cutter = ClipCutter(clip_samples=clip_samples)
    clips = list(cutter.cut(blocks))
    whole = len(audio) // clip_samples
    assert len(clips) == whole
    if clips:
        np.testing.assert_array_equal(np.concatenate(clips), audio[: whole * clip_samples])
    assert cutter.tail_samples == len(audio) - whole * clip_samples
    assert cutter.total_samples == len(audio)


def test_a_clip_has_a_length() -> None:
    with pytest.raises(ValueError, match="clip_samples"):
        ClipCutter(clip_samples=0)
