"""Tests of the MDX-Net adapter, on networks of the published topology with random weights."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from benchmarks.support.mdx_net import ConvTdfNet, official_vocals, parameters
from singsong.models.conformance import check_separator
from singsong.models.mdx import MdxSeparator
from singsong.models.mdx_files import open_net
from singsong.models.registry import load_model
from singsong.models.weights import WeightsError
from singsong.schemas.arrays import FloatArray
from singsong.schemas.extras import MissingLibraryError
from singsong.schemas.recipe import EncodeRecipe, ModelSpec, recipe_json
from singsong.storage.machine_trouble import is_machine_trouble
from tests.support.mdx_files import (
    BINS,
    FRAMES,
    KEPT,
    N_FFT,
    save_graph,
    save_small_net,
    small_net,
    tensor_in,
)

RATE_HZ = 44100
NOISE = np.random.default_rng(0).normal(0, 0.1, (4, 2, 10 * RATE_HZ)).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    """As the workers of each job do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_net(tmp_path_factory.mktemp("mdx") / "vocals.onnx")


def separator(file: Path, **settings: Any) -> MdxSeparator:
    return MdxSeparator(str(file), **{"stem": "vocals", "n_fft": N_FFT, **settings})


def official(mix: FloatArray) -> FloatArray:
    return official_vocals(small_net(), mix, n_fft=N_FFT, bins=BINS, frames=FRAMES)


def sines(samples: int) -> FloatArray:
    """Two channels of sines below 500 Hz, with peaks at 1."""
    seconds = np.arange(samples) / RATE_HZ
    left = np.sin(2 * np.pi * 220 * seconds)
    right = 0.7 * np.sin(2 * np.pi * 130 * seconds) + 0.3 * np.sin(2 * np.pi * 470 * seconds)
    return np.stack([left, right]).astype(np.float32)


@pytest.mark.parametrize(
    ("blocks", "count", "published_bytes"),
    [(11, 7_423_236, 29_703_204), (9, 5_480_196, 21_930_313)],
)
def test_the_topology_fills_the_published_files(
    blocks: int, count: int, published_bytes: int
) -> None:
    """Those of the vocals, and of the smaller drums of leaderboard B."""
    found = parameters(ConvTdfNet(blocks=blocks))
    assert found == count
    assert 4 * found == pytest.approx(published_bytes, rel=1e-3)


@pytest.mark.parametrize("samples", [1, 5000, KEPT, KEPT + 1, 2 * KEPT, 10 * RATE_HZ])
def test_vocals_are_those_of_the_official_inference(file: Path, samples: int) -> None:
    mixes = NOISE[:2, :, :samples]
    stereo = separator(file).separate_stereo(mixes)
    for mix, vocals in zip(mixes, stereo, strict=True):
        expected = official(mix)
        assert 0.01 < np.abs(expected).max() < 0.5
        np.testing.assert_allclose(vocals, expected, rtol=0, atol=1e-6)


