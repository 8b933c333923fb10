"""Audio never crosses a stage: held against Beam's own fuser, and against the bytes that do."""

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, execution
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

import singsong.pipelines.prepare
from singsong.runners.local import LocalOptions
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe
from singsong.schemas.separation import NO_SEPARATION_LIMITS
from tests.support.fakes import fake_models, write_tones


def config(music: Path, output: Path) -> singsong.pipelines.prepare.PrepareConfig:
    return singsong.pipelines.prepare.PrepareConfig(
        inputs=(str(music),),
        output=str(output),
        parts=str(output / "parts"),
        recipe=DatasetRecipe(encode=EncodeRecipe(clip_seconds=1, separation=NO_SEPARATION_LIMITS)),
        runner=LocalOptions(mode="in_memory"),
    )


def test_encoding_is_one_stage(tmp_path: Path) -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    singsong.pipelines.prepare.build(
        pipeline, config=config(tmp_path, tmp_path / "out"), models=fake_models()
    )
    proto = pipeline.to_runner_api(default_environment=EmbeddedPythonEnvironment.default())
    _, stages = FnApiRunner().create_stages(proto)
    encoding = [
        [transform.unique_name for transform in stage.transforms]
        for stage in stages
        if any(transform.unique_name.startswith("EncodeTracks/") for transform in stage.transforms)
    ]
    assert len(encoding) == 1
    names = [name for name in encoding[0] if name.startswith("EncodeTracks/")]
    assert names == ["EncodeTracks/ForEachTrack/ParDo(_ForEachTrack)"]


def test_what_crosses_stages_does_not_grow_with_the_audio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossed = [0]
    for buffer in (execution.ListBuffer, execution.GroupingBuffer):
        append = buffer.append

        def counting(self: object, element: bytes, append: object = append) -> None:
            crossed[0] += len(element)
            append(self, element)  # type: ignore[operator]

        monkeypatch.setattr(buffer, "append", counting)
    monkeypatch.setattr(
        "singsong.transforms.encode_tracks.load_models", lambda recipe: fake_models()
    )
    bytes_crossed = []
    for seconds in (2.5, 40.5):
        music, output = tmp_path / f"{seconds}", tmp_path / f"out{seconds}"
        write_tones(music, tracks=2, seconds=seconds)
        crossed[0] = 0
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            singsong.pipelines.prepare.build(
                pipeline, config=config(music, output), models=fake_models()
            )
        bytes_crossed.append(crossed[0])
    short, long = bytes_crossed
    one_second_of_audio = 4 * 44100
    assert short > 0
    assert long - short < one_second_of_audio / 10
