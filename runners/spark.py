"""Runs a pipeline on Spark, by Beam's portable runner, without Docker.

On a local master (`local[2]`) Spark runs inside the job server, and the Python steps run as threads
of this process, as they do with `--runner local`. On a standalone cluster each executor starts the
command `singsong-worker`, which must be installed on every node.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import apache_beam as beam
from apache_beam.options.pipeline_options import JobServerOptions, PipelineOptions

from singsong.runners.job import Job, Outcome, counters_of
from singsong.runners.progress_bar import progress_bar_of
from singsong.runners.spark_job_server import RunnerOn, SparkJobServer, find_jar, find_java
from singsong.runners.spark_progress import StageBar
from singsong.runners.terminal import attended

WORKER_COMMAND = "singsong-worker"
TASKS_PER_CORE = 8
"""So that a core that is done early finds another task; one more costs about 10 ms a step."""

MASTER_UI_PORT = 8080
_LOCAL = re.compile(r"local(\[(?P<cores>\d+|\*)(,\d+)?\])?")
_CLUSTER = re.compile(r"spark://[^/\s]+:\d+")
_ANSWER_WITHIN_S = 5.0
_KEEP_WORKERS_MS = 600_000
_QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Only references pass through Java: compiling it well costs more than it saves."""

_OPENED_PACKAGES = ("java.nio", "java.util", "java.lang", "java.lang.invoke", "sun.nio.ch")


@dataclass(frozen=True, kw_only=True)
class SparkOptions:
    """How to use Spark.

    Attributes:
        spark_master: Spark's name of where to run.
        spark_jar: Path or URL of Beam's job server for Spark; empty finds one, see `find_jar`.
        parallelism: Into how many tasks a step is cut; 0 takes some for each core of the master.
        harness: On a cluster, the command that runs the Python steps on each node; empty takes the
            path that `singsong-worker` has on this machine.
        beam_args: Passed on to Beam.

    Raises:
        ValueError: An option is outside its range.
    """

    spark_master: str = field(
        default="local[*]", metadata={"help": "local[N], or spark://HOST:PORT of a cluster"}
    )
    spark_jar: str = field(
        default="", metadata={"help": "job server, path or URL; `make spark-jar` builds one"}
    )
    parallelism: int = field(
        default=0, metadata={"help": f"tasks of a step; 0 takes {TASKS_PER_CORE} for each core"}
    )
    harness: str = field(
        default="", metadata={"help": f"path of {WORKER_COMMAND} on the nodes of a cluster"}
    )
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (_LOCAL.fullmatch(self.spark_master) or _CLUSTER.fullmatch(self.spark_master)):
            raise ValueError(
                f"spark_master must be local[N] or spark://HOST:PORT, found {self.spark_master!r}"
            )
        if self.parallelism < 0:
            raise ValueError(f"parallelism must not be negative, found {self.parallelism}")
        if self.harness and self.is_local:
            raise ValueError(f"harness is for a cluster, found it with {self.spark_master}")

    @property
    def is_local(self) -> bool:
        """Whether Spark and the workers run on this machine."""
        return _LOCAL.fullmatch(self.spark_master) is not None

    @property
    def remote(self) -> bool:
        """Whether the workers are other machines than this one."""
        return not self.is_local

    @property
    def encode_hints(self) -> Mapping[str, str]:
        """None: Spark has no use for them, and they would split the stages."""
        return {}

    def beam_options(self) -> list[str]:
        """Returns these options as Beam's flags; what `beam_args` holds comes last and wins.

        Raises:
            ValueError: The parallelism is to be that of a cluster that does not tell it.
        """
        java = [*_QUICK_START, f"-Dspark.default.parallelism={self.parallelism or self._tasks()}"]
        if self.is_local:
            java.append("-Dspark.ui.enabled=false")
            environment = ["--environment_type=LOOPBACK"]
        else:
            opened = (f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED_PACKAGES)
            java.append(f"-Dspark.executor.extraJavaOptions={' '.join([*_QUICK_START, *opened])}")
            environment = [
                "--environment_type=PROCESS",
                f"--environment_config={json.dumps({'command': self._harness()})}",
                f"--environment_cache_millis={_KEEP_WORKERS_MS}",
            ]
        return [
            f"--spark_master_url={self.spark_master}",
            *environment,
            *(f"--job_server_jvm_properties={argument}" for argument in java),
            *self.beam_args,
        ]

    def run(self, job: Job) -> Outcome:
        """Runs a job on Spark, see `run_on_spark`."""
        return run_on_spark(job, options=self)

    def _tasks(self) -> int:
        local = _LOCAL.fullmatch(self.spark_master)
        if local is None:
            return TASKS_PER_CORE * cores_of_cluster(self.spark_master)
        cores = local["cores"] or "1"
        return TASKS_PER_CORE * (len(os.sched_getaffinity(0)) if cores == "*" else int(cores))

    def _harness(self) -> str:
        return self.harness or str(Path(sys.executable).with_name(WORKER_COMMAND))


def cores_of_cluster(master: str, *, ui_port: int = MASTER_UI_PORT) -> int:
    """Returns how many cores the workers of a standalone cluster have, as its master's page tells.

    Args:
        master: `spark://HOST:PORT`.
        ui_port: Port of the page.

    Raises:
        ValueError: The page does not answer, or there is no worker.
    """
    page = f"http://{urlsplit(master).hostname}:{ui_port}/json/"
    try:
        with urlopen(page, timeout=_ANSWER_WITHIN_S) as answer:
            cores = int(json.load(answer)["cores"])
    except (URLError, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"how many cores {master} has cannot be read from {page} ({error}): "
            f"pass --parallelism, best {TASKS_PER_CORE} times as many"
        ) from error
    if not cores:
        raise ValueError(f"{master} has no worker yet, says {page}")
    return cores


def run_on_spark(job: Job, *, options: SparkOptions) -> Outcome:
    """Builds and runs a job, shows how far it is, and returns how it ended.

    Raises:
        ValueError: Java or the job server is missing, or the cluster does not answer.
        JobStoppedError: Ctrl-C.
        JobFailedError: A step failed for good, or Spark did.
    """
    ui_port = _free_port()
    beam_options = PipelineOptions(
        [f"--job_server_jvm_properties=-Dspark.ui.port={ui_port}", *options.beam_options()]
    )
    find_java(beam_options)
    jar = find_jar(options.spark_jar, cache=beam_options.view_as(JobServerOptions).jar_cache_dir)
    server = SparkJobServer(beam_options, jar=jar)
    if options.is_local:
        watched = attended(progress_bar_of(job))
    else:  # its workers do not see the folder of `attended`: they end with the job server
        watched = attended(lambda _: StageBar(f"http://localhost:{ui_port}"), stop=server.stop)
    with watched as folder, server:
        pipeline = beam.Pipeline(runner=RunnerOn(server), options=beam_options)
        job.build(pipeline, str(folder) if options.is_local else None)
        result = pipeline.run()
        result.wait_until_finish()
        return Outcome(counters=counters_of(result))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])
