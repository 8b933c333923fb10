"""K-means without dead centroids, in float32 and in little memory."""

from __future__ import annotations

import numpy as np
import torch

_BLOCK = 8192
"""Points whose distances to all centroids are held at a time."""
_DEAD = 0.2
"""A cluster with less than this fraction of an even share of the points counts as dead."""
_STEP = 0.1
"""How far a reseeded centroid lies from the centroid nearest to its point, as a fraction of the way
to the point. On the point itself (1) it won few other points: 70 to 210 of 1024 codes stayed dead,
and held-out music was reconstructed 0.2 dB worse."""


def assign(points: torch.Tensor, centroids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the nearest centroid of each point, and its squared distance.

    Args:
        points: float32 [points, dims].
        centroids: float32 [codes, dims].

    Returns:
        int64 [points], the lower index where two centroids are equally near; float32 [points].

    Raises:
        ValueError: Points and centroids differ in their dimensions, or there is no centroid.

    >>> codes, squared = assign(torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [3.5]]))
    >>> codes.tolist(), squared.tolist()
    ([0, 1], [1.0, 0.25])
    """
    if points.ndim != 2 or centroids.ndim != 2 or points.shape[1] != centroids.shape[1]:
        raise ValueError(
            "points and centroids must be [n, dims] and [codes, dims] with the same dims, "
            f"found {tuple(points.shape)} and {tuple(centroids.shape)}"
        )
    if len(centroids) == 0:
        raise ValueError("centroids must hold a centroid, found none")
    codes = torch.empty(len(points), dtype=torch.int64)
    squared = torch.empty(len(points), dtype=torch.float32)
    # |p - c|^2 = |p|^2 + 2 (|c|^2 / 2 - p.c): one matrix product, and nothing of size n x k x d.
    half_norms, transposed = centroids.square().sum(1) / 2, centroids.T.contiguous()
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        low = torch.addmm(half_norms, block, transposed, alpha=-1).min(dim=1)
        codes[start : start + _BLOCK] = low.indices
        squared[start : start + _BLOCK] = 2 * low.values + block.square().sum(1)
    return codes, squared.clamp_(min=0)


def centroid_means(
    points: torch.Tensor, codes: torch.Tensor, *, fallback: torch.Tensor
) -> torch.Tensor:
    """Returns the mean point of each code, or the fallback's row where a code has no point.

    Args:
        points: float32 [points, dims].
        codes: int64 [points].
        fallback: float32 [codes, dims].

    >>> codes = torch.tensor([0, 0])
    >>> centroid_means(torch.tensor([[1.0], [3.0]]), codes, fallback=torch.zeros(2, 1)).tolist()
    [[2.0], [0.0]]
    """
    counts = torch.bincount(codes, minlength=len(fallback))
    sums = torch.zeros_like(fallback).index_add_(0, codes, points)
    return torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], fallback)


def fit_kmeans(
    points: torch.Tensor, *, codes: int, iterations: int, rng: np.random.Generator
) -> torch.Tensor:
    """Returns centroids [codes, dims] of the points, none of them dead.

    Starts from distinct points. After each round but the last, one point is drawn for each dead
    centroid, in proportion to its squared distance (as k-means++ does), and the centroid moves to
    where it splits the cluster of that point.

    Args:
        points: float32 [points, dims]; not changed.
        codes: Number of centroids.
        iterations: Rounds of assigning and averaging.
        rng: Draws the first centroids and the replacements.

    Raises:
        ValueError: There are fewer points than codes, or iterations is not positive.

    >>> points = torch.tensor([[0.0], [0.2], [5.0], [5.2]])
    >>> fit_kmeans(points, codes=2, iterations=3, rng=np.random.default_rng(0)).sort(0)[0].tolist()
    [[0.10000000149011612], [5.099999904632568]]
    """
    if len(points) < codes:
        raise ValueError(f"there must be at least codes={codes} points, found {len(points)}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, found {iterations}")
    chosen = np.sort(rng.choice(len(points), codes, replace=False))
    centroids = points[torch.from_numpy(chosen)].clone()
    for iteration in range(iterations):
        nearest, squared = assign(points, centroids)
        centroids = centroid_means(points, nearest, fallback=centroids)
        if iteration < iterations - 1:
            counts = torch.bincount(nearest, minlength=codes)
            dead, drawn = find_dead_clusters(counts, squared, rng=rng)
            nearby = centroids[nearest[drawn]]
            centroids = reseed(centroids, dead, targets=points[drawn], nearby=nearby)
    return centroids


def find_dead_clusters(
    counts: torch.Tensor, squared: torch.Tensor, *, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the dead clusters, and for each a point that is far from its own centroid.

    Args:
        counts: int64 [codes], how many points each cluster has.
        squared: float32 [points], the squared distance of each point to its centroid.
        rng: Draws the points, in proportion to that distance.

    Returns:
        int64 [n], indices of clusters; int64 [n], indices of points.

    >>> counts, squared = torch.tensor([2, 0]), torch.tensor([0.0, 1.0])
    >>> find_dead_clusters(counts, squared, rng=np.random.default_rng(0))
    (tensor([1]), tensor([1]))
    """
    enough = max(1.0, _DEAD * len(squared) / len(counts))
    weights = squared.double().numpy()
    # A point that lies on its centroid needs no other, so no more clusters are moved than are left.
    dead = torch.nonzero(counts < enough)[:, 0][: np.count_nonzero(weights)]
    if len(dead) == 0:
        return dead, dead
    drawn = rng.choice(len(weights), len(dead), replace=False, p=weights / weights.sum())
    return dead, torch.from_numpy(drawn)


def reseed(
    centroids: torch.Tensor, dead: torch.Tensor, *, targets: torch.Tensor, nearby: torch.Tensor
) -> torch.Tensor:
    """Returns the centroids, the dead ones moved to split the clusters of their target points.

    A centroid on the target itself would often win no other point. One that lies a step away from
    the cluster's present centroid, towards the target, splits a cluster that is too wide.

    Args:
        centroids: float32 [codes, dims].
        dead: int64 [n], which of them to move.
        targets: float32 [n, dims], the point for each.
        nearby: float32 [n, dims], the present centroid of each target.

    >>> dead, target = torch.tensor([1]), torch.ones(1, 1)
    >>> reseed(torch.zeros(2, 1), dead, targets=target, nearby=torch.zeros(1, 1))
    tensor([[0.0000],
            [0.1000]])
    """
    moved = centroids.clone()
    moved[dead] = torch.lerp(nearby, targets, _STEP)
    return moved
