"""Tests of loading weights and of naming them."""

from __future__ import annotations

import hashlib
import pickle
import platform
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import DacModel, HubertModel

from singsong.models.allocator import keep_freed_memory
from singsong.models.devices import checked_device, checked_dtype
from singsong.models.weights import WeightsError, load_pretrained, load_safely, tensors_sha256
from tests.support.small_checkpoints import Malice, save_dac, save_hubert

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1, dtype=torch.int64)}


def test_digest_is_that_of_name_type_shape_and_bytes_in_any_order() -> None:
    expected = hashlib.sha256(b'{"layer": 7}')
    expected.update(b'["a", "float32", [2, 3]]' + np.arange(6, dtype="<f4").tobytes())
    expected.update(b'["b", "int64", []]' + np.int64(1).tobytes())
    reverse = dict(reversed(TENSORS.items()))
    assert tensors_sha256(reverse, settings={"layer": 7}) == expected.hexdigest()


def test_digest_of_numpy_and_torch_is_the_same() -> None:
    arrays = {name: tensor.numpy() for name, tensor in TENSORS.items()}
    assert tensors_sha256(arrays, settings={}) == tensors_sha256(TENSORS, settings={})
    big_endian = {
        name: array.astype(array.dtype.newbyteorder(">")) for name, array in arrays.items()
    }
    assert tensors_sha256(big_endian, settings={}) == tensors_sha256(TENSORS, settings={})
    strided = {**TENSORS, "a": TENSORS["a"].T.contiguous().T}
    assert tensors_sha256(strided, settings={}) == tensors_sha256(TENSORS, settings={})


@pytest.mark.parametrize(
    "other",
    [
        {**TENSORS, "a": TENSORS["a"].reshape(3, 2)},
        {**TENSORS, "a": TENSORS["a"] + 1},
        {**TENSORS, "a": TENSORS["a"].bfloat16()},
        {"c": TENSORS["a"], "b": TENSORS["b"]},
        {"a": TENSORS["a"]},
    ],
)
def test_digest_differs_where_anything_does(other: dict[str, torch.Tensor]) -> None:
    assert tensors_sha256(other, settings={}) != tensors_sha256(TENSORS, settings={})
    assert tensors_sha256(TENSORS, settings={"layer": 1}) != tensors_sha256(TENSORS, settings={})


def test_plain_checkpoints_load(tmp_path: Path) -> None:
    torch.save({"state": TENSORS, "epoch": 3}, tmp_path / "a.pt")
    save_file(TENSORS, tmp_path / "a.safetensors")
    assert load_safely(tmp_path / "a.pt")["epoch"] == 3
    torch.testing.assert_close(load_safely(tmp_path / "a.safetensors"), TENSORS)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_checkpoint_is_refused_and_does_not_run(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "executed"
    path = tmp_path / "evil.th"
    torch.save({"state": Malice(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"refused to load .*evil\.th: its pickle names .*mkdir"):
        load_safely(path)
    assert not marker.exists()
    # The trap does work.
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_a_bare_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps(Malice(marker), protocol=2))
    with pytest.raises(WeightsError, match=r"evil\.ckpt"):
        load_safely(tmp_path / "evil.ckpt")
    assert not marker.exists()


def test_the_allowlist_holds_for_one_load_only(tmp_path: Path) -> None:
    torch.save({"segment": Fraction(39, 5)}, tmp_path / "a.pt")
    assert load_safely(tmp_path / "a.pt", allowed=[Fraction]) == {"segment": Fraction(39, 5)}
    with pytest.raises(WeightsError, match=r"refused to load .* names fractions\.Fraction"):
        load_safely(tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all"])
def test_broken_files_say_so(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        load_safely(tmp_path / name)


def test_a_truncated_file_says_so(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="download it again"):
        load_safely(tmp_path / "a.pt")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_changed_bytes_load_or_say_so(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.pt"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        changed[rng.integers(min(len(whole), 1000))] = rng.integers(256)
        path.write_bytes(changed)
        try:
            load_safely(path)
        except WeightsError:
            refused += 1
    assert refused > 50


def test_missing_files_say_where_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights at .*nowhere\.pt: put the file there"):
        load_safely(tmp_path / "nowhere.pt")


def test_a_transformers_model_without_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no usable weights at .*: give a local folder"):
        load_pretrained(DacModel, str(tmp_path))


def test_a_malicious_bin_of_transformers_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    save_hubert(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"weight": Malice(marker)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=str(tmp_path)):
        load_pretrained(HubertModel, str(tmp_path))
    assert not marker.exists()


def test_weights_that_would_stay_random_are_refused(tmp_path: Path) -> None:
    save_dac(tmp_path)
    tensors = load_safely(tmp_path / "model.safetensors")
    name = sorted(tensors)[0]
    del tensors[name]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=f"lacks weights of DacModel: .*{name}"):
        load_pretrained(DacModel, str(tmp_path))


def test_only_safetensors_where_asked_for(tmp_path: Path) -> None:
    save_dac(tmp_path)
    torch.save(load_safely(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    load_pretrained(DacModel, str(tmp_path))
    with pytest.raises(WeightsError, match="no usable weights"):
        load_pretrained(DacModel, str(tmp_path), safetensors_only=True)


@pytest.mark.parametrize("name", ["tpu", "gpu:0", "mps", ""])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="device must be"):
        checked_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_a_missing_gpu_is_never_replaced(name: str) -> None:
    with pytest.raises(ValueError, match="this machine has 0 CUDA devices"):
        checked_device(name)


def test_unknown_dtypes_are_refused() -> None:
    assert checked_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(ValueError, match=r"dtype must be one of .*, found 'float16'"):
        checked_dtype("float16")


def test_freed_memory_is_kept_under_glibc_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
