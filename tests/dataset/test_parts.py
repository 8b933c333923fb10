"""What a filter makes of a part, and which rows of it are read, against rows known beforehand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.support.code_dataset import ONE_SECOND, SMALL
from singsong.dataset.manifest import DatasetError
from singsong.dataset.part_files import TrackFacts, extend_part, rows_to_table, write_part
from singsong.dataset.parts import (
    BrokenPartError,
    ClipFailure,
    PartDecisions,
    decide,
    read_rows,
    row_drop_reason,
)
from singsong.schemas.outcomes import ClipStatus
from singsong.schemas.part_row import PartRow
from singsong.schemas.recipe import LoudnessFilter
from singsong.schemas.records import record_fields
from tests.support.part_rows import part_row

FIELDS = record_fields(ONE_SECOND, SMALL)


def facts_of(clips: int, **changes: Any) -> TrackFacts:
    known = {"track_id": "ab", "audio_sha256": "cd", "made_with": ("this",), **changes}
    return TrackFacts(samples=10 * clips + 3, rate_hz=10, clip_samples=10, **known)


CODES = [field for field in FIELDS if field.kind == "codes"]
QUIET, LOUD = -40.0, 0.0


def row(index: int, status: ClipStatus = ClipStatus.ENCODED, **values: Any) -> PartRow:
    """Returns a row that the paper's filter keeps; each has codes of its own."""
    levels = {"vocals_peak_rms_db": -20.0, "instrumental_peak_rms_db": -18.0}
    codes = {
        field.name: np.full(field.shape, (index + number) % field.codebook_size, np.uint16)
        for number, field in enumerate(CODES)
    }
    known = {"clip_id": f"ab-{index:06d}", "track_id": "ab", "clip_index": index}
    known |= {"start_s": float(index), "status": status}
    return part_row(
        {**known, **levels, **(codes if status == ClipStatus.ENCODED else {}), **values}
    )


def part(folder: Path, rows: Sequence[PartRow]) -> str:
    url = str(folder / "part.parquet")
    write_part(url, rows, fields=FIELDS, facts=lambda: facts_of(len(rows)))
    return url


def decided(folder: Path, *rows: PartRow, separated: bool = True) -> PartDecisions:
    url = part(folder, rows)
    return decide(url, dataset_filter=LoudnessFilter(), separated=separated)


def test_each_clip_of_a_part_is_kept_dropped_or_failed(tmp_path: Path) -> None:
    found = decided(
        tmp_path,
        row(0, ClipStatus.DROPPED, instrumental_peak_rms_db=QUIET),
        row(1),
        row(2, vocals_peak_rms_db=LOUD),  # kept when it was encoded; the filter is stricter now
        row(3, ClipStatus.FAILED, reason="non_finite", message="not a number"),
        row(4, ClipStatus.DROPPED, vocals_peak_rms_db=LOUD),
        row(5),
    )
    assert found == PartDecisions(
        facts=facts_of(6),
        kept=(1, 5),
        dropped=(("instrumental_too_quiet", 1), ("vocals_too_loud", 2)),
        failures=(ClipFailure(clip_index=3, reason="non_finite", message="not a number"),),
    )


def test_without_stems_nothing_is_dropped(tmp_path: Path) -> None:
    found = decided(tmp_path, row(0, instrumental_peak_rms_db=QUIET), row(1), separated=False)
    assert found.kept == (0, 1)
    assert found.dropped == ()


def test_a_clip_that_is_to_be_kept_must_have_codes(tmp_path: Path) -> None:
    found = decided(tmp_path, row(0), row(1, ClipStatus.DROPPED))
    assert (found.kept, found.without_codes) == ((0,), (1,))