def test_a_mono_clip_is_copied_and_the_channels_averaged(file: Path) -> None:
    mix = NOISE[:3, 0, :20_000]
    expected = [official(np.stack([one, one])) for one in mix]
    assert np.abs(expected[0][0] - expected[0][1]).max() > 1e-3
    mono = separator(file).separate_vocals(mix)
    np.testing.assert_allclose(mono, np.mean(expected, axis=1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("db", [-40, -20, -6, 0])
@pytest.mark.parametrize("stem", ["vocals", "instrumental"])
def test_levels_are_kept(db: float, stem: str, tmp_path: Path) -> None:
    """A network that finds all of the mix: as vocals, or as an instrumental that leaves none."""
    file = save_graph(tmp_path / "same.onnx", shape=("batch", 4, N_FFT // 2 + 1, FRAMES))
    peak = 10 ** (db / 20)
    mix = np.float32(peak) * np.stack([sines(40_000), 9 * NOISE[0, :, :40_000].clip(-0.1, 0.1)])
    vocals = separator(file, stem=stem).separate_stereo(mix)
    expected = mix if stem == "vocals" else np.zeros_like(mix)
    np.testing.assert_allclose(vocals, expected, rtol=0, atol=1e-5 * peak)


@pytest.mark.parametrize("db", [-40, -20, -6, 0])
def test_levels_are_kept_in_the_band_and_nothing_is_left_above(db: float, tmp_path: Path) -> None:
    """64 bins end at 1.4 kHz."""
    same = separator(save_graph(tmp_path / "same.onnx"))
    peak = np.float32(10 ** (db / 20))
    mix = peak * sines(40_000)
    vocals = same.separate_stereo(mix[None])[0]
    np.testing.assert_allclose(vocals[:, 4096:-4096], mix[:, 4096:-4096], atol=1e-3 * peak)
    high = peak * np.sin(2 * np.pi * 3000 * np.arange(40_000) / RATE_HZ).astype(np.float32)
    for stem in ("vocals", "instrumental"):
        above = separator(tmp_path / "same.onnx", stem=stem).separate_vocals(high[None])
        assert np.abs(above[:, 4096:-4096]).max() < 1e-3 * peak


def test_vocals_are_what_the_mix_has_beside_an_instrumental(file: Path, tmp_path: Path) -> None:
    mix = NOISE[:1, :, :30_000]
    band = separator(save_graph(tmp_path / "same.onnx")).separate_stereo(mix)
    vocals = separator(file, stem="instrumental", compensate=1.5).separate_stereo(mix)
    found = separator(file).separate_stereo(mix)
    np.testing.assert_allclose(vocals, band - 1.5 * found, atol=1e-6)


def test_compensation_multiplies_what_the_network_gives(file: Path) -> None:
    mix = NOISE[:1, 0, :30_000]
    plain = separator(file).separate_vocals(mix)
    np.testing.assert_allclose(
        separator(file, compensate=1.035).separate_vocals(mix), 1.035 * plain, rtol=1e-5, atol=1e-7
    )


def test_a_graph_that_takes_one_at_a_time_is_a_conforming_separator(tmp_path: Path) -> None:
    """`test_all_adapters` checks one that takes any number."""
    path = save_small_net(tmp_path / "net.onnx", batch=None)
    check_separator(lambda: separator(path, batch_clips=4), samples=30_000)


def test_a_fixed_batch_axis_changes_nothing(file: Path, tmp_path: Path) -> None:
    fixed = separator(save_small_net(tmp_path / "fixed.onnx", batch=None), batch_clips=2)
    mix = NOISE[:3, 0, :20_000]
    np.testing.assert_array_equal(fixed.separate_vocals(mix), separator(file).separate_vocals(mix))


def test_bfloat16_changes_nothing(file: Path) -> None:
    mix = NOISE[:1, 0, :20_000]
    other = separator(file, dtype="bfloat16")
    np.testing.assert_array_equal(other.separate_vocals(mix), separator(file).separate_vocals(mix))
    with pytest.raises(ValueError, match="dtype must be one of"):
        separator(file, dtype="float16")


def test_the_digest_is_that_of_the_file_and_of_what_shapes_the_result(
    file: Path, tmp_path: Path
) -> None:
    digest = separator(file).weights_sha256
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(file.read_bytes())
    assert separator(copy, batch_clips=4, dtype="bfloat16").weights_sha256 == digest
    table = save_table(tmp_path / "table.json", file)
    assert MdxSeparator(str(copy), table=table, compensate=1).weights_sha256 == digest
    other = save_small_net(tmp_path / "other.onnx", seed=1)
    different = [
        separator(other),
        separator(file, stem="instrumental"),
        separator(file, n_fft=4096),
        separator(file, compensate=1.01),
    ]
    assert len({digest, *(one.weights_sha256 for one in different)}) == 5


def save_table(path: Path, file: Path, **changes: Any) -> str:
    """Writes a table in the form of UVR's, with a row for a file."""
    row = {
        "compensate": 1.02,
        "mdx_dim_f_set": BINS,
        "mdx_dim_t_set": 4,
        "mdx_n_fft_scale_set": N_FFT,
        "primary_stem": "Vocals",
        **changes,
    }
    key = hashlib.md5(file.read_bytes()[-10_240_000:]).hexdigest()
    path.write_text(json.dumps({"0" * 32: {}, key: row}))
    return str(path)


def test_a_table_says_what_the_options_do_not(file: Path, tmp_path: Path) -> None:
    table = save_table(tmp_path / "table.json", file, primary_stem="Instrumental")
    by_table = MdxSeparator(str(file), table=table)
    by_hand = separator(file, stem="instrumental", compensate=1.02)
    assert by_table.weights_sha256 == by_hand.weights_sha256
    mix = NOISE[:1, 0, :20_000]
    np.testing.assert_array_equal(by_table.separate_vocals(mix), by_hand.separate_vocals(mix))
    given = MdxSeparator(str(file), table=table, stem="vocals", n_fft=4096, compensate=1.0)
    assert given.weights_sha256 == separator(file, n_fft=4096).weights_sha256


def test_the_key_of_a_long_file_is_that_of_its_end(file: Path, tmp_path: Path) -> None:
    """As UVR takes it."""
    model = onnx.load(file)
    model.doc_string = "long" * 3_000_000
    path = tmp_path / "long.onnx"
    onnx.save(model, path)
    table = save_table(tmp_path / "table.json", path)
    assert hashlib.md5(path.read_bytes()).hexdigest() not in Path(table).read_text()
    MdxSeparator(str(path), table=table)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"mdx_dim_f_set": 128}, r"has 128 bins and 2\^4 frames .* graph has 64 and 16"),
        ({"mdx_dim_t_set": 8}, r"has 64 bins and 2\^8 frames"),
        ({"mdx_n_fft_scale_set": "2048"}, "must have a mdx_n_fft_scale_set, found '2048'"),
        ({"compensate": None}, "must have a compensate, found None"),
        ({"compensate": True}, "must have a compensate, found True"),
        ({"primary_stem": "Other"}, "stem of mdx must be one of .* found 'other'"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(
    changes: dict[str, Any], complaint: str, file: Path, tmp_path: Path
) -> None:
    table = save_table(tmp_path / "table.json", file, **changes)
    with pytest.raises(ValueError, match=complaint):
        MdxSeparator(str(file), table=table)


def test_a_table_that_cannot_be_used_is_refused(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    with pytest.raises(ValueError, match="not a JSON file that can be read"):
        MdxSeparator(str(file), table=str(path))
    path.write_bytes(b"\xff{")
    with pytest.raises(ValueError, match="not a JSON file that can be read"):
        MdxSeparator(str(file), table=str(path))
    key = hashlib.md5(file.read_bytes()).hexdigest()
    for content in ("[]", "{}", json.dumps({key: 7})):
        path.write_text(content)
        with pytest.raises(ValueError, match=f"has no row {key}"):
            MdxSeparator(str(file), table=str(path))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"stem": None}, r"mdx needs the options \['stem'\]"),
        ({"n_fft": None}, r"mdx needs the options \['n_fft'\]"),
        ({"stem": "other"}, r"stem of mdx must be one of \('vocals', 'instrumental'\)"),
        ({"n_fft": 2049}, "n_fft of mdx must be even and at least 2048, found 2049"),
        ({"n_fft": 1024}, "n_fft of mdx must be even and at least 2048, found 1024"),
        ({"n_fft": 15_360}, "leaves nothing of the 15360 samples"),
        ({"compensate": 0.0}, "compensate of mdx must be positive and finite, found 0.0"),
        ({"compensate": float("nan")}, "compensate of mdx must be positive and finite"),
        ({"device": "tpu"}, "device must be"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], complaint: str, file: Path) -> None:
    with pytest.raises(ValueError, match=complaint):
        separator(file, **settings)


def test_a_network_may_not_see_more_bins_than_there_are(tmp_path: Path) -> None:
    all_bins = save_graph(tmp_path / "all.onnx", shape=("batch", 4, 1025, FRAMES))
    separator(all_bins, n_fft=2048)
    more = save_graph(tmp_path / "more.onnx", shape=("batch", 4, 1026, FRAMES))
    with pytest.raises(ValueError, match="has 1025 bins, and this MDX-Net sees 1026"):
        separator(more, n_fft=2048)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no MDX-Net at .*none\.onnx"):
        separator(tmp_path / "none.onnx")
    with pytest.raises(WeightsError, match="no MDX-Net at"):
        separator(tmp_path)
    with pytest.raises(ValueError, match="mdx needs a file"):
        MdxSeparator(None, stem="vocals", n_fft=N_FFT)


@pytest.mark.parametrize(
    "damaged",
    [
        lambda content: b"",
        lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:daba8\n",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: bytes(1000),
    ],
)
def test_a_damaged_file_is_refused(
    damaged: Callable[[bytes], bytes], file: Path, tmp_path: Path, capfd: Any
) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(damaged(file.read_bytes()))
    with pytest.raises(WeightsError, match=r"damaged\.onnx is not an ONNX file that onnxruntime"):
        separator(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "graph",
    [
        {"shape": ("batch", 4, BINS, "frames")},
        {"shape": ("batch", 4, "bins", FRAMES)},
        {"shape": ("batch", 2, BINS, FRAMES)},
        {"shape": (3, 4, BINS, FRAMES)},
        {"shape": (4, BINS, FRAMES)},
        {"shape": ()},
        {"kind": TensorProto.DOUBLE},
        {"operator": "Add", "inputs": 2},
    ],
)
def test_another_network_is_refused(graph: dict[str, Any], tmp_path: Path) -> None:
    path = save_graph(tmp_path / "other.onnx", **graph)
    with pytest.raises(WeightsError, match=r"other\.onnx is not an MDX-Net: it should turn one"):
        separator(path)


def test_a_network_for_several_stems_is_refused_when_it_runs(tmp_path: Path) -> None:
    zeros = TensorProto(
        name="shape", data_type=TensorProto.INT64, dims=[4], int64_data=[1, 8, BINS // 2, FRAMES]
    )
    path = save_graph(
        tmp_path / "all.onnx", operator="Reshape", tensors=(zeros,), made=(1, 8, 32, 16)
    )
    with pytest.raises(WeightsError, match=r"turns float32 \(1, 4, 64, 16\) into float32 \(1, 8,"):
        separator(path).separate_vocals(NOISE[:1, 0, :20_000])


def test_too_little_memory_is_trouble_of_the_machine(tmp_path: Path) -> None:
    """No machine has 16 petabytes."""
    shape = (10**12, 4, BINS, FRAMES)
    tensor = TensorProto(name="s", data_type=TensorProto.INT64, dims=[4], int64_data=shape)
    path = save_graph(tmp_path / "net.onnx", operator="Expand", tensors=(tensor,), made=shape)
    with pytest.raises(MemoryError, match="onnxruntime cannot run the MDX-Net") as caught:
        separator(path).separate_vocals(NOISE[:1, 0, :20_000])
    assert is_machine_trouble(caught.value)


def test_a_failure_of_onnxruntime_is_a_runtime_error(tmp_path: Path) -> None:
    """Which the pipeline reads for what it says about the machine."""
    shape = TensorProto(name="s", data_type=TensorProto.INT64, dims=[1], int64_data=[7])
    path = save_graph(tmp_path / "net.onnx", operator="Reshape", tensors=(shape,), made=(7,))
    with pytest.raises(RuntimeError, match=r"onnxruntime cannot run the MDX-Net: .*Reshape"):
        separator(path).separate_vocals(NOISE[:1, 0, :20_000])


def test_no_other_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_bytes(np.float32(7).tobytes())
    monkeypatch.chdir(tmp_path)
    for location in ("secret", str(tmp_path / "secret"), "../secret"):
        path = save_graph(tmp_path / "net.onnx", operator="Add", tensors=(tensor_in(location),))
        with pytest.raises(WeightsError, match="its tensors may lie in other files"):
            separator(path)


@pytest.mark.parametrize("length", [b"\x88\x00", b"\x88\x80\x00"])
def test_a_padded_key_hides_no_file(tmp_path: Path, length: bytes) -> None:
    """Protobuf reads a length that is longer than need be; the lengths around it grow, too."""
    padded = tmp_path / "net.onnx"
    padded.write_bytes(b"\x0a" + length + b"location")
    with pytest.raises(WeightsError, match="its tensors may lie in other files"):
        separator(padded)


def test_the_word_location_elsewhere_is_no_file(tmp_path: Path) -> None:
    """As in the traces that the exporter of torch 2.6 and later leaves in a graph."""
    path = save_small_net(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.doc_string = "state = torch.load(path, map_location='cpu')"
    entry = model.metadata_props.add()
    entry.key, entry.value = "stack_trace", "location = tensor.device"
    onnx.save(model, path)
    mix = NOISE[:1, 0, :30_000]
    np.testing.assert_array_equal(
        separator(path).separate_vocals(mix),
        separator(save_small_net(tmp_path / "plain.onnx")).separate_vocals(mix),
    )


def test_an_operator_that_is_not_in_onnxruntime_is_refused(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "net.onnx", operator="Evil", domain="elsewhere")
    with pytest.raises(WeightsError, match="not an ONNX file that onnxruntime can run"):
        separator(path)


def test_wrong_audio_is_refused(file: Path) -> None:
    with pytest.raises(ValueError, match=r"audio must be \[clips, samples\]"):
        separator(file).separate_vocals(NOISE[0, 0])
    with pytest.raises(ValueError, match=r"audio must be \[clips, 2, samples\]"):
        separator(file).separate_stereo(NOISE[:, 0])


def test_cuda_without_its_onnxruntime_says_what_to_install(file: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime can use CUDA")
    with pytest.raises(ValueError, match="install onnxruntime-gpu in place of onnxruntime"):
        open_net(file.read_bytes(), name="net", device=torch.device("cuda"))


def test_it_is_loaded_by_name_with_its_options(file: Path) -> None:
    spec = f"mdx:{file},stem=vocals,n_fft={N_FFT},compensate=1.5"
    loaded = load_model("separator", spec)
    assert loaded.weights_sha256 == separator(file, compensate=1.5).weights_sha256
    with pytest.raises(ValueError, match=r"options of mdx are \['compensate', 'n_fft', 'stem', 't"):
        load_model("separator", f"mdx:{file},overlap=0.5")
    with pytest.raises(ValueError, match="n_fft of mdx must be int, found 'x'"):
        load_model("separator", f"mdx:{file},stem=vocals,n_fft=x")


def test_the_recipe_holds_no_path_of_a_table() -> None:
    spec = ModelSpec.parse("mdx:a.onnx,stem=vocals,table=/home/me/table.json")
    assert recipe_json(EncodeRecipe(separator=spec))["separator"] == {
        "name": "mdx",
        "options": {"stem": "vocals"},
    }


def test_a_missing_library_names_its_extra(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("singsong.models.mdx", "singsong.models.mdx_files"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingLibraryError, match=r"onnxruntime.*pip install 'singsong\[mdx\]'"):
        load_model("separator", f"mdx:{file},stem=vocals,n_fft=6144")
