"""Codes from codes: an accompaniment of any length, and the fine codes that complete it.

    codes = accompany_codes(model, windows, vocabulary=vocabulary, layout=layout, seeds=[0, 1])
    acoustic = fine_codes(fine_model, codes.coarse, vocabulary=fine_vocabulary, seeds=[0, 1])

Nothing here handles audio: the caller encodes windows of the vocals (see `window_starts`) and
decodes the acoustic codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from singsong.generation.sampling import FREE, sample_tokens
from singsong.generation.song_windows import (
    InstrumentalCodes,
    WindowLayout,
    force_overlap,
    join_windows,
)
from singsong.schemas.arrays import IntArray, TokenArray
from singsong.schemas.seeds import generator
from singsong.training.accompaniment_model import AccompanimentModel
from singsong.training.fine_model import FineModel
from singsong.training.t5_layers import evaluation_mode
from singsong.training.vocabulary import FineVocabulary, Vocabulary

BATCH_CHUNKS = 16
"""Number of chunks of fine codes that are drawn at once."""


@torch.no_grad()
def accompany_codes(
    model: AccompanimentModel,
    windows: Sequence[IntArray],
    *,
    vocabulary: Vocabulary,
    layout: WindowLayout,
    seeds: Sequence[int],
    temperature: float = 0.85,
    cached: bool = True,
    on_token: Callable[[], None] | None = None,
) -> InstrumentalCodes:
    """Returns the codes of an instrumental for windows of vocals.

    From the second window on, the overlap with the window before is forced: its semantic and
    coarse codes, which were generated there, are kept verbatim.

    Args:
        model: The model.
        windows: Tokens of the vocals, one [batch, source positions] per window.
        vocabulary: The vocabulary of the model.
        layout: Frames in a window and in a hop.
        seeds: One for each row of the batch.
        temperature: See `sample_tokens`.
        cached: See `sample_tokens`.
        on_token: See `sample_tokens`.

    Raises:
        ValueError: There is no window, or the number of seeds is not the number of rows.

    Paper: 3.3 and 6.
    """
    _check_rows(windows, seeds)
    draw = partial(sample_tokens, model, temperature=temperature, cached=cached, on_token=on_token)
    with evaluation_mode(model):
        written = _draw_windows(model, windows, draw, vocabulary, layout=layout, seeds=seeds)
    found = [tokens.cpu().numpy() for tokens in written]
    return join_windows(found, vocabulary=vocabulary, layout=layout)


def _draw_windows(
    model: AccompanimentModel,
    windows: Sequence[IntArray],
    draw: Callable[..., torch.Tensor],
    vocabulary: Vocabulary,
    *,
    layout: WindowLayout,
    seeds: Sequence[int],
) -> list[torch.Tensor]:
    """Returns the tokens of each window, int64 [batch, positions]."""
    ranges = layout.ranges(vocabulary)
    device = model.lm_head.weight.device
    written: list[torch.Tensor] = []
    for index, window in enumerate(windows):
        forced = torch.full((len(seeds), len(ranges)), FREE, device=device)
        if written:
            codebooks = vocabulary.coarse_codebooks
            force_overlap(forced, written[-1], layout=layout, codebooks=codebooks)
        source = torch.tensor(np.asarray(window, np.int64), device=device)
        tokens = draw(
            forced=forced,
            ranges=ranges,
            uniforms=_uniforms([(seed, f"window {index}") for seed in seeds], len(ranges)),
            encoded=model.encoder(input_ids=source).last_hidden_state,
        )
        written.append(tokens)
    return written


@torch.no_grad()
def fine_codes(
    model: FineModel,
    coarse: IntArray,
    *,
    vocabulary: FineVocabulary,
    seeds: Sequence[int],
    chunk_frames: int = 150,
    batch_chunks: int = BATCH_CHUNKS,
    temperature: float = 0.6,
    cached: bool = True,
    on_token: Callable[[], None] | None = None,
) -> TokenArray:
    """Returns int64 [batch, frames, codebooks]: the given coarse codes, and drawn fine codes.

    Args:
        model: The model.
        coarse: Integers [batch, frames, coarse codebooks].
        vocabulary: The vocabulary of the model.
        seeds: One for each row of the batch.
        chunk_frames: Frames in a chunk, as many as in a training crop; the last may be shorter.
        batch_chunks: Number of chunks that are drawn at once.
        temperature: See `sample_tokens`.
        cached: See `sample_tokens`.
        on_token: See `sample_tokens`.

    Raises:
        ValueError: The number of seeds is not the number of rows, or a size is not positive.

    Paper: 3.3. Default: as AudioLM, to which 4.4 points: chunks of 3 s at temperature 0.6.
    """
    _check_chunks(coarse, seeds, chunk_frames, batch_chunks)
    draw = partial(sample_tokens, model, temperature=temperature, cached=cached, on_token=on_token)
    fine = np.empty((*coarse.shape[:2], vocabulary.fine.codebooks), np.int64)
    with evaluation_mode(model):
        for start, end, size in _chunks(coarse.shape[1], chunk_frames):
            chunks = coarse[:, start:end].reshape(-1, size, vocabulary.coarse_codebooks)
            keys = [(seed, f"frame {at}") for seed in seeds for at in range(start, end, size)]
            codes = _draw_chunks(chunks, keys, draw, vocabulary, batch_chunks=batch_chunks)
            fine[:, start:end] = codes.reshape(len(coarse), end - start, -1)
    return np.concatenate([coarse.astype(np.int64), fine], -1)


def _draw_chunks(
    coarse: IntArray,
    keys: Sequence[tuple[int, str]],
    draw: Callable[..., torch.Tensor],
    vocabulary: FineVocabulary,
    *,
    batch_chunks: int,
) -> TokenArray:
    """Returns the fine codes of chunks of equal length, int64 [chunks, frames, fine codebooks]."""
    ranges = vocabulary.ranges(coarse.shape[1])
    drawn = []
    for at in range(0, len(coarse), batch_chunks):
        given = vocabulary.coarse.tokens(coarse[at : at + batch_chunks])
        forced = torch.full((len(given), len(ranges)), FREE)
        forced[:, : given.shape[1]] = torch.from_numpy(given.astype(np.int64))
        uniforms = _uniforms(keys[at : at + batch_chunks], len(ranges))
        tokens = draw(forced=forced, ranges=ranges, uniforms=uniforms)
        drawn.append(tokens[:, given.shape[1] :].cpu().numpy())
    return vocabulary.fine.codes(np.concatenate(drawn))


def fine_steps(
    frames: int,
    *,
    rows: int,
    vocabulary: FineVocabulary,
    chunk_frames: int,
    batch_chunks: int = BATCH_CHUNKS,
) -> int:
    """Returns the number of times that `fine_codes` calls `on_token`, for rows of frames.

    >>> vocabulary = FineVocabulary(codebooks=3, coarse_codebooks=2, codebook_size=8)
    >>> fine_steps(7, rows=2, vocabulary=vocabulary, chunk_frames=3, batch_chunks=2)
    7
    """
    batches = (
        (-(-rows * (end - start) // size // batch_chunks), size)
        for start, end, size in _chunks(frames, chunk_frames)
    )
    return sum(count * size for count, size in batches) * vocabulary.fine.codebooks


def _chunks(frames: int, chunk_frames: int) -> list[tuple[int, int, int]]:
    """Returns start, end and chunk length of the whole chunks, and of the shorter last one."""
    whole = frames - frames % chunk_frames
    runs = [(0, whole, chunk_frames), (whole, frames, frames - whole)]
    return [(start, end, size) for start, end, size in runs if start < end]


def _check_chunks(
    coarse: IntArray, seeds: Sequence[int], chunk_frames: int, batch_chunks: int
) -> None:
    _check_rows([coarse], seeds)
    if chunk_frames < 1 or batch_chunks < 1:
        raise ValueError(
            f"chunk_frames and batch_chunks must be positive, found {chunk_frames}, {batch_chunks}"
        )


def _uniforms(keys: Sequence[tuple[int, str]], positions: int) -> torch.Tensor:
    """Returns the random numbers of each row, which depend on its own key alone."""
    rows = [
        generator(seed=seed, purpose="accompaniment", key=key).random(positions)
        for seed, key in keys
    ]
    return torch.from_numpy(np.stack(rows))


def _check_rows(batches: Sequence[IntArray], seeds: Sequence[int]) -> None:
    if not batches:
        raise ValueError("an accompaniment needs at least one window of vocals")
    for batch in batches:
        if len(batch) != len(seeds) or not len(seeds):
            raise ValueError(f"each row needs a seed, found {len(batch)} rows, {len(seeds)} seeds")
