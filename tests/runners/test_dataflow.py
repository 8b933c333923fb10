"""The real DataflowRunner against a stub of the service, an emulated store and a stub registry."""

import json
from pathlib import Path

import fsspec
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

import singsong.runners.dataflow_run
import singsong.runners.dataflow_watch
from singsong import storage
from singsong.commands import cli
from singsong.dataset.manifest import read_manifest
from singsong.runners.dataflow import DataflowOptions
from singsong.runners.errors import JobFailedError, JobStoppedError
from tests.support.cloud import JOB, MINIMUM, StubDataflow, flags, options
from tests.support.fakes import write_tones

ACCELERATOR = "type:nvidia-l4;count:1;machine_type:g2-standard-8;install-nvidia-driver"


def staged_pipeline(job: dict) -> beam_runner_api_pb2.Pipeline:
    url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
    return beam_runner_api_pb2.Pipeline.FromString(storage.read_bytes(url))


def hints_of_steps(pipeline: beam_runner_api_pb2.Pipeline) -> dict[str, dict[str, str]]:
    """The resource hints of each step that runs our code."""
    environments = pipeline.components.environments
    return {
        step.unique_name: {
            urn: value.decode()
            for urn, value in environments[step.environment_id].resource_hints.items()
        }
        for step in pipeline.components.transforms.values()
        if step.environment_id
    }


@pytest.fixture
def music(buckets: object, tmp_path: Path) -> str:
    (path,) = write_tones(tmp_path, tracks=1, seconds=12)
    fsspec.filesystem("gs").put(str(path), "near/music/tone.wav")
    return "gs://near/music"


def test_the_job_has_the_gpu_on_the_encoding_step_alone(
    music: str, image: str, dataflow: StubDataflow, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--gpu", "nvidia-l4", "--disk-gb", "80", "--max-workers", "7", "--detach"]
    given += ["--labels", "team=music,run=1", "--job-name", "songs"]
    command = ["prepare", music, "--output", "gs://near/out", *flags(image, *given)]
    assert cli.main([*command, "--", *dataflow.flags]) == 0

    (job,) = dataflow.jobs
    assert job["name"] == "songs"
    assert job["labels"] == {"team": "music", "run": "1"}
    environment = job["environment"]
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    assert "use_multiple_sdk_containers" not in environment["experiments"]
    (pool,) = environment["workerPools"]
    assert pool["machineType"] == "n2-standard-4"
    assert pool["diskSizeGb"] == 80
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 7
    assert pool["numThreadsPerWorker"] == 4

    pipeline = staged_pipeline(job)
    hints = hints_of_steps(pipeline)
    encoding = {name for name in hints if name.startswith("EncodeTracks")}
    assert any("ForEachTrack" in name for name in encoding)
    for name in hints:
        want = {"beam:resources:accelerator:v1": ACCELERATOR} if name in encoding else {}
        assert hints[name] == want, name
    containers = pool["sdkHarnessContainerImages"]
    assert {item["environmentId"] for item in containers} == {
        step.environment_id
        for step in pipeline.components.transforms.values()
        if step.environment_id
    }
    assert {item["containerImage"] for item in containers} == {image}

    printed = capsys.readouterr().out
    assert "job stub-job-1" in printed
    assert "dataflow/jobs/us-central1/stub-job-1?project=my-project" in printed
    assert "gcloud dataflow jobs cancel stub-job-1 --project my-project" in printed
    assert not any("GET" in method for method, _ in dataflow.requests)


def run_staged(job: dict) -> None:
    """Runs what was staged, as the workers would: from the pipeline in the store alone."""
    pipeline = staged_pipeline(job)
    embedded = EmbeddedPythonEnvironment.default().to_runner_api(None)
    for environment in pipeline.components.environments.values():
        environment.CopyFrom(embedded)
    FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([])).wait_until_finish()


