"""What `prepare` does. No Beam, so that the command line answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from singsong import storage
from singsong.pipelines.existing import Existing
from singsong.runners.job import RunnerOptions
from singsong.schemas.names import PARTS_FOLDER
from singsong.schemas.recipe import DatasetRecipe

if TYPE_CHECKING:
    from singsong.audio.decode_limits import DecodeLimits


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """What `prepare` does.

    Attributes:
        inputs: Files, folders, globs and fsspec URLs.
        output: Folder or URL of the dataset.
        parts: Folder or URL of the parts.
        recipe: How.
        runner: Where.
        existing: What becomes of the tracks that the output has already.
        encode_dropped: Whether clips that the filter drops get codes, too.
        max_failure_rate: If a larger fraction of the tracks, or of the clips, fails, the exit code
            says so.
        keep_going: Whether the job goes on if most of its first tracks give nothing.
        max_track_hours: A file that decodes to more is refused.
        check_determinism: How many clips of each track every model is asked about twice; the job
            stops where a result is not the same.
        retry: Whether the inputs are files that failed: each name is that of one file, and a part
            with failed clips is made again.

    Raises:
        ValueError: There is no input, or a rate or a limit is outside its range.
    """

    inputs: tuple[str, ...]
    output: str
    parts: str
    recipe: DatasetRecipe
    runner: RunnerOptions
    existing: Existing = Existing.REFUSE
    encode_dropped: bool = False
    max_failure_rate: float = 0.1
    keep_going: bool = False
    max_track_hours: float = 24.0
    check_determinism: int = 0
    retry: bool = False

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("prepare needs at least one file or folder of music")
        if not 0 <= self.max_failure_rate <= 1:
            raise ValueError(f"max_failure_rate must be in [0, 1], found {self.max_failure_rate}")
        if self.check_determinism < 0:
            raise ValueError(
                f"check_determinism must be at least 0, found {self.check_determinism}"
            )
        _ = self.limits

    @property
    def limits(self) -> DecodeLimits:
        """What decoding a track may use."""
        from singsong.audio.decode_limits import DecodeLimits

        return DecodeLimits(max_track_hours=self.max_track_hours)

    @property
    def origin(self) -> dict[str, str]:
        """Where the models and the parts are, for `singsong retry`."""
        encode = self.recipe.encode
        specs = {"acoustic": encode.acoustic, "semantic": encode.semantic}
        if encode.separator is not None:
            specs["separator"] = encode.separator
        default = storage.join(self.output, PARTS_FOLDER)
        parts = PARTS_FOLDER if self.parts == default else self.parts
        return {"parts": parts, **{role: str(spec) for role, spec in specs.items()}}
