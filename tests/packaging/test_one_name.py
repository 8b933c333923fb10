"""No module of ours is loaded under two names, even with the repository on `sys.path`."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support.command import ROOT
from tests.support.fakes import write_tones

CODE = """
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(sys.argv[1]).resolve()
sys.path.insert(0, str(ROOT))

from singsong.commands.cli import main

flags = ["--clip-seconds", "1", "--no-filter", "--splits", "train=1"]
assert main(["prepare", "music", "--output", "dataset", *flags]) == 0

import singsong

data = singsong.ShardDataset(
    "dataset", singsong.Featurization(), singsong.LoaderConfig(batch_size=2, epochs=1)
)
assert len(list(data)) == 3
import singsong.pipelines.accompany
singsong.Accompanist, singsong.train, singsong.load_model

names = defaultdict(list)
for name, module in list(sys.modules.items()):
    file = getattr(module, "__file__", None)
    if file and Path(file).resolve().is_relative_to(ROOT) and ".venv" not in file:
        names[Path(file).resolve()].append(name)
wrong = [found for found in names.values() if len(found) > 1 or found[0][:8] != "singsong"]
print(len(names), "modules, wrong:", wrong)
"""


@pytest.mark.slow  # imports all that is installed
def test_no_module_has_two_names(tmp_path: Path) -> None:
    write_tones(tmp_path / "music", tracks=2, seconds=3.0)
    ran = subprocess.run(
        [sys.executable, "-c", CODE, str(ROOT)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    count, wrong = ran.stdout.splitlines()[-1].split(" modules, wrong: ")
    assert int(count) > 80
    assert wrong == "[]"
