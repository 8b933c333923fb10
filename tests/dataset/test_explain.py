"""What is said of a file, a track or a clip, against a dataset of which each fate is known."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from singsong.commands import cli
from singsong.dataset.explain import explain
from singsong.dataset.handle import Dataset, open_dataset
from singsong.schemas.recipe import NO_FILTER
from tests.pipelines.conftest import arguments, use_fakes
from tests.support.fakes import RATE, tone


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three clips of a song, of which one is dropped and one fails; its copy; and a text."""
    folder = tmp_path_factory.mktemp("explain")
    music = folder / "music"
    music.mkdir()
    song = tone(3.4, hz=220)
    song[RATE : 2 * RATE] *= 0.01
    song[2 * RATE + 5] = np.nan
    soundfile.write(music / "a song.wav", song, RATE, subtype="FLOAT")
    shutil.copy(music / "a song.wav", music / "copy.wav")
    (music / "broken.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt ")
    output = folder / "dataset"
    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        flags = ("--max-failure-rate", "1", "--keep-going")
        assert cli.main([*arguments(music, output=output), *flags]) == 0
        assert cli.main([*arguments(music, output=output), *flags, "--no-filter", "--replace"]) == 0
    return open_dataset(str(output), version_without_filter(output, is_newest=False))


def version_without_filter(output: Path, *, is_newest: bool) -> str:
    names = [path.stem for path in (output / "versions").iterdir()]
    newest = open_dataset(str(output)).manifest.dataset_digest[:12]
    (name,) = [name for name in names if (name == newest) == is_newest]
    return name


def music_of(dataset: Dataset) -> Path:
    return Path(dataset.url).parent / "music"


def test_each_clip_of_a_file_has_its_outcome(dataset: Dataset) -> None:
    lines = explain(dataset, str(music_of(dataset) / "a song.wav"))
    text = "\n".join(lines)
    assert lines[0] == str(music_of(dataset) / "a song.wav")
    assert re.search(r"length +3\.4 s, the last 0\.4 s fill no clip", text)
    assert re.search(r"split +\w+, by the audio [0-9a-f]{12}", text)
    level = r"-\d+\.\d dBFS"
    assert re.search(rf"clip 0 +kept: mix {level}, vocals {level}, instrumental {level}", text)
    assert re.search(
        r"clip 1 +dropped, instrumental_too_quiet: .*; the instrumental must reach -25 dBFS", text
    )
    assert re.search(r"clip 2 +failed, non_finite: the clip has samples", text)


def test_versions_say_how_many_clips_each_has(dataset: Dataset) -> None:
    (line,) = [line for line in explain(dataset, "a song.wav") if "versions" in line]
    older = version_without_filter(Path(dataset.url), is_newest=False)
    newest = version_without_filter(Path(dataset.url), is_newest=True)
    assert f"{older} (1 clips)" in line
    assert f"{newest} (2 clips, the newest)" in line
    assert open_dataset(dataset.url).recipe.dataset_filter == NO_FILTER


def test_a_clip_has_all_its_figures(dataset: Dataset) -> None:
    (clip,) = list(dataset.clips())
    text = "\n".join(explain(dataset, clip.clip_id))
    assert "clip 0" in text
    assert "clip 1" not in text
    assert re.search(rf"id +{clip.clip_id}", text)
    for name in ("mix_peak_rms_db", "vocals_peak_rms_db", "vocals_lag_ms", "mix_bandwidth_hz"):
        assert re.search(rf"{name} \S+", text), name


def test_a_copy_names_its_original_and_a_broken_file_its_reason(dataset: Dataset) -> None:
    names = {track.uri.rpartition("/")[2]: track for track in dataset.tracks}
    (copy,) = [name for name, track in names.items() if track.status == "duplicate"]
    text = "\n".join(explain(dataset, copy))
    original = next(track.uri for track in dataset.tracks if track.status == "encoded")
    assert f"the same audio as {original}\n" in text
    assert "status      duplicate" in text
    broken = "\n".join(explain(dataset, "broken.wav"))
    assert re.search(r"status +failed\n +corrupt: \S", broken) or "not_audio" in broken


def test_a_track_is_found_by_its_id_or_its_beginning(dataset: Dataset) -> None:
    (track,) = [track for track in dataset.tracks if track.status == "encoded"]
    for what in (track.track_id, track.track_id[:6]):
        assert explain(dataset, what)[0].startswith(str(music_of(dataset)))


@pytest.mark.parametrize("what", ["nobody.wav", "abcde", "0" * 32 + "-000000"])
def test_what_it_does_not_know_is_refused(dataset: Dataset, what: str) -> None:
    with pytest.raises(ValueError, match="knows no file, track or clip"):
        explain(dataset, what)


def test_a_clip_that_the_track_does_not_have_is_refused(dataset: Dataset) -> None:
    (clip,) = list(dataset.clips())
    with pytest.raises(ValueError, match="has 3 clips, and no clip 3"):
        explain(dataset, clip.clip_id.replace("-000000", "-000003"))


def test_without_the_part_the_summary_stays(dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.url, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "parts")
    text = "\n".join(explain(open_dataset(str(tmp_path / "copy")), "a song.wav"))
    assert "2 kept; the part is gone" in text


def test_the_command_prints_it(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(music_of(dataset).parent)
    assert cli.main(["dataset", "explain", "dataset", "music/a song.wav"]) == 0
    assert "clip 0" in capsys.readouterr().out
    assert cli.main(["dataset", "explain", "dataset", "music/no.wav"]) == 1
    assert "knows no file" in capsys.readouterr().err
