"""The Java process that takes a pipeline and runs it as a Spark application."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import URLError

import grpc
from apache_beam.options.pipeline_options import JobServerOptions, PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2_grpc
from apache_beam.runners.portability.spark_runner import SparkJarJobServer, SparkRunner

BUILT_JAR = Path(__file__).resolve().parents[1] / "build/spark/job-server.jar"
"""Where `make spark-jar` puts it."""

_BEAM_TARGET = ":runners:spark:3:job-server:shadowJar"
_POLL_S = 0.5
_STOP_WITHIN_S = 10.0

_LOGGER = logging.getLogger(__name__)


def find_java(options: PipelineOptions) -> str:
    """Returns the path of the Java launcher.

    Raises:
        ValueError: There is none.
    """
    launcher = options.view_as(JobServerOptions).job_server_java_launcher
    found = shutil.which(launcher)
    if found is None:
        raise ValueError(f"--runner spark needs Java 17, and there is no {launcher!r} on the PATH")
    return found


def find_jar(jar: str, *, cache: str | None = None, built: Path = BUILT_JAR) -> str:
    """Returns the path of the job server's jar.

    Args:
        jar: Path or URL; an empty one looks for that of `make spark-jar`, then for Beam's own in
            Beam's cache, then where Beam publishes it.
        cache: Folder that jars are downloaded to; None is Beam's.
        built: Where `make spark-jar` puts its jar.

    Raises:
        ValueError: It is not there, or cannot be downloaded.
    """
    if not jar and built.exists():
        return str(built)
    wanted = jar or SparkJarJobServer.path_to_beam_jar(_BEAM_TARGET)
    if jar and "://" not in jar and not os.path.exists(jar):
        raise ValueError(f"spark_jar must be a file or a URL, found {jar}, which does not exist")
    try:
        return str(SparkJarJobServer.local_jar(wanted, cache))
    except (URLError, OSError, RuntimeError) as error:
        raise ValueError(
            f"no Spark job server: {wanted} cannot be downloaded ({error}). `make spark-jar` "
            "builds one with Maven; --spark-jar takes the path of one"
        ) from error


class SparkJobServer(SparkJarJobServer):
    """Beam's job server for Spark, as a process that never outlives this one.

    Use as a context manager. It runs in a session of its own, so that Ctrl-C in the terminal does
    not end it before the job was asked to stop.
    """

    def __init__(self, options: PipelineOptions, *, jar: str) -> None:
        """Takes the options of Beam's own server, and its jar."""
        super().__init__(options)
        view = options.view_as(JobServerOptions)
        self._jar = jar
        self._java_launcher = find_java(options)
        self._scratch = tempfile.TemporaryDirectory(prefix="singsong-spark-")
        self._artifacts_dir: str = view.artifacts_dir or os.path.join(
            self._scratch.name, "artifacts"
        )
        self._log = Path(self._scratch.name, "job-server.log")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._stopped = False

    def __enter__(self) -> SparkJobServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if error is not None:
            _LOGGER.debug("the Spark job server printed: %s", self.log())
        self._scratch.cleanup()

    def start(self) -> Any:
        """Starts the process and returns Beam's stub for it.

        Raises:
            RuntimeError: The process ended before it answered, or was stopped before it began.
        """
        command, endpoint = self.subprocess_cmd_and_endpoint()
        server = self._start_process([str(word) for word in command])
        channel = grpc.insecure_channel(
            endpoint,
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
            ],
        )
        ready = grpc.channel_ready_future(channel)
        while True:
            try:
                ready.result(timeout=_POLL_S)
                return beam_job_api_pb2_grpc.JobServiceStub(channel)
            except grpc.FutureTimeoutError:
                if server.poll() is not None:
                    raise RuntimeError(
                        f"the Spark job server ended with {server.returncode}: {self.last_line()}"
                    ) from None

    def _start_process(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._lock, self._log.open("wb") as log:
            if self._stopped:
                raise RuntimeError("the Spark job server was stopped before it began")
            server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._processes = [server, _end_with_this_process(server)]
            return server

    def stop(self) -> None:
        """Ends the process and its Spark application; may be called twice."""
        with self._lock:
            self._stopped = True
            for process in reversed(self._processes):
                process.terminate()
                try:
                    process.wait(_STOP_WITHIN_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            self._processes = []

    def log(self) -> str:
        """Returns what the process has printed so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def last_line(self) -> str:
        """Returns the last printed line that is not part of a Java stack trace."""
        lines = [line for line in self.log().splitlines() if line and not line[0].isspace()]
        return lines[-1] if lines else "it printed nothing"


class RunnerOn(SparkRunner):
    """Beam's Spark runner on our job server."""

    def __init__(self, server: SparkJobServer) -> None:
        super().__init__()
        self._server = server

    def default_job_server(self, _: PipelineOptions) -> SparkJobServer:
        """Returns the job server."""
        return self._server


def _end_with_this_process(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Starts a guard that ends a process when this one dies, even by `kill -9`."""
    return subprocess.Popen(
        ["sh", "-c", f"cat > /dev/null; kill {process.pid}"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