@pytest.mark.parametrize("broken", [b"", b"PAR1 is not enough"])
def test_a_file_that_is_no_part_is_said(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(broken)
    with pytest.raises(BrokenPartError, match=r"part\.parquet is damaged"):
        decide(str(path), dataset_filter=LoudnessFilter(), separated=True)


def test_a_table_without_facts_is_no_part(tmp_path: Path) -> None:
    url = part(tmp_path, [row(0)])
    pq.write_table(pq.read_table(url).replace_schema_metadata(None), url)
    with pytest.raises(BrokenPartError, match="it has no checksum, so it is no part"):
        decide(url, dataset_filter=LoudnessFilter(), separated=True)


def test_a_preview_counts_what_would_be_kept_without_codes(tmp_path: Path) -> None:
    url = part(
        tmp_path,
        [
            *(row(index) for index in range(3)),
            row(3, ClipStatus.FAILED, reason="non_finite"),
            row(4, ClipStatus.DROPPED, instrumental_peak_rms_db=QUIET),
            row(5, ClipStatus.DROPPED, instrumental_peak_rms_db=2 * QUIET),
        ],
    )
    found = decide(url, dataset_filter=LoudnessFilter(), separated=True)
    assert (found.kept, found.without_codes, len(found.failures)) == ((0, 1, 2), (), 1)
    wanted = LoudnessFilter(min_instrumental_db=-50.0, max_vocals_above_db=50.0)
    found = decide(url, dataset_filter=wanted, separated=True)
    assert (found.kept, found.without_codes) == ((0, 1, 2), (4,))
    assert found.dropped == (("instrumental_too_quiet", 1),)


def test_the_decision_is_taken_on_the_stored_value(tmp_path: Path) -> None:
    """-25.000000003 dB is stored as -25 dB: kept, and so it must get codes."""
    level = -25.000000003
    fresh = row(0, instrumental_peak_rms_db=level, vocals_peak_rms_db=QUIET)
    assert row_drop_reason(fresh.figures, LoudnessFilter()) is None
    assert decided(tmp_path, fresh).kept == (0,)
    just_below = float(np.nextafter(np.float32(-25), np.float32(-26)))
    fresh = row(0, instrumental_peak_rms_db=just_below, vocals_peak_rms_db=QUIET)
    assert row_drop_reason(fresh.figures, LoudnessFilter()) == "instrumental_too_quiet"
    assert decided(tmp_path, fresh).kept == ()


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    url = part(tmp_path, [row(index) for index in range(3)])
    good = Path(url).read_bytes()
    random = np.random.default_rng(0)
    for at in {0, 4, len(good) - 1, *random.integers(0, len(good), 400).tolist()}:
        bad = bytearray(good)
        bad[at] ^= 1 << int(random.integers(8))
        Path(url).write_bytes(bad)
        with pytest.raises(BrokenPartError, match=r"part\.parquet"):
            decide(url, dataset_filter=LoudnessFilter(), separated=True)
        with pytest.raises(DatasetError, match=r"part\.parquet"):
            list(read_rows(url, [0], ["clip_index"]))
    Path(url).write_bytes(good)
    assert decide(url, dataset_filter=LoudnessFilter(), separated=True).kept == (0, 1, 2)


@pytest.mark.parametrize("rows", [[0, 2], [0, 1], [1, 0, 2], [0, 1, 1]])
def test_a_part_without_a_row_for_each_clip_is_broken(tmp_path: Path, rows: list[int]) -> None:
    url = str(tmp_path / "part.parquet")
    write_part(url, [row(at) for at in rows], fields=FIELDS, facts=lambda: facts_of(3))
    with pytest.raises(BrokenPartError, match="33 samples make 3 clips"):
        decide(url, dataset_filter=LoudnessFilter(), separated=True)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (row(1, "odd"), "'odd' is not a valid ClipStatus"),
        (row(1, ClipStatus.FAILED, reason="odd"), "'odd' is not a valid FailureReason"),
        (row(1, vocals_peak_rms_db=None), "clip 1 is encoded and lacks a level"),
        (row(1, ClipStatus.DROPPED, instrumental_peak_rms_db=None), "clip 1 is dropped and lacks"),
    ],
)
def test_a_part_with_a_row_that_means_nothing_is_broken(
    tmp_path: Path, odd: PartRow, message: str
) -> None:
    with pytest.raises(BrokenPartError, match=rf"part\.parquet is damaged: {message}"):
        decided(tmp_path, row(0), odd)


