"""How a job uses Spark: through Beam's portable runner, without Docker.

On a local master (`local[2]`) Spark runs inside the job server, and the Python steps run as threads
of this process, as they do with `--runner local`. On a standalone cluster each executor starts the
command `singsong-worker`, which must be installed on every node. This file imports no Beam, so that
the command line answers at once.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from singsong.runners.job import Job, Outcome, check_beam_args

WORKER_COMMAND = "singsong-worker"
TASKS_PER_CORE = 8
"""A core that finishes early then finds another task; each task costs about 10 ms a step."""

MASTER_UI_PORT = 8080
_BEAM_FLAGS = {"runner": "--runner", "spark_master_url": "--spark-master"}
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
        parallelism: Into how many tasks a step is split; 0 takes `TASKS_PER_CORE` for each core.
        harness: On a cluster, the command that runs the Python steps on each node; empty takes the
            path that `singsong-worker` has on this machine.
        beam_args: Passed on to Beam; flags that the options above set are refused.

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
        check_beam_args(self.beam_args, _BEAM_FLAGS)

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
        """None: Spark ignores them, and they would split the stages."""
        return {}

    def beam_options(self) -> list[str]:
        """Returns these options as Beam's flags, and `beam_args` after them.

        Of two Java properties of one name, the last one counts.

        Raises:
            ValueError: The parallelism is that of a cluster whose number of cores cannot be read.
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
        from singsong.runners.spark_run import run_on_spark

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
    """Returns how many cores the workers of a standalone cluster have, from its master's page.

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
            f"cannot read the number of cores of {master} from {page} ({error}): "
            f"pass --parallelism, best {TASKS_PER_CORE} for each core"
        ) from error
    if not cores:
        raise ValueError(f"{master} has no worker yet (see {page}): start one first")
    return cores
