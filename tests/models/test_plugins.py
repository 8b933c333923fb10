"""Tests of models that other packages offer through entry points."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import singsong
from benchmarks.support.command import ROOT
from singsong.models import loaded
from singsong.models.conformance import check_codec, check_semantic_encoder, check_separator
from singsong.models.registry import load_model
from tests.support.fakes import write_tones

Offer = Callable[..., None]

CODEC = """
class Codec:
    weights_sha256 = "ab" * 32
    def __init__(self, source, *, device, dtype, batch_clips, layer="none", **more):
        self.geometry = (source, device, dtype, batch_clips, layer, more)
    def encode(self, audio): ...
    def decode(self, codes): ...

class Strict(Codec):
    def __init__(self, source, *, device, dtype, batch_clips, layer="none"):
        super().__init__(source, device=device, dtype=dtype, batch_clips=batch_clips, layer=layer)

class Half:
    def __init__(self, source, **place): ...
    def encode(self, audio): ...
"""


@pytest.fixture(autouse=True)
def empty_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "_LOADED", {})


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Installs a package of one module by hand."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(package: str, code: str, *, group: str = "acoustic_codecs", **models: str) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name.replace('_', '-')} = {package}:{what}" for name, what in models.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[singsong.{group}]", *lines]) + "\n")

    return install


def test_a_plugin_is_found_by_name_and_gets_its_options_as_text(offer: Offer) -> None:
    offer("plug_found", CODEC, found="Codec")
    spec = "found:somewhere,layer=3,width=0.5"
    codec: Any = load_model("acoustic", spec, device="cpu", dtype="bfloat16", batch_clips=4)
    assert codec.geometry == ("somewhere", "cpu", "bfloat16", 4, "3", {"width": "0.5"})
    assert load_model("acoustic", spec, dtype="bfloat16", batch_clips=4) is codec
    with pytest.raises(ValueError, match=r"semantic must be one of .*, found 'found'"):
        load_model("semantic", "found")


def test_unknown_options_and_names_list_the_known_ones(offer: Offer) -> None:
    offer("plug_strict", CODEC, strict="Strict")
    with pytest.raises(ValueError, match=r"options of strict are \['layer'\], found 'width'"):
        load_model("acoustic", "strict,width=1")
    with pytest.raises(
        ValueError, match=r"one of \['dac', 'encodec', 'lite', 'lyra', 'strict'\], found 'musicnet'"
    ):
        load_model("acoustic", "musicnet")


@pytest.mark.parametrize(
    ("code", "what", "reason"),
    [
        ("import a_library_that_nobody_has", "Codec", "No module named"),
        ("raise RuntimeError('no licence')", "Codec", "RuntimeError: no licence"),
        ("def Codec(:", "Codec", "SyntaxError"),
        ("", "Codec", "AttributeError"),
        ("Codec = 3", "Codec", "TypeError"),
    ],
)
def test_a_broken_plugin_is_named_when_it_is_asked_for(
    offer: Offer, code: str, what: str, reason: str
) -> None:
    offer("plug_broken", code, broken=what)
    assert load_model("acoustic", "lite").geometry.codebooks == 12
    said = rf"the acoustic model 'broken' of plug_broken 1\.0 cannot be imported \(.*{reason}"
    with pytest.raises(ValueError, match=said):
        load_model("acoustic", "broken")
    sys.modules.pop("plug_broken", None)


def test_a_plugin_without_the_members_of_its_role_is_refused(offer: Offer) -> None:
    offer("plug_half", CODEC, half="Half")
    said = r"'half' of plug_half 1\.0 lacks geometry, weights_sha256, decode"
    with pytest.raises(ValueError, match=said):
        load_model("acoustic", "half")


def test_a_name_means_one_model(offer: Offer) -> None:
    offer("plug_lite", CODEC, lite="Codec", twice="Codec")
    offer("plug_other", CODEC, twice="Codec")
    with pytest.raises(ValueError, match=r"'lite' is built in, and plug_lite 1\.0 offers another"):
        load_model("acoustic", "lite")
    assert load_model("semantic", "lite").geometry.codebook_size == 1024
    with pytest.raises(ValueError, match=r"by plug_lite 1\.0 and plug_other 1\.0: uninstall all"):
        load_model("acoustic", "twice")


def test_roles_are_three() -> None:
    with pytest.raises(ValueError, match=r"role must be one of .*, found 'features'"):
        load_model("features", "hubert")  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy package, built and installed by pip into a folder."""
    folder = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "toy"
    subprocess.run(["cp", "-r", ROOT / "tests" / "toy_plugin", source], check=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder)]
    subprocess.run([*command, *flags, str(source)], check=True)
    return folder


def test_a_package_of_its_own_is_loaded_and_conforms(
    toy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(toy_folder))
    checks: dict[str, Any] = {
        "separator": check_separator,
        "acoustic": check_codec,
        "semantic": check_semantic_encoder,
    }
    for role, check in checks.items():
        model: Any = singsong.load_model(role, "toy")
        assert type(model).__module__ == "singsong_toy"
        check(partial(type(model), None, device="cpu", dtype="float32", batch_clips=1))
    wide = singsong.load_model("separator", "toy,width=9")
    assert wide.weights_sha256 != singsong.load_model("separator", "toy").weights_sha256
    tone = (0.5 * np.sin(np.arange(16000) / 9)).astype(np.float32)
    assert singsong.encode(tone, sample_rate_hz=16000, model="toy").shape == (50, 2)


def test_prepare_encodes_with_the_models_of_another_package(
    toy_folder: Path, tmp_path: Path
) -> None:
    write_tones(tmp_path / "music", tracks=2)
    command = [sys.executable, "-m", "singsong", "prepare", str(tmp_path / "music")]
    flags = ["--output", str(tmp_path / "dataset"), "--clip-seconds", "1", "--no-filter"]
    models = ["--separator", "toy,width=9", "--acoustic", "toy", "--semantic", "toy"]
    path = os.pathsep.join([str(toy_folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    ran = subprocess.run(
        [*command, *flags, *models],
        check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    manifest = (tmp_path / "dataset" / "manifest.json").read_text()
    assert '"codebook_size": 256' in manifest
    assert '"width": "9"' in manifest
