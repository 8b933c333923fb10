"""What the tests on Spark need of the machine."""

import shutil
import subprocess
from pathlib import Path

import pytest

from runners.spark_job_server import BUILT_JAR
from tests.command import ROOT


@pytest.fixture(scope="session")
def spark_jar(request: pytest.FixtureRequest) -> Path:
    """Returns the job server, assembled unless it is there; without Java or Maven it skips.

    With `--require-spark`, as in CI, it fails instead.
    """
    give_up = pytest.fail if request.config.getoption("--require-spark") else pytest.skip
    for tool in ("java", "mvn", "make"):
        if shutil.which(tool) is None:
            give_up(f"Spark needs Java 17 and Maven: there is no {tool} on the PATH")
    made = subprocess.run(
        ["make", "--silent", "spark-jar"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if made.returncode:
        give_up(f"`make spark-jar` failed: {made.stdout[-500:]}{made.stderr[-500:]}")
    return BUILT_JAR
