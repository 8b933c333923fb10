"""Calls the models of a recipe, and twice where a user wants to know if that makes a difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from singsong.models.bundle import Models
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.transforms.progress import StoppedError
from singsong.transforms.stopwatch import Stopwatch

Result = TypeVar("Result", bound=npt.NDArray[Any])


class NondeterminismError(StoppedError):
    """A model gives another result for the same clip; the job is to stop."""


class ModelCalls:
    """Calls the models on batches.

    Attributes:
        models: The models.
        twice: Whether each call is made again, on the same clips at other places of their batches.

    Args:
        models: The models.
        watch: Takes the seconds spent in each model.
    """

    def __init__(self, models: Models, watch: Stopwatch) -> None:
        self.models = models
        self.twice = False
        self._watch = watch

    def separate(self, mixes: FloatArray) -> FloatArray:
        """Returns the mono vocals, as `Models.separate`.

        Raises:
            NondeterminismError: The second call gave something else; so for the other methods.
        """
        return self._call("separate", self.models.separate, mixes)

    def acoustic(self, audio: FloatArray) -> CodeArray:
        """Returns the codes of the acoustic codec."""
        return self._call("acoustic", self.models.acoustic.encode, audio)

    def semantic(self, audio: FloatArray) -> CodeArray:
        """Returns the codes of the semantic encoder."""
        return self._call("semantic", self.models.semantic.encode, audio)

    def _call(self, step: str, run: Callable[[FloatArray], Result], audio: FloatArray) -> Result:
        with self._watch(step):
            result = run(audio)
        if self.twice:
            with self._watch("determinism"):
                _check_again(run, audio, result, model=_NAMES[step])
        return result


_NAMES = {
    "separate": "separator",
    "acoustic": "acoustic codec",
    "semantic": "semantic encoder",
}


def _check_again(
    run: Callable[[FloatArray], npt.NDArray[Any]],
    audio: FloatArray,
    result: npt.NDArray[Any],
    *,
    model: str,
) -> None:
    # Backwards, and moved on by one place: each clip has another neighbour and another place.
    order = np.array([0, *reversed(range(len(audio)))])
    wanted, found = result[order], run(np.ascontiguousarray(audio[order]))
    if np.array_equal(found, wanted, equal_nan=found.dtype.kind == "f"):
        return
    different = (found != wanted).sum()
    raise NondeterminismError(
        f"the {model} gives another result for the same clip at another place of its batch: "
        f"{different} of {found.size} values differ. Such a dataset cannot be made again: choose "
        "another model, --batch-clips or --device, or leave --check-determinism out. Nothing was "
        "committed"
    )
