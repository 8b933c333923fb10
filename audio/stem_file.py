"""Stem files (`*.stem.mp4`), which hold the mix and each stem of a song as separate streams."""

from __future__ import annotations

import subprocess

from singsong.audio.decode_process import ffmpeg_path
from singsong.schemas.errors import CorruptAudioError

_VOCALS_STREAM = 4  # mix, drums, bass, other, vocals


def write_vocals(source: str, target: str) -> None:
    """Writes the vocals of a stem file to a wav of float32 samples.

    Args:
        source: A local stem file, as in MUSDB18.
        target: A local file; it is overwritten.

    Raises:
        CorruptAudioError: The stream is missing, or ffmpeg cannot read it.
    """
    command = [ffmpeg_path(), "-v", "error", "-y", "-i", source]
    command += ["-map", f"0:{_VOCALS_STREAM}", "-c:a", "pcm_f32le", "-f", "wav", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CorruptAudioError(f"{source}: {done.stderr.strip() or 'ffmpeg failed'}")
