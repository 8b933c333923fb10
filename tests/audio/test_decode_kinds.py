"""Every kind of odd file: its length, level and lag against the recording it was made from."""

from pathlib import Path

import pytest

from tests.support.decode_kinds import measure
from tests.support.odd_kinds import KINDS, Kind


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_decoded_whole_or_refused_by_name(tmp_path: Path, kind: Kind) -> None:
    got = measure(kind, tmp_path)
    assert type(got.error) is (kind.refused or type(None))
    if kind.refused is None:
        assert got.seconds * 1000 == pytest.approx(kind.expected_s * 1000, abs=kind.slack_ms)
        assert got.level_db == pytest.approx(kind.gain_db, abs=0.1)
        assert got.lag_ms == pytest.approx(kind.lag_ms, abs=1)
        assert got.last_lag_ms == pytest.approx(kind.last_lag_ms, abs=1)
