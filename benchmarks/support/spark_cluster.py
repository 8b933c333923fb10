"""A real Spark cluster on this machine: a master and workers from the pyspark wheel."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

_DEPLOY = "org.apache.spark.deploy"
_LOG_WITHIN_S = 120.0
_HOST = "127.0.0.1"


def free_port() -> int:
    """Returns a free TCP port."""
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        return int(listener.getsockname()[1])


class SparkCluster:
    """A standalone cluster, one process per master and worker; use as a context manager.

    Attributes:
        master: Its address, for `--spark-master`.
        environment: The environment for a process that submits jobs to it.
    """

    def __init__(self, folder: Path, *, workers: int = 2, cores: int = 1) -> None:
        self._folder = folder
        self._workers_wanted, self._cores = workers, cores
        self._port = free_port()
        self.master = f"spark://{_HOST}:{self._port}"
        self.environment = {**os.environ, "SPARK_LOCAL_IP": _HOST}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> SparkCluster:
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as on_failure:
            on_failure.callback(self._stop)
            self._start_master()
            for number in range(self._workers_wanted):
                self._start_worker(number)
            on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def kill_worker(self) -> list[int]:
        """Kills the busiest worker, its executors and their children with SIGKILL.

        Returns:
            The killed process ids: at least a worker, an executor and its Python process.
        """
        workers = [psutil.Process(process.pid) for process in self._processes[1:]]
        families = [[worker, *worker.children(recursive=True)] for worker in workers]
        family = max(families, key=len)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)
        return [process.pid for process in family]

    def wait_for_application(self) -> None:
        """Waits until an application has been submitted."""
        self._wait_for_log("Registered app", name="master")

    def _start_master(self) -> None:
        self._start(
            "master",
            f"{_DEPLOY}.master.Master",
            *("--host", _HOST, "--port", str(self._port), "--webui-port", str(free_port())),
            until="New state: ALIVE",
        )

    def _start_worker(self, number: int) -> None:
        self._start(
            f"worker-{number}",
            f"{_DEPLOY}.worker.Worker",
            *("--host", _HOST, "--cores", str(self._cores), "--memory", "1g"),
            *("--work-dir", str(self._folder / f"work-{number}")),
            *("--webui-port", str(free_port()), self.master),
            until="Successfully registered with master",
        )

    def _start(self, name: str, *command: str, until: str) -> None:
        home = spark_home()
        log = self._folder / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [str(home / "bin/spark-class"), *command],
                env={
                    **self.environment,
                    "SPARK_HOME": str(home),
                    "SPARK_LOCAL_DIRS": str(self._folder / "local"),
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        self._wait_for_log(until, name=name)

    def _wait_for_log(self, text: str, *, name: str) -> None:
        log = self._folder / f"{name}.log"
        deadline = time.monotonic() + _LOG_WITHIN_S
        while text not in log.read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} did not log {text!r}:\n{log.read_text()}")
            time.sleep(0.1)

    def _stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def spark_home() -> Path:
    """Returns the folder of the Spark distribution in the pyspark wheel."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("pyspark is not installed")
    return Path(spec.origin).parent
