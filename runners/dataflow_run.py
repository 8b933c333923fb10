"""Runs a pipeline on Google Cloud Dataflow: checks first, then submits, then waits or leaves."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError

from singsong import storage
from singsong.runners.dataflow import DataflowOptions
from singsong.runners.dataflow_watch import JobWatch
from singsong.runners.errors import JobFailedError, JobStoppedError
from singsong.runners.job import Job, Outcome, counters_of, first_cause
from singsong.runners.preflight import check_bucket, check_device, check_image, check_reachable
from singsong.schemas.text import printable

_DONE = "JOB_STATE_DONE"


def run_on_dataflow(job: Job, *, options: DataflowOptions) -> Outcome:
    """Checks, submits and waits for a job, as the options say.

    Ctrl-C while waiting leaves the job running, and says so.

    Raises:
        ValueError: A check found what would go wrong; nothing was submitted.
        JobStoppedError: Ctrl-C before the job was submitted.
        JobFailedError: Dataflow refused the job, or it failed or was cancelled.
    """
    arguments = beam_arguments(job, options)
    try:
        check_job(job, options)
        if options.dry_run:
            print(_request_of(job, arguments))
            return Outcome(finished=False)
        result = _submit(job, arguments)
    except KeyboardInterrupt:
        raise JobStoppedError("stopped before the job was submitted") from None
    if options.template:
        print(printable(f"wrote the job to {options.template}; nothing runs"))
        return Outcome(finished=False)
    job_id = result.job_id()
    print(f"job {job_id}\n{console_url(job_id, options)}", flush=True)
    if options.detach:
        print(_how_to_follow(job_id, options))
        return Outcome(finished=False)
    return _wait(result, options)


def check_job(job: Job, options: DataflowOptions) -> None:
    """Checks what can be known before a job runs.

    Raises:
        ValueError: Something would go wrong.
    """
    check_device(job.device, options.gpu)
    check_reachable(job.reads, job.writes)
    if options.skip_image_check:
        print(f"not checked: whether {options.image} holds our code and the job's weights")
    else:
        check_image(options.image, weights=job.weights)
    for url in dict.fromkeys([options.temp, *job.writes.values()]):
        check_bucket(url, region=options.region)


def console_url(job_id: str, options: DataflowOptions) -> str:
    """Returns the page that shows a job."""
    return (
        f"https://console.cloud.google.com/dataflow/jobs/{options.region}/{job_id}"
        f"?project={options.project}"
    )


def beam_arguments(job: Job, options: DataflowOptions) -> list[str]:
    """Returns all flags for Beam; what a person passes after `--` comes last."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return [f"--job_name=singsong-{job.name}-{now}", *options.beam_options()]


def _wait(result: Any, options: DataflowOptions) -> Outcome:
    job_id = result.job_id()
    client = result._runner.dataflow_client
    watch = JobWatch(client=client, job_id=job_id, report=lambda line: print(printable(line)))
    try:
        state = watch.wait()
    except KeyboardInterrupt:
        print(f"\nThe job keeps running.\n{_how_to_follow(job_id, options)}")
        return Outcome(finished=False)
    except GoogleAPICallError as error:
        raise JobFailedError(
            f"lost contact with the job ({error.message}); it may still run. "
            f"{_how_to_follow(job_id, options)}"
        ) from error
    if state != _DONE:
        ended = state.removeprefix("JOB_STATE_").lower()
        cause = first_cause(RuntimeError(watch.last_error or "the service gave no reason"))
        reason = storage.with_advice(cause)
        raise JobFailedError(f"the job {ended}: {reason}; see {console_url(job_id, options)}")
    return Outcome(counters=counters_of(result))


def _how_to_follow(job_id: str, options: DataflowOptions) -> str:
    place = f"--project {options.project} --region {options.region}"
    return (
        f"watch it: gcloud dataflow jobs show {job_id} {place}\n"
        f"stop it:  gcloud dataflow jobs cancel {job_id} {place}"
    )


def _submit(job: Job, arguments: list[str]) -> Any:
    """Builds a job, gives it to Dataflow and returns Beam's result.

    Raises:
        JobFailedError: The service refused it, or there are no credentials.
    """
    from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError

    pipeline = beam.Pipeline(options=PipelineOptions(arguments))
    job.build(pipeline, None)
    try:
        return pipeline.run()
    except DataflowJobAlreadyExistsError as error:
        raise JobFailedError(str(error)) from error
    except GoogleAPICallError as error:
        raise JobFailedError(f"Dataflow refused the job: {error.message}") from error
    except GoogleAuthError as error:
        raise JobFailedError(
            f"no credentials ({error}): run `gcloud auth application-default login`"
        ) from error


def _request_of(job: Job, arguments: list[str]) -> str:
    """Returns the body of the request that would create a job, as JSON.

    Beam makes it when it writes a template; the pipeline itself is staged below `temp`.
    """
    with tempfile.TemporaryDirectory(prefix="singsong-") as folder:
        path = os.path.join(folder, "request.json")
        _submit(job, [*arguments, f"--template_location={path}"])
        with open(path, encoding="utf-8") as file:
            return file.read()