@pytest.mark.parametrize("positions", [(0,), (63, 64), (5, 70, 129), tuple(range(130))])
def test_a_part_is_extended_where_codes_are_missing(
    tmp_path: Path, positions: tuple[int, ...]
) -> None:
    rows = [
        row(at, ClipStatus.DROPPED if at in positions else ClipStatus.ENCODED) for at in range(130)
    ]
    url = part(tmp_path, rows)
    wanted = {"dataset_filter": LoudnessFilter(), "separated": True}
    assert decide(url, **wanted).without_codes == positions
    fresh = (row(at) for at in positions)
    facts = lambda: facts_of(130, made_with=("that",))  # noqa: E731
    extend_part(url, fresh, positions=positions, fields=FIELDS, facts=facts)
    found = decide(url, **wanted)
    assert (found.kept, found.without_codes) == (tuple(range(130)), ())
    assert found.facts.made_with == ("that", "this")
    (tables,) = [list(read_rows(url, range(130), ["clip_id", "vocals_acoustic"]))]
    got = [value for table in tables for value in table["vocals_acoustic"].to_pylist()]
    assert got == [row(at).codes["vocals_acoustic"].reshape(-1).tolist() for at in range(130)]


def test_a_part_is_not_extended_by_other_audio(tmp_path: Path) -> None:
    url = part(tmp_path, [row(0), row(1, ClipStatus.DROPPED)])
    before = Path(url).read_bytes()
    facts = lambda: facts_of(2, audio_sha256="other")  # noqa: E731
    with pytest.raises(DatasetError, match="not of the audio"):
        extend_part(url, [row(1)], positions=(1,), fields=FIELDS, facts=facts)
    assert Path(url).read_bytes() == before


@pytest.mark.parametrize(
    "kept", [(0,), (63, 64), (128,), tuple(range(130)), (5, 3), (1, 65, 129), ()]
)
def test_kept_rows_are_read_from_whichever_row_group_they_lie_in(
    tmp_path: Path, kept: tuple[int, ...]
) -> None:
    rows = [row(index) for index in range(130)]
    url = part(tmp_path, rows)
    metadata = pq.ParquetFile(url).metadata
    groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert groups == [64, 64, 2]
    columns = ["clip_index", "vocals_acoustic"]
    tables = list(read_rows(url, kept, columns))
    assert [table.column_names for table in tables] == [columns] * len(tables)
    assert [index for table in tables for index in table["clip_index"].to_pylist()] == list(kept)
    codes = [value for table in tables for value in table["vocals_acoustic"].to_pylist()]
    assert codes == [rows[index].codes["vocals_acoustic"].reshape(-1).tolist() for index in kept]
    assert all(table.num_rows for table in tables)


def test_codes_must_have_the_shape_of_their_field() -> None:
    field = next(field for field in CODES if field.name == "vocals_acoustic")
    assert len(set(field.shape)) == 2
    turned = row(0, vocals_acoustic=np.zeros(field.shape[::-1], np.uint16))
    with pytest.raises(ValueError, match=r"vocals_acoustic must be \(4, 3\), found \(3, 4\)"):
        rows_to_table([turned], FIELDS)


def test_codes_lie_row_by_row_and_a_clip_without_any_has_null() -> None:
    shape = next(field.shape for field in CODES if field.name == "vocals_acoustic")
    codes = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    table = rows_to_table(
        [row(0, ClipStatus.FAILED), row(1, vocals_acoustic=codes), row(2, ClipStatus.FAILED)],
        FIELDS,
    )
    assert table["vocals_acoustic"].to_pylist() == [None, codes.reshape(-1).tolist(), None]
    assert table["vocals_semantic"].null_count == 2
    nothing = rows_to_table([row(0, ClipStatus.FAILED)], FIELDS)
    assert nothing["vocals_acoustic"].to_pylist() == [None]
    assert nothing["mix_peak_rms_db"].to_pylist() == [None]
    assert nothing["reason"].to_pylist() == [""]
