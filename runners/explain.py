"""How a job would run: its fused stages, what crosses between them, hints and Beam's flags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.worker import bundle_processor
from apache_beam.transforms.environments import EmbeddedPythonEnvironment
from apache_beam.transforms.window import GlobalWindows
from apache_beam.typehints import typehints

from singsong.runners.example_elements import CLIPS_PER_TRACK, EXAMPLES
from singsong.runners.job import Job

_ENDS = (bundle_processor.DATA_INPUT_URN, bundle_processor.DATA_OUTPUT_URN)
_KINDS = {b"group": "shuffle", b"materialize": "materialise"}
# Beam appends these to the name of a step when it expands it.
_INNER_NAMES = re.compile(
    r"(/((ParDo|Map|FlatMap|MapTuple|CombineGlobally)\(.*|CombinePerKey|Precombine|Merge|UnKey|DoOnce"
    r"|ExtractOutputs|InjectDefault|KeyWithVoid|AddRandomKeys|RemoveRandomKeys|ReshufflePerKey"
    r"|Transcode|\d+))+$"
)


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """What goes from one stage to others.

    Attributes:
        kind: "shuffle", or "materialise" for a stage that reads it unshuffled or as a side input.
        element: The type of the elements.
        bytes: Encoded size of an element of typical length; None where there is no example of the
            type.
    """

    kind: str
    element: str
    bytes: int | None


@dataclass(frozen=True, kw_only=True)
class ExplainedStage:
    """Steps that run as one.

    Attributes:
        steps: Names of the steps.
        hints: Beam's resource hints, by name.
        crossings: What goes out.
    """

    steps: tuple[str, ...]
    hints: Mapping[str, str]
    crossings: tuple[Crossing, ...]


def explain(job: Job) -> list[ExplainedStage]:
    """Returns the stages that Beam's own fuser makes of a job, in the order in which they run."""
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
    job.build(pipeline, None)
    proto, context = pipeline.to_runner_api(
        return_context=True, default_environment=EmbeddedPythonEnvironment.default()
    )
    fused, stages = FnApiRunner().create_stages(proto)
    types = _ElementTypes(proto, context)
    explained = []
    for stage in stages:
        steps = [
            _INNER_NAMES.sub("", transform.unique_name)
            for transform in stage.transforms
            if transform.spec.urn not in _ENDS
        ]
        if not steps:
            continue
        environment = fused.components.environments[stage.environment or ""]
        hints = {
            urn.split(":")[-2]: value.decode() for urn, value in environment.resource_hints.items()
        }
        explained.append(
            ExplainedStage(
                steps=tuple(dict.fromkeys(steps)),
                hints=hints,
                crossings=tuple(_crossings(stage.transforms, types)),
            )
        )
    return explained


class _ElementTypes:
    """The element types of a pipeline's collections, before and after it was fused."""

    def __init__(self, proto: Any, context: Any) -> None:
        self._known = proto.components.pcollections
        self._objects = context.pcollections
        self._transforms = {
            transform.unique_name: transform for transform in proto.components.transforms.values()
        }

    def of(self, name: str, stage: Sequence[Any]) -> Any:
        """Returns the element type of a collection that a step of the stage outputs."""
        if name not in self._known:
            (step,) = (step for step in stage if name in step.outputs.values())
            name = self._before_fusing(step.unique_name)
        return self._objects.get_by_id(name).element_type

    def _before_fusing(self, step: str) -> str:
        """The fuser adds flattened inputs, and collections combined before their shuffle."""
        whole, _, _ = step.partition("/Transcode/")
        if whole != step:
            return str(next(iter(self._transforms[whole].outputs.values())))
        return str(next(iter(self._transforms[step.removesuffix("/Precombine")].inputs.values())))


def _crossings(stage: Sequence[Any], types: _ElementTypes) -> Iterator[Crossing]:
    for transform in stage:
        if transform.spec.urn != bundle_processor.DATA_OUTPUT_URN:
            continue
        (name,) = transform.inputs.values()
        hint = types.of(name, stage)
        try:
            size = encoded_bytes(example_of(hint), hint)
        except LookupError:
            size = None
        kind = _KINDS[transform.spec.payload.partition(b":")[0]]
        yield Crossing(kind=kind, element=_type_name(hint), bytes=size)


def example_of(hint: Any) -> Any:
    """Returns an element of a type.

    Args:
        hint: A type, or one of Beam's type hints.

    Raises:
        LookupError: There is no example of it.
    """
    if isinstance(hint, typehints.TupleHint.TupleConstraint):
        return tuple(example_of(inner) for inner in hint.tuple_types)
    if isinstance(hint, typehints.SequenceTypeConstraint):
        return [example_of(hint.inner_type)]
    if isinstance(hint, typehints.UnionConstraint):
        return example_of(min(hint.union_types, key=str))
    return EXAMPLES[hint]


def encoded_bytes(element: Any, hint: Any) -> int:
    """Returns the encoded size of an element between stages, with its window and time."""
    coder = coders.WindowedValueCoder(
        coders.registry.get_coder(hint), GlobalWindows().get_window_coder()
    )
    return len(coder.encode(GlobalWindows.windowed_value(element, 0)))


def _type_name(hint: Any) -> str:
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    return re.sub(r"<class '|'>|(?:\w+\.)+", "", name)


def explanation(command: str, stages: Sequence[ExplainedStage], flags: Sequence[str]) -> list[str]:
    """Returns the lines of an explanation.

    Args:
        command: The job's name.
        stages: Its stages.
        flags: Beam's flags.
    """
    lines = [f"singsong {command}: {len(stages)} fused stages; nothing was run", ""]
    for number, stage in enumerate(stages, start=1):
        hints = ", ".join(f"{name}={value}" for name, value in stage.hints.items())
        lines.append(f"stage {number}" + (f"  [{hints}]" if hints else ""))
        lines += [f"    {step}" for step in stage.steps]
        lines += [f"      -> {_describe(crossing)}" for crossing in stage.crossings]
    lines += [
        "",
        f"Bytes are the encoded size of an example element; a track has {CLIPS_PER_TRACK} clips "
        "(4 minutes of 10 s). A clip of audio would be 1,764,000 bytes.",
        "Stages are those of Beam's fuser; a service may fuse more or less, but never across a "
        "shuffle.",
        "",
        "Beam's flags:",
        *(f"    {flag}" for flag in flags),
    ]
    return lines


def _describe(crossing: Crossing) -> str:
    text = f"{crossing.kind:<12}{crossing.element}"
    if crossing.bytes is None:
        return text
    return f"{text}: {crossing.bytes} bytes, {crossing.bytes / CLIPS_PER_TRACK:.1f} a clip"
