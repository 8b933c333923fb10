"""Each extra brings what it is for, and what is missing is said with the extra's name."""

from pathlib import Path

import pytest

from tests.support.installed import Environment

pytestmark = pytest.mark.slow  # builds a wheel and environments

BARE = ("torch", "apache_beam", "transformers", "scipy", "soundfile", "gcsfs", "s3fs")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    return Environment.create(tmp_path_factory.mktemp("env") / "bare", wheel, extras=())


@pytest.fixture(scope="module")
def preparing(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    return Environment.create(tmp_path_factory.mktemp("env") / "prepare", wheel, extras=["prepare"])


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    return Environment.create(tmp_path_factory.mktemp("env") / "train", wheel, extras=["train"])


def test_the_bare_package_reads_datasets(bare: Environment, project: Path) -> None:
    code = f"""if True:
        from importlib.util import find_spec
        assert not [library for library in {BARE!r} if find_spec(library)]
        import singsong
        dataset = singsong.open_dataset("dataset")
        clips = list(dataset.clips("train"))
        assert dataset.clip(clips[2].clip_id).start_s == clips[2].start_s
        print(len(clips), clips[0].codes["vocals"].acoustic.shape)
    """
    assert "6 (50, 12)" in bare.run("-c", code, cwd=project)


@pytest.mark.parametrize("action", ["show", "verify", "versions", "preview"])
def test_the_bare_package_has_the_dataset_commands(
    bare: Environment, project: Path, action: str
) -> None:
    assert bare.run("-m", "singsong", "dataset", action, "dataset", cwd=project)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            ("prepare", "music", "--output", "new"),
            "singsong prepare: this command needs torch, which is not installed: "
            "pip install 'singsong[prepare]'",
        ),
        (
            ("train", "accompaniment", "--data", "dataset", "--output", "run"),
            "pip install 'singsong[train]'",
        ),
        (("dataset", "show", "gs://bucket/dataset"), "pip install 'singsong[gcp]'"),
        (("dataset", "show", "s3://bucket/dataset"), "pip install 'singsong[s3]'"),
    ],
)
def test_a_missing_library_is_a_sentence(
    bare: Environment, project: Path, command: tuple[str, ...], sentence: str
) -> None:
    printed = bare.run("-m", "singsong", *command, cwd=project, code=1)
    assert sentence in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("use", "extra"),
    [
        ("prepare('music', output='new')", "prepare"),
        ("encode", "prepare"),
        ("ShardDataset", "train"),
        ("Accompanist", "train"),
    ],
)
def test_a_public_name_says_which_extra_it_needs(
    bare: Environment, project: Path, use: str, extra: str
) -> None:
    printed = bare.run("-c", f"import singsong; singsong.{use}", cwd=project, code=1)
    assert f"MissingLibraryError: singsong.{use.partition('(')[0]} needs " in printed
    assert f"pip install 'singsong[{extra}]'" in printed


def test_the_extra_prepare_prepares(preparing: Environment, project: Path) -> None:
    flags = ["--clip-seconds", "1", "--no-filter", "--splits", "train=1"]
    preparing.run(*("-m", "singsong", "prepare", "music", "--output", "again", *flags), cwd=project)
    digests = [(project / name / "manifest.json").read_text() for name in ("dataset", "again")]
    assert digests[0].splitlines()[:20] == digests[1].splitlines()[:20]
    code = "from importlib.util import find_spec as f; print(f('gcsfs'), f('tensorboard'))"
    assert preparing.run("-c", code, cwd=project).strip() == "None None"


def test_the_extra_train_trains_and_loads(training: Environment, project: Path) -> None:
    code = """if True:
        from importlib.util import find_spec
        assert find_spec("apache_beam") is None
        import singsong
        config = singsong.TrainConfig(
            kind="accompaniment", preset="tiny", data="dataset", output="run", steps=1,
            batch_size=2, evaluate_every=0, device="cpu",
        )
        print(singsong.train(config).step)
        print(singsong.Accompanist.load("run").acoustic.geometry.codebooks)
    """
    assert "1\n12" in training.run("-c", code, cwd=project)
