"""Says how a job would run: its fused stages, what crosses between them, hints and Beam's flags."""

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
from apache_beam.typehints import typehints
from apache_beam.utils.windowed_value import WindowedValue

from runners.example_elements import CLIPS_PER_TRACK, EXAMPLES
from runners.job import Job, Outcome, RunnerOptions

_ENDS = (bundle_processor.DATA_INPUT_URN, bundle_processor.DATA_OUTPUT_URN)
_KINDS = {b"group": "shuffle", b"materialize": "hand over"}


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """What goes from one stage to others.

    Attributes:
        kind: "shuffle", or "hand over" to a stage that reads it as it is or as a side input.
        element: The type of the elements.
        example: An element of that type, as long as those of a real corpus; None if we have none.
        bytes: How many bytes the example has as it crosses; None without one.
    """

    kind: str
    element: str
    example: Any
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


@dataclass(frozen=True, kw_only=True)
class ExplainedRunner:
    """Runner options that explain a job instead of running it.

    Attributes:
        options: What would run it.
    """

    options: RunnerOptions

    @property
    def remote(self) -> bool:
        """As the options say."""
        return self.options.remote

    @property
    def encode_hints(self) -> Mapping[str, str]:
        """As the options say."""
        return self.options.encode_hints

    def beam_options(self) -> list[str]:
        """Returns the options as Beam's flags."""
        return self.options.beam_options()

    def run(self, job: Job) -> Outcome:
        """Prints the explanation of a job."""
        print("\n".join(explanation(job.name, explain(job), self.beam_options())))
        return Outcome(finished=False)


def explain(job: Job) -> list[ExplainedStage]:
    """Returns the stages that Beam's own fuser makes of a job, in the order in which they run."""
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
    job.build(pipeline, None)
    proto, context = pipeline.to_runner_api(
        return_context=True, default_environment=EmbeddedPythonEnvironment.default()
    )
    fused, stages = FnApiRunner().create_stages(proto)
    explained = []
    for stage in stages:
        steps = [
            _short(transform.unique_name)
            for transform in stage.transforms
            if transform.spec.urn not in _ENDS
        ]
        if not steps:
            continue
        environment = fused.components.environments[stage.environment or ""]
        hints = {
            urn.split(":")[-2]: value.decode() for urn, value in environment.resource_hints.items()
        }
        crossings = tuple(_crossings(stage.transforms, proto, context))
        explained.append(
            ExplainedStage(steps=tuple(dict.fromkeys(steps)), hints=hints, crossings=crossings)
        )
    return explained


def _short(name: str) -> str:
    """Drops what Beam adds to the name of a step."""
    return re.sub(r"(/(ParDo|Map|FlatMap|MapTuple)\(.*)+$", "", name)


def _crossings(transforms: Sequence[Any], proto: Any, context: Any) -> Iterator[Crossing]:
    for transform in transforms:
        if transform.spec.urn != bundle_processor.DATA_OUTPUT_URN:
            continue
        (pcollection,) = transform.inputs.values()
        kind = _KINDS[transform.spec.payload.partition(b":")[0]]
        if pcollection not in proto.components.pcollections:
            yield Crossing(kind=kind, element="partial sums", example=None, bytes=None)
            continue
        hint = context.pcollections.get_by_id(pcollection).element_type
        example = example_of(hint)
        yield Crossing(
            kind=kind,
            element=_type_name(hint),
            example=example,
            bytes=None if example is None else encoded_bytes(example, hint),
        )


def example_of(hint: Any) -> Any:
    """Returns an element of a type, or None if there is no example of it.

    Args:
        hint: A type, or one of Beam's type hints.
    """
    if isinstance(hint, typehints.TupleHint.TupleConstraint):
        items = [example_of(inner) for inner in hint.tuple_types]
        return None if None in items else tuple(items)
    if isinstance(hint, typehints.SequenceTypeConstraint):
        item = example_of(hint.inner_type)
        return None if item is None else [item]
    if isinstance(hint, typehints.UnionConstraint):
        items = [example_of(inner) for inner in sorted(hint.union_types, key=str)]
        return next((item for item in items if item is not None), None)
    return EXAMPLES.get(hint)


def encoded_bytes(element: Any, hint: Any) -> int:
    """Returns how many bytes an element has between stages, its window and time included."""
    coder = coders.WindowedValueCoder(coders.registry.get_coder(hint), coders.GlobalWindowCoder())
    window = beam.transforms.window.GlobalWindow()
    return len(coder.encode(WindowedValue(element, 0, (window,))))


def _type_name(hint: Any) -> str:
    name = getattr(hint, "__name__", str(hint))
    return re.sub(r"<class '(.*?)'>", r"\1", name).replace("typing.", "")


def explanation(command: str, stages: Sequence[ExplainedStage], flags: Sequence[str]) -> list[str]:
    """Returns the lines that say how a job would run.

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
        f"Bytes are those of an example as it is encoded; a track has {CLIPS_PER_TRACK} clips "
        "(4 minutes of 10 s). A clip of audio would be 1,764,000 bytes.",
        "Stages are those of Beam's fuser; a service may fuse more or less, but never across a "
        "shuffle.",
        "",
        "Beam's flags:",
        *(f"    {flag}" for flag in flags),
    ]
    return lines


def _describe(crossing: Crossing) -> str:
    text = f"{crossing.kind:<10}{crossing.element}"
    if crossing.bytes is None:
        return text
    return f"{text}: {crossing.bytes} bytes, {crossing.bytes / CLIPS_PER_TRACK:.1f} a clip"
