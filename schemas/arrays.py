"""Types of the arrays that functions pass to each other."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]
"""Audio, spectra and features."""

IntArray: TypeAlias = npt.NDArray[np.integer]
"""Integers of any size."""

TokenArray: TypeAlias = npt.NDArray[np.int64]
"""Tokens, as the models read and write them."""

CodeArray: TypeAlias = npt.NDArray[np.uint16]
"""Codes, as codecs and encoders give them and as datasets store them."""
