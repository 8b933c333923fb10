"""Runs a pipeline on this machine, shows its progress and stops cleanly.

The engine is Beam's `FnApiRunner`, by that name: `DirectRunner` first tries to download another
engine, so that two machines would not run the same.
"""

from __future__ import annotations

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from singsong.runners.job import Job, Outcome, counters_of
from singsong.runners.local import LocalOptions
from singsong.runners.progress_bar import progress_bar_of
from singsong.runners.terminal import monitored_run


def run_locally(job: Job, *, options: LocalOptions) -> Outcome:
    """Builds and runs a job, shows its progress and returns how it ended.

    Raises:
        JobStoppedError: Ctrl-C.
        JobFailedError: A step failed for good.
    """
    with monitored_run(progress_bar_of(job)) as folder:
        pipeline = beam.Pipeline(
            runner=FnApiRunner(), options=PipelineOptions(options.beam_options())
        )
        job.build(pipeline, str(folder))
        result = pipeline.run()
        result.wait_until_finish()
        return Outcome(counters=counters_of(result))
