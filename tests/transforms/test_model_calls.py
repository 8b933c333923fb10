"""Asking the models twice finds each result that depends on more than its clip."""

from collections.abc import Callable

import numpy as np
import pytest

from singsong.transforms.model_calls import ModelCalls, NondeterminismError
from singsong.transforms.stopwatch import Stopwatch
from tests.support.fakes import fake_models

CLIPS = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 16000)).astype(np.float32)
METHODS = {
    "separate": ("separator", "separate_vocals", "separator"),
    "acoustic": ("acoustic", "encode", "acoustic codec"),
    "semantic": ("semantic", "encode", "semantic encoder"),
}


def by_position(result: np.ndarray) -> np.ndarray:
    result = result.copy()
    result[1] += 1
    return result


def by_company(result: np.ndarray) -> np.ndarray:
    return result + np.roll(result, 1, axis=0)


def by_call() -> Callable[[np.ndarray], np.ndarray]:
    calls = []

    def change(result: np.ndarray) -> np.ndarray:
        calls.append(1)
        return result + np.array(len(calls), result.dtype)

    return change


CHANGES = {"position": lambda: by_position, "company": lambda: by_company, "call": by_call}


def calls_with(step: str, change: Callable[[np.ndarray], np.ndarray], *, twice: bool) -> ModelCalls:
    models = fake_models()
    role, method, _ = METHODS[step]
    model = getattr(models, role)
    original = getattr(model, method)
    setattr(model, method, lambda audio: change(original(audio)))
    calls = ModelCalls(models, Stopwatch())
    calls.twice = twice
    return calls


@pytest.mark.parametrize("step", METHODS)
@pytest.mark.parametrize("kind", CHANGES)
def test_a_model_that_does_not_repeat_itself_is_named(step: str, kind: str) -> None:
    getattr(calls_with(step, CHANGES[kind](), twice=False), step)(CLIPS)
    with pytest.raises(NondeterminismError, match=rf"the {METHODS[step][2]} gives another result"):
        getattr(calls_with(step, CHANGES[kind](), twice=True), step)(CLIPS)


@pytest.mark.parametrize("step", METHODS)
@pytest.mark.parametrize("clips", [1, 2, 3])
def test_a_sound_model_is_believed(step: str, clips: int) -> None:
    twice = calls_with(step, lambda result: result, twice=True)
    once = calls_with(step, lambda result: result, twice=False)
    given = CLIPS[:clips].copy()
    np.testing.assert_array_equal(getattr(twice, step)(given), getattr(once, step)(given))


def test_the_share_of_values_that_differ_is_counted() -> None:
    def one_sample(result: np.ndarray) -> np.ndarray:
        result[0, 7] += len(result)
        return result

    with pytest.raises(NondeterminismError, match=r": 2 of 64000 values differ"):
        calls_with("separate", one_sample, twice=True).separate(CLIPS)


def test_nan_is_the_same_again() -> None:
    def nan(result: np.ndarray) -> np.ndarray:
        result[:, 5] = np.nan
        return result

    assert np.isnan(calls_with("separate", nan, twice=True).separate(CLIPS)[:, 5]).all()
