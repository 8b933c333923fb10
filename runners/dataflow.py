"""How a job uses Google Cloud Dataflow. No Beam, so that the command line answers at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from singsong.runners.gpus import GPU_TYPES, accelerator_hint
from singsong.runners.job import Job, Outcome, check_beam_args

_LABEL_KEY = r"[a-z][-_a-z0-9]{0,62}"
_LABEL_VALUE = r"[-_a-z0-9]{0,63}"
_JOB_NAME = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
_BEAM_FLAGS = {
    "runner": "--runner",
    "project": "--project",
    "region": "--region",
    "temp_location": "--temp",
    "sdk_container_image": "--image",
    "machine_type": "--machine-type",
    "worker_machine_type": "--machine-type",
    "disk_size_gb": "--disk-gb",
    "max_num_workers": "--max-workers",
    "number_of_worker_harness_threads": "--worker-threads",
    "job_name": "--job-name",
    "service_account_email": "--service-account",
    "subnetwork": "--subnetwork",
    "template_location": "--template",
}
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
        temp: A gs:// folder for staged files, in a bucket of that region.
        image: The container image of the workers.
        gpu: A key of `runners.gpus.GPU_TYPES`, for the workers that encode; empty for none.
        gpu_machine_type: Machine of the workers that encode; empty takes one that carries the GPU.
        machine_type: Machine of all other workers.
        disk_gb: Disk of each worker.
        max_workers: The most workers at a time.
        worker_threads: Tracks at a time on each worker.
        labels: Labels of the job for the bill, as NAME=VALUE,...
        job_name: Name of the job; empty makes one of the command and the time.
        service_account: The workers' service account; empty takes the project's default.
        subnetwork: The workers' subnetwork; empty takes the default network.
        template: Where to write the job instead of running it: a file or gs:// URL.
        detach: Whether to leave once the job is submitted.
        dry_run: Whether to stop before submitting, and print the request.
        skip_image_check: Whether to submit without checking what the image holds.
        beam_args: Passed on to Beam; flags that the options above set are refused.

    Raises:
        ValueError: An option is missing or wrong.
    """

    project: str = field(default="", metadata={"help": "id of the project that pays"})
    region: str = field(default="", metadata={"help": "region of the workers"})
    temp: str = field(default="", metadata={"help": "gs:// folder for staged files"})
    image: str = field(default="", metadata={"help": "container image of the workers"})
    gpu: str = field(
        default="", metadata={"help": f"GPU of the workers that encode: {', '.join(GPU_TYPES)}"}
    )
    gpu_machine_type: str = field(default="", metadata={"help": "machine that carries the GPU"})
    machine_type: str = field(
        default="n2-standard-4", metadata={"help": "machine of all other workers"}
    )
    disk_gb: int = field(default=100, metadata={"help": "disk of each worker, GB"})
    max_workers: int = field(default=10, metadata={"help": "the most workers at a time"})
    worker_threads: int = field(default=4, metadata={"help": "tracks at a time on each worker"})
    labels: str = field(default="", metadata={"help": "NAME=VALUE,... for the bill"})
    job_name: str = field(default="", metadata={"help": "made from command and time by default"})
    service_account: str = field(default="", metadata={"help": "the workers' service account"})
    subnetwork: str = field(default="", metadata={"help": "regions/REGION/subnetworks/NAME"})
    template: str = field(
        default="", metadata={"help": "write the job to this file or URL instead of running it"}
    )
    detach: bool = field(default=False, metadata={"help": "do not wait for the job"})
    dry_run: bool = field(
        default=False, metadata={"help": "print the request instead of sending it"}
    )
    skip_image_check: bool = field(
        default=False, metadata={"help": "for an image that this machine cannot read"}
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
        check_beam_args(self.beam_args, _BEAM_FLAGS)
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
        """Checks, submits and waits for a job, see `run_on_dataflow`."""
        from singsong.runners.dataflow_run import run_on_dataflow

        return run_on_dataflow(job, options=self)

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
