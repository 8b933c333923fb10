"""Codes from codes: an accompaniment of any length, and the fine codes that complete it.

    codes = accompany_codes(model, windows, vocabulary=vocabulary, layout=layout, seeds=[0, 1])
    acoustic = fine_codes(fine_model, codes.coarse, vocabulary=fine_vocabulary, seeds=[0, 1])

Nothing here knows audio: who calls encodes windows of the vocals (`window_starts` says which), and
decodes the acoustic codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
from singsong.training.t5_layers import evaluation_mode
from singsong.training.vocabulary import FineVocabulary, Vocabulary

BATCH_CHUNKS = 16
"""How many chunks of fine codes are drawn at once."""


@torch.no_grad()
def accompany_codes(
    model: Any,
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

    From the second window on, what overlaps the window before is forced: the semantic and the
    coarse codes that were generated there, kept verbatim.

    Args:
        model: An `AccompanimentModel`.
        windows: Tokens of the vocals, one [batch, source positions] a window.
        vocabulary: Of the dataset that the model was trained on.
        layout: Frames of a window and of a hop.
        seeds: One for each row of the batch.
        temperature: See `sample_tokens`.
        cached: See `sample_tokens`.
        on_token: See `sample_tokens`.

    Raises:
        ValueError: There is no window, or not one seed for each row.

    Paper: 3.3 and 6.
    """
    _check_rows(windows, seeds)
    ranges = layout.ranges(vocabulary)
    device = model.lm_head.weight.device
    written: list[torch.Tensor] = []
    with evaluation_mode(model):
        for index, window in enumerate(windows):
            forced = torch.full((len(seeds), len(ranges)), FREE, device=device)
            if written:
                codebooks = vocabulary.coarse_codebooks
                force_overlap(forced, written[-1], layout=layout, codebooks=codebooks)
            source = torch.tensor(np.asarray(window, np.int64), device=device)
            tokens = sample_tokens(
                model,
                forced=forced,
                ranges=ranges,
                uniforms=_uniforms([(seed, f"window {index}") for seed in seeds], len(ranges)),
                temperature=temperature,
                encoded=model.encoder(input_ids=source).last_hidden_state,
                cached=cached,
                on_token=on_token,
            )
            written.append(tokens)
    found = [tokens.cpu().numpy() for tokens in written]
    return join_windows(found, vocabulary=vocabulary, layout=layout)


@torch.no_grad()
def fine_codes(
    model: Any,
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
    """Returns all codes of a stream: the coarse ones as they are, and fine ones for them.

    Args:
        model: A `FineModel`.
        coarse: Integers [batch, frames, coarse codebooks].
        vocabulary: Of the dataset that the model was trained on.
        seeds: One for each row of the batch.
        chunk_frames: Frames of a chunk, as many as in a training crop. Chunks do not overlap, and
            the last one may be shorter.
        batch_chunks: How many chunks are drawn at once.
        temperature: See `sample_tokens`.
        cached: See `sample_tokens`.
        on_token: See `sample_tokens`.

    Returns:
        int64 [batch, frames, codebooks].

    Raises:
        ValueError: Not one seed for each row, or a number is not positive.

    Paper: 3.3. Default: as AudioLM, to which 4.4 points: chunks of 3 s at temperature 0.6.
    """
    _check_rows([coarse], seeds)
    if chunk_frames < 1 or batch_chunks < 1:
        raise ValueError(
            f"chunk_frames and batch_chunks must be positive, found {chunk_frames}, {batch_chunks}"
        )
    rows, frames, _ = coarse.shape
    fine = np.empty((rows, frames, vocabulary.fine.codebooks), np.int64)
    for start, end, size in _chunks(frames, chunk_frames):
        given = coarse[:, start:end].reshape(-1, size, vocabulary.coarse_codebooks)
        keys = [(seed, f"frame {at}") for seed in seeds for at in range(start, end, size)]
        ranges = vocabulary.ranges(size)
        drawn = [
            _fine_chunks(
                model,
                vocabulary.coarse.tokens(given[at : at + batch_chunks]),
                ranges=ranges,
                uniforms=_uniforms(keys[at : at + batch_chunks], len(ranges)),
                temperature=temperature,
                cached=cached,
                on_token=on_token,
            )
            for at in range(0, len(given), batch_chunks)
        ]
        codes = vocabulary.fine.codes(np.concatenate(drawn))
        fine[:, start:end] = codes.reshape(rows, end - start, -1)
    return np.concatenate([coarse.astype(np.int64), fine], -1)


def fine_steps(
    frames: int,
    *,
    rows: int,
    vocabulary: FineVocabulary,
    chunk_frames: int,
    batch_chunks: int = BATCH_CHUNKS,
) -> int:
    """Returns how often `fine_codes` calls `on_token` for so many rows of so many frames.

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
    """Returns start, end and length of a chunk for the whole chunks, and for the shorter last."""
    whole = frames - frames % chunk_frames
    runs = [(0, whole, chunk_frames), (whole, frames, frames - whole)]
    return [(start, end, size) for start, end, size in runs if start < end]


def _fine_chunks(
    model: Any, coarse: IntArray, *, ranges: TokenArray, uniforms: torch.Tensor, **how: Any
) -> TokenArray:
    """Returns the fine tokens of chunks, int64 [chunks, fine positions]."""
    forced = torch.full((len(coarse), len(ranges)), FREE, device=model.lm_head.weight.device)
    forced[:, : coarse.shape[1]] = torch.from_numpy(coarse.astype(np.int64))
    with evaluation_mode(model):
        tokens = sample_tokens(model, forced=forced, ranges=ranges, uniforms=uniforms, **how)
    found: TokenArray = tokens[:, coarse.shape[1] :].cpu().numpy()
    return found


def _uniforms(keys: Sequence[tuple[int, str]], positions: int) -> torch.Tensor:
    """Returns the random numbers of each row: what it draws depends on its own key alone."""
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
