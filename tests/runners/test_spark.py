"""What is decided before Spark starts; no Java."""

import http.server
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from apache_beam.options.pipeline_options import (
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
)
from apache_beam.portability.api import beam_provision_api_pb2, endpoints_pb2
from google.protobuf import text_format

from benchmarks.support.command import ROOT
from benchmarks.support.spark_cluster import free_port
from singsong.commands import cli
from singsong.runners.spark import TASKS_PER_CORE, SparkOptions, cores_of_cluster
from singsong.runners.spark_boot import worker_environment
from singsong.runners.spark_job_server import SparkJobServer, find_jar

CLUSTER = "spark://127.0.0.1:7077"
START_JOB_SERVER = """
import sys
from apache_beam.options.pipeline_options import PipelineOptions
from singsong.runners.spark_job_server import SparkJobServer
options = PipelineOptions([f"--job_server_java_launcher={sys.argv[1]}"])
SparkJobServer(options, jar=sys.argv[2]).start()
"""


def jvm_properties(options: SparkOptions) -> dict[str, str]:
    view = PipelineOptions(options.beam_options()).view_as(JobServerOptions)
    defined = [word for word in view.job_server_jvm_properties if word.startswith("-D")]
    return dict(word.removeprefix("-D").split("=", 1) for word in defined)


