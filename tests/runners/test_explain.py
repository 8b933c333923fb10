"""The plan that `--explain` prints is that of Beam's fuser, measured on real elements."""

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.coders import registry
from apache_beam.typehints import typehints

import singsong.models.bundle
import singsong.pipelines.prepare
import singsong.transforms.encode_tracks
from singsong.audio.loudness import drop_reason
from singsong.commands import cli
from singsong.runners.dataflow import DataflowOptions
from singsong.runners.example_elements import EXAMPLES
from singsong.runners.explain import ExplainedStage, encoded_bytes, example_of, explain
from singsong.runners.job import Job
from singsong.schemas.elements import DeadLetter, SourceFile, Track, TrackSummary
from singsong.schemas.errors import ClipError
from singsong.schemas.outcomes import Stage
from singsong.schemas.recipe import DatasetRecipe, LoudnessFilter
from tests.support.cloud import MINIMUM, flags
from tests.support.fakes import fake_models, write_tones

CLIP_BYTES = 4 * 441_000


def prepare_job(**options: object) -> Job:
    config = singsong.pipelines.prepare.PrepareConfig(
        inputs=("gs://a/music",),
        output="gs://a/out",
        parts="gs://a/out/parts",
        recipe=DatasetRecipe(),
        runner=DataflowOptions(**MINIMUM, **options),
    )
    return Job(
        name="prepare",
        build=lambda pipeline, progress: singsong.pipelines.prepare.build(
            pipeline, config=config, models=fake_models()
        ),
        total_tracks=0,
        total_bytes=0,
    )


@pytest.fixture
def small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (singsong.models.bundle, singsong.transforms.encode_tracks):
        monkeypatch.setattr(module, "load_models", lambda recipe: fake_models())


def with_accelerator(stages: list[ExplainedStage]) -> list[ExplainedStage]:
    return [stage for stage in stages if "accelerator" in stage.hints]


def test_one_stage_has_the_gpu_and_it_is_the_encoding() -> None:
    (stage,) = with_accelerator(explain(prepare_job(gpu="nvidia-l4")))
    assert stage.steps == ("EncodeTracks/ForEachTrack",)
    assert stage.hints["accelerator"].startswith("type:nvidia-l4;count:1;")
    assert not with_accelerator(explain(prepare_job()))


def test_every_crossing_of_tracks_is_measured_and_none_is_audio() -> None:
    crossings = [crossing for stage in explain(prepare_job()) for crossing in stage.crossings]
    assert {"shuffle", "materialise"} == {crossing.kind for crossing in crossings}
    names = " ".join(crossing.element for crossing in crossings)
    for element in ("Track", "PartRef", "SelectedTrack", "ShardSource"):
        assert element in names
    for crossing in crossings:
        assert crossing.bytes is not None, f"{crossing.element} could be anything, and so audio"
        assert 0 < crossing.bytes < CLIP_BYTES / 100, crossing


def test_audio_that_crosses_would_be_seen() -> None:
    def build(pipeline: beam.Pipeline, progress: str | None) -> object:
        audio = pipeline | beam.Create([1]) | beam.Map(lambda _: b"").with_output_types(bytes)
        return audio | beam.Reshuffle() | beam.Map(len)

    crossings = [
        crossing
        for stage in explain(Job(name="x", build=build, total_tracks=0, total_bytes=0))
        for crossing in stage.crossings
    ]
    assert any("bytes" in crossing.element for crossing in crossings)
    assert any(crossing.bytes is None for crossing in crossings)


@pytest.mark.parametrize("element", EXAMPLES, ids=str)
def test_examples_survive_the_way_between_stages(element: type) -> None:
    coder = registry.get_coder(element)
    data = coder.encode(EXAMPLES[element])
    assert coder.decode(data) == EXAMPLES[element]
    assert encoded_bytes(EXAMPLES[element], element) > len(data)


def test_examples_have_reasons_that_exist() -> None:
    reasons = {error.reason for error in ClipError.__subclasses__()}
    assert EXAMPLES[DeadLetter].reason in reasons
    assert EXAMPLES[DeadLetter].stage in Stage
    thresholds = LoudnessFilter()
    drops = {
        drop_reason(vocals_db=0, instrumental_db=level, loudness_filter=thresholds)
        for level in (-100, -20)
    }
    assert {reason for reason, _ in EXAMPLES[TrackSummary].dropped_clips} <= drops


def test_examples_are_made_of_examples() -> None:
    track = EXAMPLES[Track]
    assert example_of(typehints.Tuple[str, Track]) == (EXAMPLES[str], track)
    assert example_of(typehints.Iterable[Track]) == [track]
    assert example_of(typehints.Union[Track, SourceFile]) == EXAMPLES[SourceFile]
    with pytest.raises(LookupError):
        example_of(typehints.Tuple[str, complex])


def test_prepare_explains_and_runs_nothing(
    small_models: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_tones(tmp_path / "music", tracks=1)
    output = tmp_path / "out"
    command = ["prepare", str(tmp_path / "music"), "--output", str(output), "--explain"]
    assert cli.main([*command, "--workers", "3"]) == 0
    printed = capsys.readouterr().out
    assert "EncodeTracks/ForEachTrack" in printed
    assert "--direct_num_workers=3" in printed
    assert not output.exists()


def test_fit_explains_its_one_gpu_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tones(tmp_path, tracks=1)
    command = ["fit", "acoustic", str(tmp_path), "--output", str(tmp_path / "x"), "--explain"]
    assert cli.main([*command, *flags("any/image:1", "--gpu", "nvidia-l4")]) == 0
    printed = capsys.readouterr().out
    assert printed.count("[accelerator=type:nvidia-l4") == 1
    assert "]\n    FitCodebooks/DrawFrames/ForEachTrack\n" in printed
    assert "--sdk_container_image=any/image:1" in printed


def test_retry_explains_too(
    small_models: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_tones(tmp_path / "music", tracks=1)
    (tmp_path / "music" / "bad.wav").write_bytes(b"")
    dataset = str(tmp_path / "dataset")
    small = ["--clip-seconds", "1", "--mode", "in_memory", "--no-separation-check"]
    small += ["--max-failure-rate", "1"]
    assert cli.main(["prepare", str(tmp_path / "music"), "--output", dataset, *small]) == 0
    capsys.readouterr()
    assert cli.main(["retry", dataset, "--explain"]) == 0
    assert "KeepKnownTracks/ReadTable" in capsys.readouterr().out
