"""Tests of finding models by name."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from singsong.models import loaded
from singsong.models.built_in import ADAPTERS, Adapter
from singsong.models.dac import DacCodec
from singsong.models.htdemucs import DemucsSeparator
from singsong.models.registry import load_acoustic, load_semantic, load_separator, load_ssl_features
from singsong.models.spleeter import SpleeterSeparator
from singsong.models.ssl_encoder import SslSemanticEncoder
from singsong.schemas.recipe import ModelSpec
from tests.support.small_checkpoints import (
    build_htdemucs,
    save_codebook,
    save_dac,
    save_demucs_th,
    save_hubert,
    save_w2v_bert,
)

WHERE: dict[str, Any] = {"device": "cpu", "dtype": "float32", "batch_clips": 1}


@pytest.fixture(autouse=True)
def empty_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "_LOADED", {})


def test_each_name_gives_its_adapter(tmp_path: Path) -> None:
    save_demucs_th(build_htdemucs(), tmp_path / "aaaa.th")
    dac = save_dac(tmp_path / "dac")
    book = save_codebook(tmp_path / "codebook.safetensors")
    demucs = ModelSpec.parse(f"demucs:{tmp_path / 'aaaa.th'},overlap=0.1")
    assert isinstance(load_separator(demucs, **WHERE), DemucsSeparator)
    assert isinstance(load_separator(ModelSpec(name="spleeter"), **WHERE), SpleeterSeparator)
    codec = load_acoustic(ModelSpec.parse(f"dac:{dac},coarse=3"), **WHERE)
    assert isinstance(codec, DacCodec)
    assert codec.geometry.coarse_codebooks == 3
    lite = load_acoustic(ModelSpec.parse("lite,coarse=2"), **WHERE)
    assert lite.geometry.coarse_codebooks == 2
    assert lite.weights_sha256 == load_acoustic(ModelSpec.parse("lite"), **WHERE).weights_sha256
    for name, save in (("hubert", save_hubert), ("w2v-bert", save_w2v_bert)):
        folder = save(tmp_path / name)
        encoder = load_semantic(
            ModelSpec.parse(f"{name}:{folder},layer=2,codebook={book}"), **WHERE
        )
        assert isinstance(encoder, SslSemanticEncoder)
        assert encoder.geometry.codebook_size == 64


def test_features_need_no_codebook(tmp_path: Path) -> None:
    features = load_ssl_features(
        ModelSpec.parse(f"hubert:{save_hubert(tmp_path)},layer=2,codebook=/to/be/fitted"), **WHERE
    )
    assert (features.hop_samples, features.dimensions) == (640, 32)


def test_a_model_is_loaded_once_for_each_place_it_runs_in(tmp_path: Path) -> None:
    spec = ModelSpec(name="dac", source=str(save_dac(tmp_path)))
    first = load_acoustic(spec, **WHERE)
    assert load_acoustic(spec, **WHERE) is first
    assert load_acoustic(spec, **{**WHERE, "batch_clips": 2}) is not first
    assert load_acoustic(spec, **{**WHERE, "dtype": "bfloat16"}) is not first


def test_threads_share_one_load(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    start = threading.Barrier(4)

    def make(source: str | None, **settings: Any) -> object:
        loads.append(settings)
        return object()

    monkeypatch.setitem(ADAPTERS["acoustic"], "slow", Adapter(make=make))
    found = []

    def load() -> None:
        start.wait()
        found.append(load_acoustic(ModelSpec(name="slow"), **WHERE))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert len(set(map(id, found))) == 1


@pytest.mark.parametrize(
    ("load", "known"),
    [
        (load_separator, r"separator must be one of \['demucs', 'mdx', 'spleeter'\]"),
        (load_acoustic, r"acoustic must be one of \['dac', 'encodec', 'lite', 'lyra'\]"),
        (load_semantic, r"semantic must be one of \['hubert', 'lite', 'w2v-bert'\]"),
    ],
)
def test_unknown_names_list_the_known_ones(load: Any, known: str) -> None:
    with pytest.raises(ValueError, match=f"{known}, found 'musicnet'"):
        load(ModelSpec(name="musicnet"), **WHERE)


@pytest.mark.parametrize(
    ("load", "spec", "message"),
    [
        (load_separator, "demucs,x=2", r"options of demucs are \['overlap', 'shifts'\], found 'x'"),
        (load_separator, "demucs,shifts=1.5", "shifts of demucs must be int, found '1.5'"),
        (load_separator, "demucs,overlap=much", "overlap of demucs must be float, found 'much'"),
        (load_separator, "demucs,overlap=nan", "overlap must be in"),
        (load_separator, "spleeter,overlap=1", r"options of spleeter are \[\]"),
        (load_acoustic, "dac,coarse=3.5", "coarse of dac must be int, found '3.5'"),
        (load_semantic, "hubert,depth=3", r"options of hubert are \['codebook', 'layer'\]"),
        (load_semantic, "w2v-bert,layer=7", "w2v-bert needs the option codebook="),
    ],
)
def test_wrong_options_say_which_are_right(load: Any, spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(ModelSpec.parse(spec), **WHERE)


def test_wrong_places_are_refused() -> None:
    spec = ModelSpec(name="spleeter")
    with pytest.raises(ValueError, match="batch_clips must be at least 1"):
        load_separator(spec, **{**WHERE, "batch_clips": 0})
    with pytest.raises(ValueError, match="device must be"):
        load_separator(spec, **{**WHERE, "device": "abacus"})
    with pytest.raises(ValueError, match="dtype must be"):
        load_separator(spec, **{**WHERE, "dtype": "float16"})


def test_no_library_is_imported_before_a_model_is_asked_for() -> None:
    heavy = "{'torch', 'transformers', 'demucs'}"
    code = f"import sys, singsong.models.registry; print({heavy} & {{*sys.modules}})"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "set()"
