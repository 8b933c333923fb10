"""Datasets are compared by what they hold: shards, formats and bytes of files do not count."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import singsong.dataset.clip_pairs
from benchmarks.support.code_dataset import ONE_SECOND, PAPER, recommitted, write_dataset
from singsong.audio.sound_files import flac_bytes
from singsong.commands import cli
from singsong.dataset.compare import Comparison, compare_datasets, describe_comparison
from singsong.dataset.handle import open_dataset
from singsong.dataset.manifest import DatasetError, Manifest, commit_manifest, read_manifest
from singsong.dataset.tables import write_tracks
from singsong.schemas.recipe import LoudnessFilter

CLIPS = 60


def write(folder: Path, *, shards: int = 4, formats: tuple[str, ...] = ("parquet",)) -> Manifest:
    return write_dataset(folder, clips=CLIPS, shards=shards, clips_per_track=3, formats=formats)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal datasets."""
    first, second = tmp_path / "first", tmp_path / "second"
    write(first)
    write(second)
    return first, second


def compare(first: Path, second: Path, tolerance: float = 0.01) -> Comparison:
    return compare_datasets(
        open_dataset(str(first)), open_dataset(str(second)), tolerance=tolerance
    )


def lines(first: Path, second: Path) -> list[str]:
    return describe_comparison(compare(first, second), "A", "B")