@pytest.fixture
def master_page() -> Iterator[http.server.HTTPServer]:
    """A page such as that of a master, with as many cores as its path was set to."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(self.server.told).encode())  # type: ignore[attr-defined]

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"spark_master": "yarn"}, "spark_master"),
        ({"spark_master": "local[0x]"}, "spark_master"),
        ({"spark_master": "spark://host"}, "spark_master"),
        ({"parallelism": -1}, "parallelism"),
        ({"harness": "/opt/singsong-worker"}, "harness"),
    ],
)
def test_wrong_options_are_refused(wrong: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SparkOptions(**wrong)


def test_a_flag_of_another_runner_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare", str(tmp_path), "--output", "out", "--runner", "spark", "--workers", "2"]
    assert cli.main(command) == 1
    assert "--workers is not a flag of --runner spark" in capsys.readouterr().err


def test_a_local_master_has_tasks_for_its_cores_and_workers_in_this_process() -> None:
    options = SparkOptions(spark_master="local[3]")
    assert jvm_properties(options)["spark.default.parallelism"] == str(3 * TASKS_PER_CORE)
    beam_options = PipelineOptions(options.beam_options())
    assert beam_options.view_as(PortableOptions).environment_type == "LOOPBACK"
    assert beam_options.view_as(SparkRunnerOptions).spark_master_url == "local[3]"


@pytest.mark.parametrize("master", ["local", "local[*]", "local[2,4]"])
def test_every_local_master_of_spark_has_tasks(master: str) -> None:
    tasks = int(jvm_properties(SparkOptions(spark_master=master))["spark.default.parallelism"])
    assert tasks >= TASKS_PER_CORE


def test_no_hint_goes_to_spark() -> None:
    assert not SparkOptions().encode_hints


def test_a_cluster_starts_the_worker_command() -> None:
    options = SparkOptions(spark_master=CLUSTER, parallelism=5, harness="/opt/bin/singsong-worker")
    view = PipelineOptions(options.beam_options()).view_as(PortableOptions)
    assert view.environment_type == "PROCESS"
    assert json.loads(view.environment_config) == {"command": "/opt/bin/singsong-worker"}
    properties = jvm_properties(options)
    assert properties["spark.default.parallelism"] == "5"
    assert (
        "--add-opens=java.base/java.nio=ALL-UNNAMED"
        in (properties["spark.executor.extraJavaOptions"])
    )


@pytest.mark.parametrize("flag", ["--runner=DirectRunner", "--spark_master_url=local[1]"])
def test_a_flag_that_ours_set_is_refused_after_the_dashes(flag: str) -> None:
    with pytest.raises(ValueError, match=r" is set by --.*: give that one, before"):
        SparkOptions(spark_master="local[2]", beam_args=(flag,))


def test_the_last_of_two_java_properties_counts() -> None:
    options = SparkOptions(
        spark_master="local[2]",
        beam_args=("--job_server_jvm_properties=-Dspark.default.parallelism=77",),
    )
    assert jvm_properties(options)["spark.default.parallelism"] == "77"


def test_the_cores_of_a_cluster_are_read_from_the_page_of_its_master(master_page) -> None:
    master_page.told = {"cores": 6}
    assert cores_of_cluster(CLUSTER, ui_port=master_page.server_port) == 6
    master_page.told = {"cores": 0}
    with pytest.raises(ValueError, match="no worker"):
        cores_of_cluster(CLUSTER, ui_port=master_page.server_port)
    master_page.told = {"status": "?"}
    with pytest.raises(ValueError, match="--parallelism"):
        cores_of_cluster(CLUSTER, ui_port=master_page.server_port)
    with pytest.raises(ValueError, match="--parallelism"):
        cores_of_cluster(CLUSTER, ui_port=free_port())


def test_the_jar_that_was_built_is_found_first(tmp_path: Path) -> None:
    built = tmp_path / "job-server.jar"
    built.touch()
    assert find_jar("", built=built) == str(built)
    other = tmp_path / "other.jar"
    other.touch()
    assert find_jar(str(other), built=built) == str(other)


def test_then_that_of_beams_cache(tmp_path: Path) -> None:
    url = SparkJobServer.path_to_beam_jar(":runners:spark:3:job-server:shadowJar")
    cached = tmp_path / url.rpartition("/")[2]
    cached.touch()
    assert find_jar("", cache=str(tmp_path), built=tmp_path / "missing.jar") == str(cached)


def test_a_missing_jar_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="spark_jar must be a file or a URL"):
        find_jar(str(tmp_path / "missing.jar"))
    with pytest.raises(ValueError, match="make spark-jar"):
        find_jar(f"http://127.0.0.1:{free_port()}/server.jar", cache=str(tmp_path))


def test_without_java_it_says_so() -> None:
    options = PipelineOptions(["--job_server_java_launcher=/nowhere/java"])
    with pytest.raises(ValueError, match="needs Java 17"):
        SparkJobServer(options, jar="server.jar")


def test_a_job_server_that_ends_at_once_is_an_error(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text(
        "#!/bin/sh\necho Unsupported class file version\necho '	at A(A.java:1)'\nexit 3\n"
    )
    java.chmod(0o755)
    jar = tmp_path / "server.jar"
    jar.touch()
    options = PipelineOptions([f"--job_server_java_launcher={java}"])
    with SparkJobServer(options, jar=str(jar)) as server:
        with pytest.raises(RuntimeError, match="ended with 3: Unsupported class file version"):
            server.start()
        server.stop()
        with pytest.raises(RuntimeError, match="stopped before it began"):
            server.start()


def test_no_job_server_outlives_a_killed_command(tmp_path: Path) -> None:
    java, jar, born = tmp_path / "java", tmp_path / "server.jar", tmp_path / "born"
    java.write_text(f"#!/bin/sh\necho $$ > {born}.tmp; mv {born}.tmp {born}; exec sleep 600\n")
    java.chmod(0o755)
    jar.touch()
    command = [sys.executable, "-c", START_JOB_SERVER, str(java), str(jar)]
    launcher = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not born.exists():
            assert launcher.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        launcher.kill()
        launcher.wait()
    job_server = psutil.Process(int(born.read_text()))
    assert not psutil.wait_procs([job_server], timeout=30)[1]


def test_the_worker_gets_what_the_runner_tells() -> None:
    info = beam_provision_api_pb2.ProvisionInfo(
        control_endpoint=endpoints_pb2.ApiServiceDescriptor(url="driver:1"),
        runner_capabilities=["a", "b"],
    )
    info.pipeline_options.update({"beam:option:job_name:v1": "name"})
    environment = worker_environment(
        info, worker_id="7", given={"control_endpoint": "old:2", "logging_endpoint": "driver:3"}
    )
    assert environment["WORKER_ID"] == "7"
    assert environment["RUNNER_CAPABILITIES"] == "a b"
    assert json.loads(environment["PIPELINE_OPTIONS"]) == {"beam:option:job_name:v1": "name"}
    for name, url in (("CONTROL", "driver:1"), ("LOGGING", "driver:3")):
        told = endpoints_pb2.ApiServiceDescriptor()
        text_format.Parse(environment[f"{name}_API_SERVICE_DESCRIPTOR"], told)
        assert told.url == url
    assert "STATUS_API_SERVICE_DESCRIPTOR" not in environment


def test_a_worker_without_a_control_service_is_refused() -> None:
    with pytest.raises(ValueError, match="control_endpoint"):
        worker_environment(beam_provision_api_pb2.ProvisionInfo(), worker_id="7", given={})


def test_the_cluster_of_the_tests_has_the_version_of_the_job_server() -> None:
    pom = (ROOT / "runners/job_server/pom.xml").read_text()
    found = re.search(r"<spark.version>(.*)</spark.version>", pom)
    assert found
    version = found[1]
    assert re.search(rf'"pyspark=={re.escape(version)}"', (ROOT / "setup.py").read_text())
