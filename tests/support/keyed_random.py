"""Keyed random numbers, written out from their definition and without our own code."""

import hashlib
import json

import numpy as np


def keyed(seed: int, purpose: str, key: str) -> np.random.Generator:
    """Returns Philox keyed by the first 16 bytes of the sha256 of `[seed, purpose, key]`.

    What the key is decides datasets, the order of training and accompaniments: it may not change.
    """
    digest = hashlib.sha256(json.dumps([seed, purpose, key]).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
