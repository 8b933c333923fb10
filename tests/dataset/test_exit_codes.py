"""A command that says that all is well also exits with 0, each time.

While pyarrow read Python files, one of its threads dropped the last reference to one after the
interpreter had begun to end, and one process in six aborted (apache/arrow issues 34314 and 50482).
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support.code_dataset import recommitted, write_dataset
from singsong.dataset.counts import SplitCounts

# Each run is a fork, which imports nothing and still ends as an interpreter ends.
FORKS = """
import collections, json, os, sys
import singsong.commands.dataset
from singsong.commands.cli import main

url, runs = sys.argv[1], int(sys.argv[2])
codes = collections.Counter()
for number in range(runs):
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(main(["dataset", ("verify", "show")[number % 2], url]))
    codes[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])] += 1
print(json.dumps(codes))
"""


@pytest.mark.slow  # each run is a process that ends as an interpreter does
@pytest.mark.parametrize("runs", [40, pytest.param(800, marks=pytest.mark.nightly)])
def test_verify_and_show_never_abort_at_exit(runs: int, tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, clips=600, shards=4, formats=("parquet", "tfrecord"))
    recommitted(tmp_path, splits={**manifest.splits, "validation": SplitCounts()})
    command = [sys.executable, "-c", FORKS, str(tmp_path), str(runs)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == {"0": runs}