def rewrite(dataset: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Changes the first Parquet shard and lets the manifest say so."""
    manifest = read_manifest(str(dataset))
    shard, *others = manifest.shards
    table = change(pq.read_table(dataset / shard.path))
    pq.write_table(table, dataset / shard.path, row_group_size=256)
    changed = dataclasses.replace(shard, rows=table.num_rows, sha256="ab" * 32)
    commit_manifest(str(dataset), dataclasses.replace(manifest, shards=(changed, *others)))


def with_values(table: pa.Table, name: str, change: Callable[[np.ndarray], None]) -> pa.Table:
    index, column = table.schema.get_field_index(name), table[name].combine_chunks()
    codes = pa.types.is_fixed_size_list(column.type)
    values = (column.flatten() if codes else column).to_numpy(zero_copy_only=False).copy()
    change(values)
    array = pa.array(values, column.type.value_type if codes else column.type)
    if codes:
        array = pa.FixedSizeListArray.from_arrays(array, type=column.type)
    return table.set_column(index, table.schema.field(index), array)


def test_equal_datasets_mean_the_same(pair: tuple[Path, Path]) -> None:
    found = compare(*pair)
    assert found.is_equal()
    assert found.clips == CLIPS
    assert found.columns["vocals_acoustic"].values == CLIPS * 4 * 3
    assert found.columns["vocals_semantic"].values == CLIPS * 5
    assert lines(*pair) == []


@pytest.mark.parametrize("shards", [1, 2, 3, 6, 16])
@pytest.mark.parametrize("formats", [("tfrecord",), ("parquet", "tfrecord")])
def test_shards_and_formats_do_not_count(
    tmp_path: Path, shards: int, formats: tuple[str, ...]
) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", shards=shards, formats=formats)
    for first, second in ("ab", "ba"):
        found = compare(tmp_path / first, tmp_path / second)
        assert found.is_equal()
        assert found.clips == CLIPS
    assert lines(tmp_path / "a", tmp_path / "b") == [
        f"not counted: recipe.formats: ['parquet'] -> {list(formats)}"
    ]


def test_a_group_of_shards_is_all_that_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory does not grow with the number of clips, only with the ratio of the shard counts."""
    write(tmp_path / "a", shards=16)
    write(tmp_path / "b", shards=8)
    unfinished, most = 0, 0
    read = singsong.dataset.clip_pairs.shard_tables

    def counted(*args):
        nonlocal unfinished, most
        unfinished += 1
        most = max(most, unfinished)
        yield from read(*args)
        unfinished -= 1

    monkeypatch.setattr(singsong.dataset.clip_pairs, "shard_tables", counted)
    assert compare(tmp_path / "a", tmp_path / "b").is_equal()
    assert (most, unfinished) == (3, 0)


def test_too_many_shards_at_a_time_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", shards=5)
    write(tmp_path / "b", shards=4)
    open_shards = [len(read_manifest(str(tmp_path / name)).shards) for name in "ab"]
    monkeypatch.setattr(singsong.dataset.clip_pairs, "MOST_SHARDS", sum(open_shards) - 1)
    with pytest.raises(DatasetError, match=r"has 5 and 4 shards, of which 9 .*--clips-per-shard"):
        compare(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(singsong.dataset.clip_pairs, "MOST_SHARDS", sum(open_shards))
    assert compare(tmp_path / "a", tmp_path / "b").is_equal()


@pytest.mark.parametrize("column", ["instrumental_acoustic", "vocals_noisy_semantic"])
def test_codes_that_differ_are_counted(pair: tuple[Path, Path], column: str) -> None:
    def change(codes: np.ndarray) -> None:
        codes[[0, 1, -1]] ^= 1

    rewrite(pair[1], lambda table: with_values(table, column, change))
    found = compare(*pair)
    (name,) = [name for name, it in found.columns.items() if it.differing]
    assert name == column
    assert (found.columns[name].differing, found.columns[name].clips) == (3, 2)
    share = 3 / found.columns[name].values
    assert not found.is_equal(code_tolerance=0.99 * share)
    assert found.is_equal(code_tolerance=share)
    assert found.columns[name].example == min(clip_ids(pair[0]))
    (line,) = lines(*pair)
    assert line.startswith(f"{column}: 3 of {found.columns[name].values} codes differ (")


def clip_ids(dataset: Path) -> list[str]:
    shard = read_manifest(str(dataset)).shards[0]
    return pq.read_table(dataset / shard.path)["clip_id"].to_pylist()


def test_a_missing_clip_is_named(pair: tuple[Path, Path]) -> None:
    gone = clip_ids(pair[1])[1]
    rewrite(pair[1], lambda table: pa.concat_tables([table[:1], table[2:]]))
    for first, second, name in ((*pair, "A"), (*reversed(pair), "B")):
        assert not compare(first, second).is_equal(code_tolerance=1)
        assert lines(first, second) == [f"1 clip only in {name}, the first {gone}"]
    assert compare(*pair).clips == CLIPS - 1


def test_a_missing_shard_is_its_clips(pair: tuple[Path, Path]) -> None:
    shards = read_manifest(str(pair[1])).shards
    recommitted(pair[1], shards=shards[1:])
    found = compare(*pair)
    assert (found.only_first.clips, found.only_second.clips) == (shards[0].rows, 0)
    assert found.clips == CLIPS - shards[0].rows


def test_tracks_in_another_split_are_counted(pair: tuple[Path, Path]) -> None:
    manifest = read_manifest(str(pair[1]))
    first, *others = manifest.shards
    recommitted(pair[1], shards=(dataclasses.replace(first, split="test"), *others))
    found = compare(*pair)
    assert found.only_first.clips == found.only_second.clips == first.rows
    assert found.moved_tracks == first.rows // 3
    assert not found.is_equal()
    assert f"{first.rows // 3} of their tracks are in another split" in lines(*pair)


@pytest.mark.parametrize(
    ("by", "equal"),
    [(0.009, True), (-0.009, True), (0.02, False), (np.nan, False), (np.inf, False)],
)
def test_figures_may_differ_by_the_tolerance(
    pair: tuple[Path, Path], by: float, equal: bool
) -> None:
    def change(levels: np.ndarray) -> None:
        levels[1] += by

    rewrite(pair[1], lambda table: with_values(table, "mix_peak_rms_db", change))
    found = compare(*pair)
    assert found.is_equal(code_tolerance=1) is equal
    largest = found.columns["mix_peak_rms_db"].largest
    assert largest == (pytest.approx(abs(by), rel=1e-3) if np.isfinite(by) else np.inf)
    assert compare(*pair, tolerance=np.inf).is_equal()


def test_figures_that_are_no_numbers_may_be_the_same(pair: tuple[Path, Path]) -> None:
    def change(levels: np.ndarray) -> None:
        levels[:2] = -np.inf, np.nan

    for dataset in pair:
        rewrite(dataset, lambda table: with_values(table, "vocals_peak_rms_db", change))
    assert compare(*pair, tolerance=0).is_equal()


def test_texts_and_numbers_must_be_the_same(pair: tuple[Path, Path]) -> None:
    def change(values: np.ndarray) -> None:
        values[0] += type(values[0])(1)

    rewrite(pair[1], lambda table: with_values(table, "clip_index", change))
    assert lines(*pair) == [
        f"clip_index: 1 of {CLIPS} clips differ, the first {clip_ids(pair[0])[0]}"
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"clip_seconds": 1.0, "noise_seed": 3}, "recipe.encode.noise_seed: 0 -> 3"),
        ({"device": "cuda"}, "not counted: encode.device: cpu -> cuda"),
        ({"batch_clips": 4}, "not counted: encode.batch_clips: 1 -> 4"),
    ],
)
def test_settings_count_unless_they_only_say_how_it_was_computed(
    pair: tuple[Path, Path], change: dict, line: str
) -> None:
    recipe = dict(read_manifest(str(pair[1])).recipe)
    recommitted(pair[1], recipe={**recipe, "encode": {**recipe["encode"], **change}})
    assert lines(*pair) == [line]
    assert compare(*pair).is_equal() is line.startswith("not counted")


def test_filters_weights_and_software(pair: tuple[Path, Path]) -> None:
    recipe = dict(read_manifest(str(pair[1])).recipe)
    other = vars(LoudnessFilter(min_instrumental_db=-20.0))
    recommitted(
        pair[1],
        recipe={**recipe, "dataset_filter": other},
        weights={"acoustic": "ab"},
        software={"pyarrow": "25.0.0"},
    )
    assert not compare(*pair).is_equal(code_tolerance=1)
    assert lines(*pair) == [
        "recipe.dataset_filter.min_instrumental_db: -25.0 -> -20.0",
        "weights.acoustic: None -> ab",
        "not counted: software.pyarrow: None -> 25.0.0",
    ]


