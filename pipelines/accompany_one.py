"""Accompanies one file of vocals, here and now."""

from __future__ import annotations

from tqdm import tqdm

from singsong import storage
from singsong.audio.sound_files import write_sound_file
from singsong.audio.sound_formats import suffix_of
from singsong.generation.vocals_file import read_vocals
from singsong.runners.exit_codes import ExitCode
from singsong.runners.local import set_up_process
from singsong.schemas.errors import ClipError
from singsong.schemas.text import printable
from singsong.transforms.accompany_config import AccompanyConfig


def accompany_one(vocals_url: str, *, output: str, config: AccompanyConfig) -> int:
    """Accompanies one file, with a progress bar, and returns the exit code.

    Args:
        vocals_url: The file.
        output: A sound file; with many seeds, each has its seed in its name.
        config: How.

    Raises:
        ValueError: The file cannot be decoded, its accompaniment cannot be written in that format,
            or a model is missing or does not fit the others.
        OSError: The output cannot be written.
    """
    try:
        with storage.local_copy(vocals_url) as local:
            vocals, rate_hz = read_vocals(local, suffix=suffix_of(output), stem=config.stem)
    except ClipError as error:
        raise ValueError(f"{vocals_url}: {error}") from error
    from singsong.transforms.accompany_vocals import accompany_vocals, load_accompanist

    set_up_process()
    accompanist = load_accompanist(config)
    with tqdm(unit="code", disable=None) as bar:

        def count(total: int) -> None:
            bar.total = total
            bar.update()

        for seed, audio in accompany_vocals(
            vocals,
            sample_rate_hz=rate_hz,
            config=config,
            accompanist=accompanist,
            on_token=count,
        ):
            url = _with_seed(output, seed, many=len(config.seeds) > 1)
            scale = write_sound_file(url, audio, sample_rate_hz=rate_hz)
            softer = f", scaled by {scale:.2f} to full scale" if scale < 1 else ""
            tqdm.write(printable(f"wrote {url} ({audio.shape[1] / rate_hz:.1f} s{softer})"))
    return ExitCode.DONE


def _with_seed(output: str, seed: int, *, many: bool) -> str:
    """Returns the output, with the seed in its name where there are many."""
    stem, dot, suffix = output.rpartition(".")
    return f"{stem}-seed{seed}{dot}{suffix}" if many else output
