"""Signed-shape quantisation against brute force over all codes."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from singsong.models.lite.shapes import fit_books, nearest_shapes, search, signed_shapes, sum_shapes
from tests.support.lite_models import normal


def errors(points: torch.Tensor, codes: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    return (points - sum_shapes(codes, books)).square().sum(1)


@settings(deadline=None, max_examples=25)
@given(
    points=st.integers(1, 200),
    shapes=st.integers(1, 30),
    dims=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_nearest_is_the_nearest_of_all_signed_shapes(points, shapes, dims, seed):
    data, book = normal(points, dims, seed=seed), normal(shapes, dims, seed=seed + 1)
    codes, squared = nearest_shapes(data, book)
    every = signed_shapes(torch.arange(2 * shapes), book)
    distances = torch.cdist(data.double(), every.double()).square()
    best = distances.min(dim=1).values.numpy()
    np.testing.assert_allclose(squared, best, atol=1e-4)
    np.testing.assert_allclose(distances.gather(1, codes[:, None])[:, 0], best, atol=1e-4)


def test_even_codes_are_plus_and_odd_codes_minus():
    book = normal(3, 4)
    signed = signed_shapes(torch.tensor([2, 3]), book)
    assert torch.equal(signed[0], book[1])
    assert torch.equal(signed[1], -book[1])


def test_a_beam_of_one_is_the_greedy_search():
    data, books = normal(40, 6), normal(4, 8, 6, seed=1)
    left, greedy = data.clone(), []
    for book in books:
        codes, _ = nearest_shapes(left, book)
        left -= signed_shapes(codes, book)
        greedy.append(codes)
    assert torch.equal(search(data, books, beam=1), torch.stack(greedy, dim=1))


def test_a_beam_of_all_partial_sums_finds_the_best_sum():
    data, books = normal(20, 3), normal(2, 4, 3, seed=1)
    codes = torch.tensor(list(itertools.product(range(8), repeat=2)))
    best = torch.stack(
        [errors(data, code.expand(len(data), 2), books) for code in codes]
    ).min(dim=0)  # fmt: skip
    # Four of eight partial sums are kept; with the mirrored ones of no use here, that is enough.
    found = errors(data, search(data, books, beam=4), books)
    assert torch.isclose(found, best.values, atol=1e-4).float().mean() > 0.9


def test_a_wider_beam_is_nearer_on_average():
    data, books = normal(500, 8), normal(6, 16, 8, seed=1) * 0.6
    means = [float(errors(data, search(data, books, beam=b), books).mean()) for b in (1, 2, 4, 8)]
    assert means == sorted(means, reverse=True)
    assert means[-1] < 0.9 * means[0]


def test_no_codes_add_up_to_nothing():
    assert not sum_shapes(torch.zeros(5, 0, dtype=torch.int64), normal(2, 3, 4)).any()


def test_fitted_books_each_lower_the_error_and_have_no_dead_shape():
    data = normal(4000, 6)
    before = data.clone()
    books = fit_books(data, books=3, shapes=16, iterations=8, rng=np.random.default_rng(0))
    codes = search(data, books, beam=1)
    steps = [float(errors(data, codes[:, :k], books).mean()) for k in range(4)]
    assert all(after < 0.85 * step for step, after in itertools.pairwise(steps))
    for book in range(3):
        assert torch.bincount(codes[:, book], minlength=32).min() > 0
    assert torch.equal(data, before)
    again = fit_books(data, books=3, shapes=16, iterations=8, rng=np.random.default_rng(0))
    assert torch.equal(books, again)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="beam must be from 1 to 3 shapes, found 4"):
        search(normal(2, 2), normal(1, 3, 2), beam=4)
    with pytest.raises(ValueError, match="at least shapes=4 points, found 2"):
        fit_books(normal(2, 2), books=1, shapes=4, iterations=1, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="iterations must be at least 1, found 0"):
        fit_books(normal(9, 2), books=1, shapes=4, iterations=0, rng=np.random.default_rng(0))