def test_what_is_staged_makes_the_dataset(
    music: str, image: str, dataflow: StubDataflow, capsys: pytest.CaptureFixture[str]
) -> None:
    dataflow.on_create = run_staged
    dataflow.metrics = {"us_total": 4_000_000, "us_decode": 1_000_000}
    dataflow.messages = [("BASIC", "workers have started")]
    command = ["prepare", music, "--output", "gs://near/dataset", *flags(image)]
    assert cli.main([*command, "--", *dataflow.flags]) == 0
    assert read_manifest("gs://near/dataset").counts.tracks.encoded == 1
    printed = capsys.readouterr().out
    assert "running\nbasic: workers have started\ndone\n" in printed
    assert "25.0" in printed, "the counters of the service are in the summary"


def test_a_dry_run_prints_the_request_and_sends_none(
    buckets: object, dataflow: StubDataflow, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not options(dataflow, dry_run=True).run(JOB).finished
    assert not dataflow.requests
    _, _, printed = capsys.readouterr().out.partition("\n")
    request = json.loads(printed)
    assert request["environment"]["workerPools"][0]["machineType"] == "n2-standard-4"
    assert request["name"].startswith("singsong-test-2")


def test_a_template_is_written_and_not_run(
    buckets: object, dataflow: StubDataflow, capsys: pytest.CaptureFixture[str]
) -> None:
    template = "gs://near/templates/job.json"
    assert not options(dataflow, template=template).run(JOB).finished
    assert not dataflow.requests
    assert json.loads(storage.read_bytes(template))["type"] == "JOB_TYPE_BATCH"
    assert f"wrote the job to {template}" in capsys.readouterr().out


def test_a_job_that_ends_gives_its_counters(buckets: object, dataflow: StubDataflow) -> None:
    dataflow.metrics = {"us_total": 5}
    outcome = options(dataflow).run(JOB)
    assert outcome.finished
    assert outcome.counters == {"us_total": 5}


def test_a_failed_job_tells_the_workers_error(buckets: object, dataflow: StubDataflow) -> None:
    dataflow.states = ["JOB_STATE_RUNNING", "JOB_STATE_FAILED"]
    dataflow.messages = [
        ("ERROR", "Traceback (most recent call last):\n  File x\nValueError: no such model"),
        ("ERROR", "a work item was attempted 4 times without success"),
    ]
    with pytest.raises(JobFailedError, match="the job failed: ValueError: no such model; see http"):
        options(dataflow).run(JOB)


def test_a_failed_job_is_given_time_for_its_last_words(
    buckets: object, dataflow: StubDataflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(singsong.runners.dataflow_watch, "_REASON_WITHIN_S", 0.05)
    dataflow.states = ["JOB_STATE_FAILED"]
    with pytest.raises(JobFailedError, match="the service gave no reason"):
        options(dataflow).run(JOB)
    looks = [path for _, path in dataflow.requests if "/messages" in path]
    assert len(looks) > 1


def test_a_cancelled_job_has_not_done_its_work(buckets: object, dataflow: StubDataflow) -> None:
    dataflow.states = ["JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED"]
    with pytest.raises(JobFailedError, match="the job cancelled"):
        options(dataflow).run(JOB)


def test_ctrl_c_leaves_the_job_running(
    buckets: object,
    dataflow: StubDataflow,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(watch: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(singsong.runners.dataflow_watch.JobWatch, "wait", interrupt)
    assert not options(dataflow).run(JOB).finished
    printed = capsys.readouterr().out
    assert "The job keeps running." in printed
    assert "gcloud dataflow jobs cancel stub-job-1" in printed
    assert "PUT" not in [method for method, _ in dataflow.requests]


def test_ctrl_c_before_the_job_is_there_stops(
    dataflow: StubDataflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(job: object, options: DataflowOptions) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(singsong.runners.dataflow_run, "check_job", interrupt)
    with pytest.raises(JobStoppedError):
        options(dataflow).run(JOB)
    assert not dataflow.requests


@pytest.mark.parametrize("status", [403, 409])
def test_a_refusal_is_told(buckets: object, dataflow: StubDataflow, status: int) -> None:
    dataflow.refusal = (status, "the API is not enabled")
    with pytest.raises(JobFailedError, match=r"Dataflow refused the job: .*is not enabled"):
        options(dataflow).run(JOB)


def test_a_name_that_is_taken_is_told(
    buckets: object, dataflow: StubDataflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(job: dict) -> tuple[int, object, dict]:
        other = {"id": "other", "name": job["name"], "clientRequestId": "of another"}
        return 200, other, {}

    monkeypatch.setattr(dataflow, "_create", taken)
    with pytest.raises(JobFailedError, match="already active job named"):
        options(dataflow).run(JOB)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"project": "My Project"}, "project must be the id"),
        ({"project": ""}, "project must be the id"),
        ({"region": "us-central1-a"}, "region must be a region"),
        ({"temp": "/tmp/x"}, "temp must be gs://BUCKET/FOLDER"),
        ({"image": ""}, "image must be the image"),
        ({"gpu": "nvidia-l5"}, "gpu must be one of .*nvidia-l4.*found 'nvidia-l5'"),
        (
            {"gpu": "nvidia-l4", "gpu_machine_type": "n1-standard-8"},
            "gpu_machine_type must be a machine with one nvidia-l4, such as g2-standard-8",
        ),
        ({"gpu": "nvidia-l4", "gpu_machine_type": "g2-standard-24"}, "with one nvidia-l4"),
        ({"gpu_machine_type": "g2-standard-8"}, "it needs gpu too"),
        ({"disk_gb": 0}, "disk_gb must be at least 1"),
        ({"max_workers": 0}, "max_workers must be at least 1"),
        ({"worker_threads": -1}, "worker_threads must be at least 1"),
        ({"labels": "Team=music"}, "labels must be NAME=VALUE.*found 'Team=music'"),
        ({"labels": "team"}, "labels must be NAME=VALUE"),
        ({"job_name": "My job"}, "job_name must be small letters"),
        ({"job_name": "a" * 64}, "at most 63 characters"),
        ({"template": "gs://near/t", "dry_run": True}, "give one of them"),
    ],
)
def test_wrong_options_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataflowOptions(**{**MINIMUM, **wrong})


def test_what_follows_the_dashes_goes_to_beam() -> None:
    beam_args = ("--staging_location=gs://near/staging", "--experiments=x")
    given = DataflowOptions(**MINIMUM, beam_args=beam_args)
    parsed = PipelineOptions(given.beam_options()).get_all_options()
    assert parsed["staging_location"] == "gs://near/staging"
    assert parsed["experiments"] == ["no_use_multiple_sdk_containers", "x"]
    assert parsed["number_of_worker_harness_threads"] == 4


def test_every_flag_that_ours_set_is_refused_after_the_dashes() -> None:
    """Beam's parser takes the last of two values, so our checks would look at the wrong one."""
    everything = {
        "service_account": "a@b.c",
        "subnetwork": "regions/r/subnetworks/s",
        "template": "gs://near/t",
        "job_name": "j",
    }
    free = {"--staging_location", "--sdk_location", "--experiments"}  # no flag of ours sets these
    set_by_ours = DataflowOptions(**MINIMUM, **everything).beam_options()
    for flag in {argument.partition("=")[0] for argument in set_by_ours} - free:
        with pytest.raises(ValueError, match=f"{flag} is set by --.*: give that one"):
            DataflowOptions(**MINIMUM, beam_args=("--x", f"{flag}=1"))
    with pytest.raises(ValueError, match="is set by --machine-type:"):
        DataflowOptions(**MINIMUM, beam_args=("--worker_machine_type", "n2"))


def test_flags_of_another_runner_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prepare", "x", "--output", "y", "--gpu", "nvidia-l4"]) == 1
    assert "--gpu is not a flag of --runner local" in capsys.readouterr().err
