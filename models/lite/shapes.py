"""Residual quantisation by signed shapes: each code is a shape of its codebook, or its negative.

MDCT coefficients are as likely positive as negative, so a codebook without signs would learn each
shape twice. With signs, half as many shapes get twice as many examples each: at 10 bits this gains
0.4 dB on held-out music and halves the search.

Code 2 i means +shape i, and code 2 i + 1 means -shape i.
"""

from __future__ import annotations

import numpy as np
import torch

from singsong.models.kmeans import find_dead_clusters, reseed

_BLOCK = 8192
"""Number of points whose products with all shapes are in memory at a time."""


def nearest_shapes(points: torch.Tensor, shapes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the code of the nearest signed shape of each point, and the squared distance.

    Args:
        points: float32 [points, dims].
        shapes: float32 [shapes, dims].

    Returns:
        int64 [points]; float32 [points].

    >>> codes, squared = nearest_shapes(torch.tensor([[-3.0]]), torch.tensor([[1.0], [2.0]]))
    >>> codes.tolist(), squared.tolist()
    ([3], [1.0])
    """
    codes = torch.empty(len(points), dtype=torch.int64)
    squared = torch.empty(len(points), dtype=torch.float32)
    half_norms, transposed = shapes.square().sum(1) / 2, shapes.T.contiguous()
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        products = block @ transposed
        gain, index = (products.abs() - half_norms).max(dim=1)
        negative = products.gather(1, index[:, None])[:, 0] < 0
        codes[start : start + _BLOCK] = 2 * index + negative
        squared[start : start + _BLOCK] = block.square().sum(1) - 2 * gain
    return codes, squared.clamp_(min=0)


def signed_shapes(codes: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
    """Returns the signed shape of each code: float32 [points, dims].

    Args:
        codes: int64 [points].
        shapes: float32 [shapes, dims].

    >>> signed_shapes(torch.tensor([0, 3]), torch.tensor([[1.0], [2.0]])).tolist()
    [[1.0], [-2.0]]
    """
    return shapes[codes >> 1] * _signs(codes)[:, None]


def search(points: torch.Tensor, books: torch.Tensor, *, beam: int) -> torch.Tensor:
    """Returns codes whose signed shapes add up to about each point: int64 [points, books].

    Args:
        points: float32 [points, dims].
        books: float32 [books, shapes, dims].
        beam: Number of partial sums kept from book to book; 1 is greedy search.

    Raises:
        ValueError: The beam is not from 1 to the number of shapes.

    >>> books = torch.tensor([[[1.0], [4.0]], [[0.25], [0.5]]])
    >>> search(torch.tensor([[-3.6]]), books, beam=1).tolist()
    [[3, 2]]
    """
    if not 1 <= beam <= books.shape[1]:
        raise ValueError(f"beam must be from 1 to {books.shape[1]} shapes, found {beam}")
    if beam == 1:
        return _greedy_search(points, books)
    count = len(points)
    residuals, rewards = points, torch.zeros(count, 1)
    codes = torch.empty(count, 0, dtype=torch.int64)
    for shapes in books:
        products = residuals @ shapes.T
        # Half of |r|^2 - |r - s|^2: by how much a signed shape shrinks a residual.
        gains = products.abs().sub_(shapes.square().sum(1) / 2)
        best, index = _largest(gains, beam)
        chosen = 2 * index + (products.gather(1, index) < 0)
        # The best extensions of each partial sum include the best of all for the point.
        totals = (rewards.reshape(-1, 1) + best).reshape(count, -1)
        sums = rewards.shape[1]
        rewards, picked = totals.topk(beam)
        chosen = chosen.reshape(count, -1).gather(1, picked)
        parents = picked // beam
        rows = (torch.arange(count)[:, None] * sums + parents).reshape(-1)
        residuals = residuals[rows] - signed_shapes(chosen.reshape(-1), shapes)
        codes = torch.cat([codes[rows], chosen.reshape(-1, 1)], dim=1)
    # The partial sums of each point are in order, best first.
    return codes[::beam]


def _greedy_search(points: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    """Returns the same as `search` with a beam of 1, without the bookkeeping of a beam."""
    residuals, codes = points.clone(), torch.empty(len(books), len(points), dtype=torch.int64)
    half_norms = books.square().sum(2) / 2
    products = torch.empty(len(points), books.shape[1])
    gains = torch.empty_like(products)
    for level, shapes in enumerate(books):
        torch.mm(residuals, shapes.T, out=products)
        torch.abs(products, out=gains).sub_(half_norms[level])
        index = torch.from_numpy(gains.numpy().argmax(axis=1))
        negative = products.gather(1, index[:, None])[:, 0] < 0
        torch.add(negative, index, alpha=2, out=codes[level])
        chosen = shapes[index]
        residuals -= torch.where(negative[:, None], -chosen, chosen)
    return codes.T


def sum_shapes(codes: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    """Returns the sum of the signed shapes of each point: float32 [points, dims].

    Args:
        codes: int64 [points, k], of the first k books; k may be 0.
        books: float32 [books, shapes, dims].

    >>> sum_shapes(torch.tensor([[3, 2]]), torch.tensor([[[1.0], [4.0]], [[0.25], [0.5]]])).tolist()
    [[-3.5]]
    """
    total = torch.zeros(len(codes), books.shape[2])
    for level in range(codes.shape[1]):
        total += signed_shapes(codes[:, level], books[level])
    return total


def fit_books(
    points: torch.Tensor, *, books: int, shapes: int, iterations: int, rng: np.random.Generator
) -> torch.Tensor:
    """Returns residual codebooks of signed shapes: float32 [books, shapes, dims].

    Each book is fitted by k-means to the residuals of the books before it.

    Args:
        points: float32 [points, dims]; not changed.
        books: Number of codebooks.
        shapes: Number of shapes in each, half its number of codes.
        iterations: Rounds of k-means for each book.
        rng: Draws the initial shapes and the points for reseeding dead ones.

    Raises:
        ValueError: There are fewer points than shapes, or iterations is below 1.

    >>> points = torch.tensor([[3.0], [-3.0], [1.0], [-1.0]])
    >>> rng = np.random.default_rng(0)
    >>> fit_books(points, books=1, shapes=2, iterations=3, rng=rng).abs().sort(1)[0].tolist()
    [[[1.0], [3.0]]]
    """
    if len(points) < shapes:
        raise ValueError(f"there must be at least shapes={shapes} points, found {len(points)}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, found {iterations}")
    residuals, fitted = points.clone(), []
    for _ in range(books):
        book = _fit_book(residuals, shapes=shapes, iterations=iterations, rng=rng)
        codes, _ = nearest_shapes(residuals, book)
        for start in range(0, len(residuals), _BLOCK):
            block = slice(start, start + _BLOCK)
            residuals[block] -= signed_shapes(codes[block], book)
        fitted.append(book)
    return torch.stack(fitted)


def _fit_book(
    points: torch.Tensor, *, shapes: int, iterations: int, rng: np.random.Generator
) -> torch.Tensor:
    chosen = np.sort(rng.choice(len(points), shapes, replace=False))
    book = points[torch.from_numpy(chosen)].clone()
    for iteration in range(iterations):
        codes, squared = nearest_shapes(points, book)
        counts = torch.bincount(codes >> 1, minlength=shapes)
        sums = _signed_sums(points, codes, shapes)
        book = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], book)
        if iteration < iterations - 1:
            dead, drawn = find_dead_clusters(counts, squared, rng=rng)
            nearest = signed_shapes(codes[drawn], book)
            book = reseed(book, dead=dead, targets=points[drawn], nearest=nearest)
    return book


def _signed_sums(points: torch.Tensor, codes: torch.Tensor, shapes: int) -> torch.Tensor:
    sums = torch.zeros(shapes, points.shape[1])
    for start in range(0, len(points), _BLOCK):
        block = codes[start : start + _BLOCK]
        signed = points[start : start + _BLOCK] * _signs(block)[:, None]
        sums.index_add_(0, block >> 1, signed)
    return sums


def _largest(gains: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the largest gains of each row and where they are, both [rows, count].

    Args:
        gains: float32 [rows, shapes]; overwritten where a value was found, except for the last.
        count: How many to find in each row.
    """
    # NumPy's argmax takes a tenth of the time of torch's topk here, in the inner loop.
    table, rows = gains.numpy(), np.arange(len(gains))
    values, places = [], []
    for found in range(count):
        place = table.argmax(axis=1)
        values.append(table[rows, place])
        places.append(place)
        if found < count - 1:
            table[rows, place] = -np.inf
    return torch.from_numpy(np.stack(values, axis=1)), torch.from_numpy(np.stack(places, axis=1))


def _signs(codes: torch.Tensor) -> torch.Tensor:
    return 1.0 - 2.0 * (codes & 1).to(torch.float32)
