"""Runs `singsong prepare` on Prism, Beam's portable local engine, for comparison.

    python -m benchmarks.prism_prepare PRISM prepare ~/Music --output dataset

PRISM is the path of the binary. Prism is not a `--runner`, because it has no advantage over the
local engine and reports neither progress nor the cause of a failure.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.prism_runner import PrismRunner

from singsong.commands.cli import COMMANDS
from singsong.pipelines import prepare
from singsong.runners.job import Job, Outcome, counters_of


@dataclass(frozen=True, kw_only=True)
class PrismOptions:
    """Runner options for Prism."""

    location: str

    @property
    def remote(self) -> bool:
        return False

    @property
    def encode_hints(self) -> Mapping[str, str]:
        return {}

    def beam_options(self) -> list[str]:
        return [f"--prism_location={self.location}"]

    def run(self, job: Job) -> Outcome:
        pipeline = beam.Pipeline(runner=PrismRunner(), options=PipelineOptions(self.beam_options()))
        job.build(pipeline, None)
        result = pipeline.run()
        result.wait_until_finish()
        return Outcome(counters=counters_of(result))


def main(location: str, argv: list[str]) -> int:
    config = prepare.config_from(COMMANDS["prepare"].parse(argv))
    return prepare.prepare(replace(config, runner=PrismOptions(location=location)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[3:]))