def test_what_made_the_parts_is_noted(pair: tuple[Path, Path]) -> None:
    tracks = open_dataset(str(pair[0])).tracks
    for dataset, cpus in zip(pair, (["AVX2"], ["AVX2", "AVX512"]), strict=True):
        made = [
            dataclasses.replace(track, made_with=(f"cpu={cpus[number % len(cpus)]} numpy=2.4.0",))
            for number, track in enumerate(tracks)
        ]
        failures, _ = read_manifest(str(dataset)).tables
        recommitted(dataset, tables=(failures, write_tracks(str(dataset), made)))
    assert lines(*pair) == ["not counted: parts.cpu: AVX2 -> AVX2, AVX512"]
    assert compare(*pair).is_equal()


def test_what_became_of_the_inputs_is_noted(pair: tuple[Path, Path]) -> None:
    counts = read_manifest(str(pair[1])).counts
    failed = dataclasses.replace(counts.tracks, listed=21, failed={"corrupt": 1})
    recommitted(pair[1], counts=dataclasses.replace(counts, tracks=failed))
    assert lines(*pair) == [
        "not counted: counts.tracks.failed.corrupt: None -> 1",
        "not counted: counts.tracks.listed: 20 -> 21",
    ]
    assert compare(*pair).is_equal()


def test_columns_of_another_shape_are_told_and_the_others_compared(tmp_path: Path) -> None:
    geometry = dataclasses.replace(PAPER, acoustic=dataclasses.replace(PAPER.acoustic, codebooks=8))
    for name, shapes in (("a", PAPER), ("b", geometry)):
        write_dataset(tmp_path / name, clips=2, shards=1, geometry=shapes)
    found = compare(tmp_path / "a", tmp_path / "b")
    assert "columns.vocals_acoustic: codes 50 12 -> codes 50 8" in found.differences
    assert "geometry.acoustic.codebooks: 12 -> 8" in found.differences
    assert "vocals_acoustic" not in found.columns
    assert found.columns["vocals_semantic"].values == 50
    assert not found.is_equal(code_tolerance=1)


@pytest.mark.parametrize(("steps", "equal"), [(0, True), (1, True), (2, False)])
def test_stored_audio_may_be_rounded_otherwise(tmp_path: Path, steps: int, equal: bool) -> None:
    recipe = dataclasses.replace(ONE_SECOND, store_audio=True)
    sound = np.linspace(-0.5, 0.5, 800, dtype=np.float32)

    def store(audio: np.ndarray) -> Callable[[pa.Table], pa.Table]:
        def change(values: np.ndarray) -> None:
            values[:] = flac_bytes(audio, sample_rate_hz=800)

        return lambda table: with_values(table, "vocals_audio", change)

    for name, audio in (("a", sound), ("b", sound + np.float32(steps / 32768))):
        write_dataset(tmp_path / name, clips=2, shards=1, recipe=recipe)
        rewrite(tmp_path / name, store(audio))
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found.is_equal() is equal
    assert found.columns["vocals_audio"].largest == pytest.approx(steps / 32768)


def test_rows_out_of_order_are_an_error(pair: tuple[Path, Path]) -> None:
    rewrite(pair[1], lambda table: table.take(list(range(table.num_rows))[::-1]))
    with pytest.raises(DatasetError, match="are not sorted by clip id: see what `singsong datas"):
        compare(*pair)


@pytest.mark.parametrize("tolerance", [-0.1, np.nan])
def test_a_tolerance_must_be_one(pair: tuple[Path, Path], tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance must be 0 or more, found"):
        compare(*pair, tolerance=tolerance)


def test_the_command_says_what_differs(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = map(str, pair)
    command = ["dataset", "verify", first, "--against", second]
    assert cli.main(command) == 0
    assert f"the datasets mean the same: {CLIPS} clips compared" in capsys.readouterr().out

    def change(codes: np.ndarray) -> None:
        codes[0] ^= 1

    rewrite(pair[1], lambda table: with_values(table, "vocals_semantic", change))
    assert cli.main(command) == 1
    printed = capsys.readouterr().out.splitlines()
    *_, line, result = printed
    assert line.startswith("vocals_semantic: 1 of 300 codes differ (0.33%), in 1 clip, the first ")
    assert result == f"the datasets differ: {CLIPS} clips compared"
    assert cli.main([*command, "--code-tolerance", "0.01"]) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tolerance", "1"], "--tolerance and --code-tolerance need --against DATASET"),
        (["--code-tolerance", "0"], "--tolerance and --code-tolerance need --against DATASET"),
        (["--against", "{second}", "--tolerance", "-1"], "--tolerance must be 0 or more, found -1"),
        (["--against", "{second}", "--code-tolerance", "2"], "must be from 0 to 1, found 2.0"),
        (["--against", "{second}/none"], "does not exist"),
    ],
)
def test_wrong_flags_are_refused(
    pair: tuple[Path, Path], flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [flag.format(second=pair[1]) for flag in flags]
    assert cli.main(["dataset", "verify", str(pair[0]), *given]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert "is whole" not in captured.out
