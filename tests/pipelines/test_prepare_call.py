"""`singsong.prepare` does what the command of that name does."""

from __future__ import annotations

from pathlib import Path

import pytest

import singsong
from benchmarks.support.command import committed_bytes, digest
from singsong.commands.cli import main
from singsong.pipelines import prepare_call
from singsong.pipelines.existing import Existing
from singsong.pipelines.prepare_call import profile_recipe
from singsong.pipelines.prepare_config import PrepareConfig
from singsong.pipelines.recipe_arguments import PROFILES
from singsong.runners.errors import JobFailedError
from singsong.runners.exit_codes import ExitCode
from singsong.runners.local import LocalOptions
from singsong.schemas.recipe import NO_FILTER, DatasetRecipe, EncodeRecipe
from tests.support.fakes import write_tones

ONE_SECOND = DatasetRecipe(encode=EncodeRecipe(clip_seconds=1.0), dataset_filter=NO_FILTER)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("call") / "music"
    write_tones(folder, tracks=2, seconds=2.1)
    return folder


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[PrepareConfig]:
    """The configurations that the call would run; nothing runs, and the exit code is 0."""
    seen: list[PrepareConfig] = []
    monkeypatch.setattr(prepare_call, "run", lambda config: seen.append(config) or ExitCode.DONE)
    monkeypatch.setattr("singsong.dataset.handle.open_dataset", lambda url: url)
    return seen


def test_the_call_and_the_command_make_the_same_dataset(music: Path, tmp_path: Path) -> None:
    called = singsong.prepare(music, output=tmp_path / "called", recipe=ONE_SECOND, workers=1)
    flags = ["--output", str(tmp_path / "command"), "--clip-seconds", "1", "--no-filter"]
    assert main(["prepare", str(music), *flags]) == 0
    assert called.manifest.dataset_digest == digest(tmp_path / "command")
    assert committed_bytes(tmp_path / "called") == committed_bytes(tmp_path / "command")
    assert called.url == str(tmp_path / "called")


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_are_those_of_the_command(
    profile: str, monkeypatch: pytest.MonkeyPatch, configs: list[PrepareConfig]
) -> None:
    seen: list[PrepareConfig] = []
    monkeypatch.setattr("singsong.pipelines.prepare.prepare", lambda one: seen.append(one) or 0)
    assert main(["prepare", "music", "--output", "dataset", "--profile", profile]) == 0
    singsong.prepare("music", output="dataset", profile=profile)
    assert configs == seen


def test_each_argument_reaches_the_job(configs: list[PrepareConfig], tmp_path: Path) -> None:
    runner = LocalOptions(mode="in_memory")
    opened = singsong.prepare(
        ["a", Path("b")],
        output=tmp_path / "out",
        parts=tmp_path / "shared",
        recipe=ONE_SECOND,
        runner=runner,
        replace=True,
        max_failure_rate=0.5,
        max_track_hours=2.0,
    )
    assert opened == str(tmp_path / "out")
    assert configs == [
        PrepareConfig(
            inputs=("a", "b"),
            output=str(tmp_path / "out"),
            parts=str(tmp_path / "shared"),
            recipe=ONE_SECOND,
            runner=runner,
            existing=Existing.REPLACE,
            max_failure_rate=0.5,
            max_track_hours=2.0,
        )
    ]
    singsong.prepare("a", output="gs://bucket/dataset/", workers=3)
    assert configs[1].parts == "gs://bucket/dataset/parts"
    assert configs[1].runner == LocalOptions(workers=3)
    assert configs[1].recipe == profile_recipe("lite") == DatasetRecipe()


def test_wrong_settings_are_refused(configs: list[PrepareConfig]) -> None:
    with pytest.raises(ValueError, match=r"profile must be one of \['hifi', 'lite', 'paper'\]"):
        singsong.prepare("music", output="dataset", profile="huge")
    with pytest.raises(ValueError, match="either a profile or a recipe"):
        singsong.prepare("music", output="dataset", profile="paper", recipe=ONE_SECOND)
    with pytest.raises(ValueError, match="workers is for this machine"):
        singsong.prepare("music", output="dataset", workers=2, runner=LocalOptions())
    with pytest.raises(ValueError, match="at least one file or folder"):
        singsong.prepare([], output="dataset")
    with pytest.raises(ValueError, match="either adds to a dataset or replaces it"):
        singsong.prepare("music", output="dataset", add=True, replace=True)
    assert not configs


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (ExitCode.FAILED_TRACKS, JobFailedError),
        (ExitCode.FAILED, JobFailedError),
        (ExitCode.INTERRUPTED, KeyboardInterrupt),
    ],
)
def test_what_the_command_says_by_its_exit_code_raises(
    code: ExitCode, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_call, "run", lambda config: code)
    with pytest.raises(error):
        singsong.prepare("music", output="dataset")
