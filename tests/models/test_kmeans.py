"""K-means against brute force and scipy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist

from singsong.models.kmeans import assign, centroid_means, fit_kmeans
from tests.support.lite_models import normal


@settings(deadline=None, max_examples=25)
@given(
    points=st.integers(1, 300),
    codes=st.integers(1, 40),
    dims=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_assign_finds_the_nearest(points, codes, dims, seed):
    data, centroids = normal(points, dims, seed=seed), normal(codes, dims, seed=seed + 1)
    found, squared = assign(data, centroids)
    distances = cdist(data.double().numpy(), centroids.double().numpy(), "sqeuclidean")
    np.testing.assert_allclose(squared.numpy(), distances.min(axis=1), atol=1e-4)
    chosen = distances[np.arange(points), found.numpy()]
    np.testing.assert_allclose(chosen, distances.min(axis=1), atol=1e-4)


def test_assign_takes_the_first_of_two_equal_centroids():
    assert assign(torch.zeros(1, 2), torch.ones(3, 2))[0].tolist() == [0]


def test_assign_works_over_more_points_than_a_block():
    data, centroids = normal(20000, 3), normal(7, 3, seed=1)
    expected = cdist(data.numpy(), centroids.numpy()).argmin(axis=1)
    assert np.mean(assign(data, centroids)[0].numpy() == expected) > 0.9999


def test_means_are_numpys_and_empty_codes_keep_their_row():
    data, codes = normal(50, 4), torch.arange(50) % 3
    means = centroid_means(data, codes, fallback=torch.full((5, 4), 9.0))
    for code in range(3):
        np.testing.assert_allclose(means[code], data.numpy()[code::3].mean(axis=0), atol=1e-6)
    assert (means[3:] == 9).all()


def test_fit_is_as_good_as_scipys():
    data = normal(3000, 4)
    ours = fit_kmeans(data, codes=30, iterations=20, rng=np.random.default_rng(0))
    theirs, _ = kmeans2(data.numpy(), 30, iter=20, minit="++", rng=np.random.default_rng(0))
    error = assign(data, ours)[1].mean()
    assert error < 1.03 * assign(data, torch.from_numpy(theirs))[1].mean()


def test_no_centroid_is_left_dead_where_points_are_lumped():
    # 990 of 1000 points are one lump, so that most first centroids share it.
    data = torch.cat([normal(990, 2) * 1e-3, 100 * normal(10, 2)])
    centroids = fit_kmeans(data, codes=20, iterations=15, rng=np.random.default_rng(0))
    counts = torch.bincount(assign(data, centroids)[0], minlength=20)
    assert counts.min() > 0


def test_fit_is_deterministic_and_changes_nothing():
    data = normal(500, 3)
    before = data.clone()
    first, second = (
        fit_kmeans(data, codes=10, iterations=4, rng=np.random.default_rng(7)) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert torch.equal(data, before)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"same dims, found \(2, 3\) and \(2, 4\)"):
        assign(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="hold a centroid"):
        assign(torch.zeros(2, 3), torch.zeros(0, 3))
    with pytest.raises(ValueError, match="at least codes=4 points, found 2"):
        fit_kmeans(torch.zeros(2, 3), codes=4, iterations=1, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="iterations must be at least 1, found 0"):
        fit_kmeans(torch.zeros(2, 3), codes=2, iterations=0, rng=np.random.default_rng(0))
