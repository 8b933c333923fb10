"""Runs a pipeline on Google Cloud Dataflow: checks first, then submits, then waits or leaves."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError

from singsong.runners.dataflow_watch import JobWatch
from singsong.runners.errors import JobFailedError, JobStoppedError
from singsong.runners.gpus import GPU_TYPES, accelerator_hint
from singsong.runners.job import Job, Outcome, counters_of, first_cause
from singsong.runners.preflight import check_bucket, check_device, check_image, check_reachable

_DONE = "JOB_STATE_DONE"
_LABEL_KEY = r"[a-z][-_a-z0-9]{0,62}"
_LABEL_VALUE = r"[-_a-z0-9]{0,63}"
_JOB_NAME = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
_RULES = {
    "project": (r"[a-z][-a-z0-9:.]{4,}[a-z0-9]", "the id of a project, such as my-project"),
    "region": (r"[a-z]+-[a-z]+[0-9]+", "a region of Google Cloud, such as europe-west4"),
    "temp": (r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9](/.*)?", "gs://BUCKET/FOLDER"),
    "image": (r"\S+", "the image that the workers run in, such as REGION-docker.pkg.dev/..."),
}


@dataclass(frozen=True, kw_only=True)
class DataflowOptions:
    """How to use Dataflow.

    A worker runs one process with one copy of the models, whatever its number of cores, and encodes
    `worker_threads` tracks at once: Beam's own way, a process per core, would load a copy per core
    onto the one GPU.

    Attributes:
        project: Id of the Google Cloud project that pays.
        region: Where the workers are.
        temp: A gs:// folder for what is staged, in a bucket of that region.
        image: The container image of the workers.
        gpu: A key of `runners.gpus.GPU_TYPES`, for the workers that encode; empty for none.
        gpu_machine_type: Machine of the workers that encode; empty takes one that carries the GPU.
        machine_type: Machine of all other workers.
        disk_gb: Disk of each worker.
        max_workers: The most workers at a time.
        worker_threads: Tracks at a time on each worker.
        labels: Labels of the job for the bill, as NAME=VALUE,...
        job_name: Name of the job; empty makes one of the command and the time.
        service_account: Who the workers are; empty takes the project's default.
        subnetwork: Where the workers' network cards are; empty takes the default network.
        template: Where to write the job instead of running it: a file or gs:// URL.
        detach: Whether to leave once the job is submitted.
        dry_run: Whether to stop before submitting, and print the request.
        skip_image_check: Whether to submit without a look at what the image holds.
        beam_args: Passed on to Beam.

    Raises:
        ValueError: An option is missing or wrong.
    """

    project: str = field(default="", metadata={"help": "id of the project that pays"})
    region: str = field(default="", metadata={"help": "where the workers are"})
    temp: str = field(default="", metadata={"help": "gs:// folder for what is staged"})
    image: str = field(default="", metadata={"help": "container image of the workers"})
    gpu: str = field(
        default="", metadata={"help": f"for the workers that encode: {', '.join(GPU_TYPES)}"}
    )
    gpu_machine_type: str = field(default="", metadata={"help": "machine that carries the GPU"})
    machine_type: str = field(default="n2-standard-4", metadata={"help": "all other workers"})
    disk_gb: int = field(default=100, metadata={"help": "of each worker"})
    max_workers: int = field(default=10, metadata={"help": "the most workers at a time"})
    worker_threads: int = field(default=4, metadata={"help": "tracks at a time on each worker"})
    labels: str = field(default="", metadata={"help": "NAME=VALUE,... for the bill"})
    job_name: str = field(default="", metadata={"help": "made of command and time if not given"})
    service_account: str = field(default="", metadata={"help": "who the workers are"})
    subnetwork: str = field(default="", metadata={"help": "regions/REGION/subnetworks/NAME"})
    template: str = field(default="", metadata={"help": "write the job there and do not run it"})
    detach: bool = field(default=False, metadata={"help": "do not wait for the job"})
    dry_run: bool = field(default=False, metadata={"help": "print the request, do not send it"})
    skip_image_check: bool = field(
        default=False, metadata={"help": "for an image that cannot be read from here"}
    )
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, (pattern, what) in _RULES.items():
            if not re.fullmatch(pattern, getattr(self, name)):
                raise ValueError(f"{name} must be {what}; found {getattr(self, name)!r}")
        for name in ("disk_gb", "max_workers", "worker_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.job_name and not re.fullmatch(_JOB_NAME, self.job_name):
            raise ValueError(
                "job_name must be small letters, digits and -, start with a letter and have at "
                f"most 63 characters; found {self.job_name!r}"
            )
        if self.gpu_machine_type and not self.gpu:
            raise ValueError("gpu_machine_type is the machine of a GPU: it needs gpu too")
        if self.template and self.dry_run:
            raise ValueError("template writes the job and dry_run prints it: give one of them")
        self._label_pairs()
        self.encode_hints  # noqa: B018 - checks the GPU and its machine

    @property
    def remote(self) -> bool:
        """Returns True."""
        return True

    @property
    def encode_hints(self) -> Mapping[str, str]:
        """The GPU, if there is one."""
        if not self.gpu:
            return {}
        return {"accelerator": accelerator_hint(self.gpu, self.gpu_machine_type)}

    def beam_options(self) -> list[str]:
        """Returns these options as Beam's flags."""
        named = {
            "job_name": self.job_name,
            "service_account_email": self.service_account,
            "subnetwork": self.subnetwork,
            "template_location": self.template,
        }
        return [
            "--runner=DataflowRunner",
            f"--project={self.project}",
            f"--region={self.region}",
            f"--temp_location={self.temp}",
            f"--staging_location={self.temp}",
            f"--sdk_container_image={self.image}",
            "--sdk_location=container",
            f"--machine_type={self.machine_type}",
            f"--disk_size_gb={self.disk_gb}",
            f"--max_num_workers={self.max_workers}",
            "--experiments=no_use_multiple_sdk_containers",
            f"--number_of_worker_harness_threads={self.worker_threads}",
            *(f"--{name}={value}" for name, value in named.items() if value),
            *(f"--labels={key}={value}" for key, value in self._label_pairs()),
            *self.beam_args,
        ]

    def run(self, job: Job) -> Outcome:
        """Checks, submits and waits for a job, as the options say.

        Ctrl-C while waiting leaves the job running, and says so.

        Raises:
            ValueError: A check found what would go wrong; nothing was submitted.
            JobStoppedError: Ctrl-C before the job was submitted.
            JobFailedError: Dataflow refused the job, or it failed or was cancelled.
        """
        try:
            self.check(job)
            if self.dry_run:
                print(_request_of(job, self._named(job)))
                return Outcome(finished=False)
            result = _submit(job, self._named(job))
        except KeyboardInterrupt:
            raise JobStoppedError("stopped before the job was submitted") from None
        if self.template:
            print(f"wrote the job to {self.template}; nothing runs")
            return Outcome(finished=False)
        job_id = result.job_id()
        print(f"job {job_id}\n{self.console_url(job_id)}", flush=True)
        if self.detach:
            print(self._how_to_follow(job_id))
            return Outcome(finished=False)
        return self._wait(result)

    def check(self, job: Job) -> None:
        """Checks what can be known before a job runs.

        Raises:
            ValueError: Something would go wrong.
        """
        check_device(job.device, self.gpu)
        check_reachable(job.reads, job.writes)
        if self.skip_image_check:
            print(f"not checked: whether {self.image} holds our code and the job's weights")
        else:
            check_image(self.image, weights=job.weights)
        for url in dict.fromkeys([self.temp, *job.writes.values()]):
            check_bucket(url, region=self.region)

    def console_url(self, job_id: str) -> str:
        """Returns the page that shows a job."""
        return (
            f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{job_id}"
            f"?project={self.project}"
        )

    def _named(self, job: Job) -> list[str]:
        """What a person passes after `--` comes last, and wins."""
        now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        return [f"--job_name=singsong-{job.name}-{now}", *self.beam_options()]

    def _wait(self, result: Any) -> Outcome:
        job_id = result.job_id()
        watch = JobWatch(client=result._runner.dataflow_client, job_id=job_id, tell=print)
        try:
            state = watch.wait()
        except KeyboardInterrupt:
            print(f"\nThe job goes on without us.\n{self._how_to_follow(job_id)}")
            return Outcome(finished=False)
        except GoogleAPICallError as error:
            raise JobFailedError(
                f"lost sight of the job ({error.message}), and it may go on. "
                f"{self._how_to_follow(job_id)}"
            ) from error
        if state != _DONE:
            ended = state.removeprefix("JOB_STATE_").lower()
            reason = first_cause(RuntimeError(watch.last_error or "the service gave no reason"))
            raise JobFailedError(f"the job {ended}: {reason}; see {self.console_url(job_id)}")
        return Outcome(counters=counters_of(result))

    def _how_to_follow(self, job_id: str) -> str:
        place = f"--project {self.project} --region {self.region}"
        return (
            f"watch it: gcloud dataflow jobs show {job_id} {place}\n"
            f"stop it:  gcloud dataflow jobs cancel {job_id} {place}"
        )

    def _label_pairs(self) -> list[tuple[str, str]]:
        pairs = []
        for item in filter(None, self.labels.split(",")):
            key, equals, value = item.partition("=")
            if not (equals and re.fullmatch(_LABEL_KEY, key) and re.fullmatch(_LABEL_VALUE, value)):
                raise ValueError(
                    "labels must be NAME=VALUE,... of small letters, digits, - and _, at most 63 "
                    f"each, the name starting with a letter; found {item!r}"
                )
            pairs.append((key, value))
        return pairs


def _submit(job: Job, arguments: list[str]) -> Any:
    """Builds a job, gives it to Dataflow and returns Beam's result.

    Raises:
        JobFailedError: The service refused it, or does not know who asks.
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
