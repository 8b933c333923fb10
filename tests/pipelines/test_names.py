"""No name of a file steers the terminal, and none ends a command."""

import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from singsong.commands import cli
from singsong.dataset.handle import open_dataset
from tests.support import audio_files
from tests.support.fakes import write_tones

EVIL = "line\nbreak \x1b]0;title\x07\x1b[2J tab\t \u202egnp"


def is_clean(printed: str) -> bool:
    """Returns whether a text holds only what this program itself sends to a terminal."""
    ours = printed.replace("\n", "").replace("\r", "").replace("\x1b[A", "")
    return ours.isprintable()


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music" / EVIL
    write_tones(folder, tracks=1)
    audio_files.write_damaged_flac(folder / f"{EVIL}.flac", audio_files.music(1.0))
    odd = os.fsdecode(os.fsencode(folder) + b"/caf\xe9\n.wav")
    Path(odd).write_bytes(b"")
    return tmp_path / "music"


def test_names_are_printed_as_escapes_and_stored_as_they_are(prepare, music, tmp_path, capsys):
    output = tmp_path / "out"
    assert prepare(music, output=output) == 3
    assert cli.main(["dataset", "show", str(output)]) == 0
    assert cli.main(["retry", str(output), "--mode", "in_memory"]) == 3
    printed = capsys.readouterr()
    assert is_clean(printed.out)
    assert r"line\nbreak \x1b]0;title" in printed.out
    uris = {os.path.basename(letter.uri) for letter in open_dataset(str(output)).failures}
    assert uris == {f"{EVIL}.flac", "caf%E9%0A.wav"}


def test_an_error_message_is_one_clean_line(prepare, music, tmp_path, capsys) -> None:
    assert prepare(music / f"{EVIL}-missing") == 1
    assert prepare(music, output=tmp_path / EVIL / "set", flags=("--splits", f"{EVIL}=0")) == 1
    assert cli.main(["dataset", "show", str(tmp_path / EVIL)]) == 1
    assert cli.main(["retry", str(tmp_path / EVIL)]) == 1
    printed = capsys.readouterr().err
    assert is_clean(printed)
    assert len([line for line in printed.splitlines() if line.startswith("singsong")]) == 4
    with pytest.raises(SystemExit):
        cli.main(["prepare", str(music), "--output", "x", f"--{EVIL}"])
    assert cli.main([EVIL]) == 2
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert "\u202e" not in printed


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_an_error_of_beam_is_one_clean_line(prepare, music, monkeypatch, capsys, mode) -> None:
    shutil.rmtree(music)
    write_tones(music / EVIL, tracks=1)

    def fail(recipe: object) -> None:
        raise ValueError(f"no model of {EVIL}")

    monkeypatch.setattr("singsong.transforms.encode_tracks.load_models", fail)
    assert prepare(music, flags=("--mode", mode)) == 1
    line = capsys.readouterr().err.rpartition("singsong prepare:")[2]
    assert is_clean(line)
    assert len(line.splitlines()) == 1


def test_verify_names_files_as_escapes(prepare, tmp_path, capsys) -> None:
    write_tones(tmp_path / "music", tracks=1)
    output = tmp_path / "out"
    assert prepare(tmp_path / "music", output=output) == 0
    (output / "shards" / f"{EVIL}.parquet").write_bytes(b"x")
    capsys.readouterr()
    assert cli.main(["dataset", "verify", str(output)]) == 1
    printed = capsys.readouterr().out
    assert is_clean(printed)
    assert r"line\nbreak" in printed


def test_a_terminal_without_the_letters_ends_no_command(prepare, tmp_path, monkeypatch) -> None:
    music = tmp_path / "caf\u00e9 \u6771"
    write_tones(music, tracks=1)
    (music / "empty.wav").write_bytes(b"")
    output = tmp_path / "\u00e9"
    ascii_out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_out)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert prepare(music, output=output) == 3
    assert cli.main(["dataset", "show", str(output)]) == 0
    assert cli.main(["prepare", f"{music}-no", "--output", str(output)]) == 1
    ascii_out.flush()
    assert rb"caf\xe9 \u6771" in ascii_out.buffer.getvalue()  # type: ignore[attr-defined]


def test_a_report_prints_escapes_and_keeps_names(tmp_path: Path, capsys) -> None:
    from singsong.pipelines.accompany_many import _report

    letter = {"uri": f"/{EVIL}", "stage": "AccompanyTracks", "reason": "empty", "message": "no"}
    report = {"sounds": [], "duplicates": [], "dead_letters": [letter]}
    (tmp_path / "accompaniments.json").write_text(json.dumps(report))
    assert _report(str(tmp_path)) == 3
    assert is_clean(capsys.readouterr().out)


def test_debris_and_dotted_names_in_a_dataset(prepare, tmp_path, capsys) -> None:
    write_tones(tmp_path / "music" / "...And Justice for All", tracks=1)
    write_tones(tmp_path / "music" / ".38 Special", tracks=2)
    for name in ("._a.wav", ".DS_Store", "Thumbs.db"):
        (tmp_path / "music" / name).write_bytes(b"x")
    output = tmp_path / "out"
    assert prepare(tmp_path / "music", output=output, flags=("--max-failure-rate", "1")) == 0
    assert "system files skipped                 3" in capsys.readouterr().out
    counts = open_dataset(str(output)).manifest.counts
    assert (counts.tracks.listed, counts.tracks.encoded, counts.skipped) == (3, 2, 3)
    assert cli.main(["dataset", "verify", str(output)]) == 0
