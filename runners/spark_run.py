"""Runs a pipeline on Spark, through Beam's portable runner."""

from __future__ import annotations

import socket

import apache_beam as beam
from apache_beam.options.pipeline_options import JobServerOptions, PipelineOptions

from singsong.runners.job import Job, Outcome, counters_of
from singsong.runners.progress_bar import progress_bar_of
from singsong.runners.spark import SparkOptions
from singsong.runners.spark_job_server import RunnerOn, SparkJobServer, find_jar, find_java
from singsong.runners.spark_progress import StageBar
from singsong.runners.terminal import monitored_run


def run_on_spark(job: Job, *, options: SparkOptions) -> Outcome:
    """Builds and runs a job, shows its progress and returns how it ended.

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
        watched = monitored_run(progress_bar_of(job))
    else:  # its workers do not see the folder of `monitored_run`: they end with the job server
        watched = monitored_run(lambda _: StageBar(f"http://localhost:{ui_port}"), stop=server.stop)
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
