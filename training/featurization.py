"""What a model reads of a record and what it writes: named by the user, stored in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, TypeAlias, TypeVar

from singsong.schemas.geometry import AcousticGeometry, clip_samples

FEATURIZATIONS = ("SA-SA", "S-SA", "A-SA", "SA-A", "A-A")


class ModelKind(StrEnum):
    """The two models that are trained."""

    ACCOMPANIMENT = "accompaniment"
    FINE = "fine"


@dataclass(frozen=True, kw_only=True)
class Featurization:
    """What the accompaniment model reads of the vocals, and writes of the instrumental.

    Attributes:
        name: One of `FEATURIZATIONS`: input, dash, target; S is semantic, A acoustic (coarse).
        noisy: Whether the model reads the noisy vocals. The instrumental is never noisy.

    Raises:
        ValueError: The name is unknown.

    Paper: 4.5; noisy S-SA is the best one.

    >>> Featurization(name="SA-A").input_kinds, Featurization(name="SA-A").target_kinds
    ('SA', 'A')
    """

    kind: ClassVar[ModelKind] = ModelKind.ACCOMPANIMENT

    name: str = "S-SA"
    noisy: bool = True

    def __post_init__(self) -> None:
        if self.name not in FEATURIZATIONS:
            raise ValueError(f"featurization must be one of {FEATURIZATIONS}, found {self.name!r}")

    @property
    def input_kinds(self) -> str:
        """Which codes of the vocals are read."""
        return self.name.split("-")[0]

    @property
    def target_kinds(self) -> str:
        """Which codes of the instrumental are written."""
        return self.name.split("-")[1]

    def to_json(self) -> dict[str, str | bool]:
        """Returns the featurization as JSON values."""
        return {"featurization": self.name, "noisy": self.noisy}

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Featurization:
        """Returns the featurization that `to_json` gave.

        Raises:
            ValueError: The name is unknown.
            KeyError: A value is missing.

        >>> Featurization.from_json(Featurization(noisy=False).to_json())
        Featurization(name='S-SA', noisy=False)
        """
        return cls(name=str(value["featurization"]), noisy=bool(value["noisy"]))


@dataclass(frozen=True, kw_only=True)
class FineCrops:
    """What the fine model is trained on: a random crop of the instrumental of each clip.

    Attributes:
        seconds: Length of a crop.

    Raises:
        ValueError: The length is not positive.

    Paper: 3.3. Default: AudioLM's crops of 3 s.
    """

    kind: ClassVar[ModelKind] = ModelKind.FINE

    seconds: float = 3.0

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"seconds of a crop must be positive, found {self.seconds}")

    def frames(self, acoustic: AcousticGeometry) -> int:
        """Returns the number of acoustic frames in a crop.

        Raises:
            ValueError: A crop is not a whole number of samples.
        """
        return acoustic.frames(clip_samples(self.seconds, acoustic.sample_rate_hz))

    def to_json(self) -> dict[str, float]:
        """Returns the crops as JSON values."""
        return {"crop_seconds": self.seconds}

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> FineCrops:
        """Returns the crops that `to_json` gave.

        Raises:
            ValueError: The length is not positive.
            KeyError: It is missing.
            TypeError: It is not a number.

        >>> FineCrops.from_json({"crop_seconds": 0.5})
        FineCrops(seconds=0.5)
        """
        seconds = value["crop_seconds"]
        if not isinstance(seconds, int | float):
            raise TypeError(f"crop_seconds must be a number, found {seconds!r}")
        return cls(seconds=seconds)


View: TypeAlias = Featurization | FineCrops
"""What a model reads and writes; which of the two says which kind of model it is."""

AnyView = TypeVar("AnyView", Featurization, FineCrops)

VIEWS: Mapping[ModelKind, type[Featurization] | type[FineCrops]] = {
    ModelKind.ACCOMPANIMENT: Featurization,
    ModelKind.FINE: FineCrops,
}
