"""Beam's boot program starts our worker, outside a container but otherwise as in the image."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from singsong.commands import cli
from singsong.dataset.manifest import read_manifest
from tests.support.dockerfile import ROOT, environment, last_stage, read_dockerfile
from tests.support.fakes import write_tones
from tests.support.worker_image import build_boot, free_port, has_go, prepare_on, worker_pool


@pytest.mark.go
@pytest.mark.slow
def test_a_worker_started_by_boot_makes_the_same_dataset(
    tmp_path: Path, give_up: Callable[[str], NoReturn]
) -> None:
    if not has_go():
        give_up("Beam's boot program is built with Go: there is no go on the PATH")
    music, local, output = (tmp_path / name for name in ("music", "local", "output"))
    write_tones(music, tracks=1, seconds=11)
    assert cli.main(["prepare", str(music), "--output", str(local)]) == 0
    installed = tmp_path / "installed"  # the folder of the repository may have another name
    installed.mkdir()
    (installed / "singsong").symlink_to(ROOT)
    port = free_port()
    command = [
        sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main",
        f"--service_port={port}", f"--container_executable={build_boot()}",
    ]  # fmt: skip
    variables = {
        **os.environ,
        **environment(last_stage(read_dockerfile())),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(installed),
    }
    log = tmp_path / "log.txt"
    with worker_pool(command, port=port, environment=variables, log=log) as address:
        prepare_on(address, music=str(music), output=str(output))
    assert "Starting worker with command ['" + str(build_boot()) in log.read_text()
    made = read_manifest(str(output))
    assert made.dataset_digest == read_manifest(str(local)).dataset_digest
    assert made.counts.clips.kept == 1
