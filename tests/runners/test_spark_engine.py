"""The real command with the real lite models on real Spark: in a process, and on a cluster."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import apache_beam as beam
import psutil
import pyarrow.parquet as pq
import pytest

from benchmarks.support.command import (
    ROOT,
    committed_bytes,
    finish,
    parts,
    start_prepare,
    wait_for_parts,
)
from benchmarks.support.spark_cluster import SparkCluster
from singsong.commands import cli
from singsong.dataset.manifest import read_manifest
from singsong.runners.errors import JobFailedError
from singsong.runners.job import Job
from singsong.runners.spark import SparkOptions
from singsong.runners.spark_job_server import BUILT_JAR
from tests.support import audio_files
from tests.support.fakes import write_tones

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.usefixtures("spark_jar")]

TRACKS = 12
FLAGS = ("--clip-seconds", "2", "--no-filter", "--no-separation-check")
LOCAL = (*FLAGS, "--runner", "spark", "--spark-master", "local[2]", "--parallelism", "4")


@pytest.fixture(scope="module")
def spark_jar(give_up: Callable[[str], NoReturn]) -> Path:
    """Returns the job server, assembled unless it is there."""
    for tool in ("java", "mvn", "make"):
        if shutil.which(tool) is None:
            give_up(f"Spark needs Java 17 and Maven: there is no {tool} on the PATH")
    made = subprocess.run(
        ["make", "--silent", "spark-jar"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if made.returncode:
        give_up(f"`make spark-jar` failed: {made.stdout[-500:]}{made.stderr[-500:]}")
    return BUILT_JAR


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder of tones, with a file of each kind that is no track of its own."""
    folder = tmp_path_factory.mktemp("music")
    first, *_ = write_tones(folder, tracks=TRACKS, seconds=8)
    shutil.copyfile(first, folder / "copy.wav")
    audio_files.write_empty_file(folder / "empty.wav")
    audio_files.write_text_named_mp3(folder / "text.mp3")
    return folder


@pytest.fixture(scope="module")
def whole(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the dataset of an undisturbed run of the local engine with one worker."""
    output = tmp_path_factory.mktemp("whole")
    finish(start_prepare(music, output, *FLAGS, "--workers", "1"))
    return output


@pytest.fixture(autouse=True)
def end_what_a_failed_test_leaves() -> Iterator[None]:
    yield
    for child in psutil.Process().children():
        if "singsong" in child.cmdline():
            child.kill()


def job_servers() -> list[int]:
    """Returns the job servers of this machine that run the jar of this checkout."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(BUILT_JAR) in (process.info["cmdline"] or ())
        and "java" in (process.info["cmdline"] or [""])[0]
    ]


def reasons(output: Path) -> dict[str, str]:
    manifest = read_manifest(str(output))
    rows = pq.read_table(output / manifest.table("dead_letters").path).to_pylist()
    return {os.path.basename(row["uri"]): row["reason"] for row in rows}


def test_a_local_master_makes_the_same_bytes(music: Path, whole: Path, tmp_path: Path) -> None:
    printed = finish(start_prepare(music, tmp_path, *LOCAL))
    assert committed_bytes(tmp_path) == committed_bytes(whole)
    assert reasons(tmp_path) == {"empty.wav": "empty", "text.mp3": "not_audio"}
    assert "worker time" in printed, "counters come back"
    assert "Traceback" not in printed
    assert not job_servers()


def test_interrupted_on_a_local_master_it_stops(music: Path, tmp_path: Path) -> None:
    process = start_prepare(music, tmp_path, *LOCAL)
    wait_for_parts(process, tmp_path, at_least=1)
    os.killpg(process.pid, signal.SIGINT)
    printed = finish(process, code=130, timeout_s=120)
    assert "run the same command again" in printed
    assert "Traceback" not in printed
    assert len(parts(tmp_path)) < TRACKS
    assert not (tmp_path / "manifest.json").exists()
    assert not job_servers()


def test_a_cluster_makes_the_same_bytes_after_ctrl_c_and_with_a_lost_worker(
    music: Path, whole: Path, tmp_path: Path
) -> None:
    output = tmp_path / "dataset"
    with SparkCluster(tmp_path / "cluster") as cluster:
        flags = (*FLAGS, "--runner", "spark", "--spark-master", cluster.master)
        flags = (*flags, "--parallelism", "6")
        process = start_prepare(music, output, *flags, environment=cluster.environment)
        cluster.wait_for_application()
        os.killpg(process.pid, signal.SIGINT)
        printed = finish(process, code=130, timeout_s=120)
        assert "run the same command again" in printed
        assert "Traceback" not in printed
        assert not (output / "manifest.json").exists()
        assert not job_servers()

        process = start_prepare(music, output, *flags, environment=cluster.environment)
        wait_for_parts(process, output, at_least=3)
        assert len(cluster.kill_worker()) >= 3, "a worker, its executor and its Python"
        assert len(parts(output)) < TRACKS
        finish(process)
    assert committed_bytes(output) == committed_bytes(whole)
    assert len(parts(output)) == TRACKS
    assert cli.main(["dataset", "verify", str(output)]) == 0


def explode(element: int) -> int:
    raise ValueError(f"element {element} is wrong")


# Beam's worker threads end with an error when the job server does.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_first_cause_is_told_in_a_line() -> None:
    job = Job(
        name="test",
        build=lambda pipeline, _: pipeline | beam.Create([7]) | beam.Map(explode),
        total_tracks=1,
        total_bytes=1,
    )
    with pytest.raises(JobFailedError) as failure:
        SparkOptions(spark_master="local[1]").run(job)
    assert str(failure.value) == "ValueError: element 7 is wrong"
    assert not job_servers()
