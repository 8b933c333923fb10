"""Ranges of tokens as masks, to hold the models against."""

import numpy as np
import numpy.typing as npt

from singsong.schemas.arrays import TokenArray


def allowed(ranges: TokenArray, size: int) -> npt.NDArray[np.bool_]:
    """Returns bool [positions, size] of ranges int64 [positions, 2].

    >>> allowed(np.array([[0, 1], [1, 3]]), 3).tolist()
    [[True, False, False], [False, True, True]]
    """
    tokens = np.arange(size)
    mask: npt.NDArray[np.bool_] = (ranges[:, :1] <= tokens) & (tokens < ranges[:, 1:])
    return mask
