"""Workers that Beam's own boot program starts, as it does in the worker image."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from singsong.models.bundle import load_models
from singsong.pipelines.prepare import build
from singsong.pipelines.prepare_config import PrepareConfig
from singsong.runners.local import LocalOptions
from singsong.schemas.recipe import DatasetRecipe
from tests.support.dockerfile import ROOT, arguments, read_dockerfile

_PATIENCE_MS = 300_000
BUILD = ROOT / "build" / "boot"


def build_boot() -> Path:
    """Builds Beam's boot program of the version in the Dockerfile, once, and returns its path."""
    version = arguments(read_dockerfile())["BEAM"]
    folder = BUILD / version
    if not (folder / "container").exists():
        subprocess.run(
            ["go", "install", f"github.com/apache/beam/sdks/v2/python/container@v{version}"],
            env={**os.environ, "GOBIN": str(folder)},
            check=True,
        )
    return folder / "container"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def worker_pool(
    command: Sequence[str], *, port: int, environment: Mapping[str, str], log: Path
) -> Iterator[str]:
    """Runs a program that starts workers on demand, and yields its address.

    Args:
        command: The program.
        port: Where it listens.
        environment: Its variables.
        log: What it and its workers print.
    """
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=log.parent,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for_port(port, process, log)
            yield f"127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


def prepare_on(address: str, *, music: str, output: str) -> None:
    """Prepares a dataset on workers of a pool, through Beam's local job server.

    Args:
        address: Of the pool.
        music: As the workers see it.
        output: Likewise.
    """
    recipe = DatasetRecipe()
    config = PrepareConfig(
        inputs=(music,),
        output=output,
        parts=f"{output}/parts",
        recipe=recipe,
        runner=LocalOptions(),
    )
    options = PipelineOptions(
        [
            "--runner=PortableRunner",
            "--job_endpoint=embed",
            "--environment_type=EXTERNAL",
            f"--environment_config={address}",
            "--sdk_location=container",
        ]
    )
    pipeline = beam.Pipeline(options=options)
    build(pipeline, config=config, models=load_models(recipe.encode))
    state = pipeline.run().wait_until_finish(duration=_PATIENCE_MS)
    assert state == PipelineState.DONE, state


def has_go() -> bool:
    return shutil.which("go") is not None
