"""Accompanies many files of vocals, as a Beam job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from singsong import storage
from singsong.pipelines.accompany import AccompanyJobConfig, build
from singsong.pipelines.job_run import is_failure, run_job
from singsong.pipelines.places import used_files
from singsong.runners.exit_codes import ExitCode
from singsong.runners.job import Job
from singsong.runners.local import set_up_process
from singsong.schemas.elements import DeadLetter, SourceFile
from singsong.schemas.text import printable
from singsong.transforms.accompany_tracks import REPORT_NAME, AccompanySink
from singsong.transforms.accompany_vocals import accompany_digest, load_accompanist


def accompany_many(config: AccompanyJobConfig, files: Sequence[SourceFile]) -> int:
    """Accompanies files as a Beam job, prints the outcome and returns the exit code.

    Args:
        config: What to do.
        files: The files of its inputs; none where other machines list them.

    Raises:
        ValueError: A model is missing or does not fit the others.
        JobFailedError: A step failed for good.
    """
    how = config.accompany
    set_up_process()
    # The machine that launches remote workers may lack their device.
    accompanist = load_accompanist(replace(how, device="cpu") if config.runner.remote else how)
    sink = AccompanySink(
        output=config.output, suffix=config.suffix, digest=accompany_digest(how, accompanist)
    )
    job = Job(
        name="accompany",
        build=lambda pipeline, progress: build(
            pipeline, config=config, sink=sink, files=files, progress=progress
        ),
        total_tracks=len(used_files(files)),
        total_bytes=sum(file.size_bytes for file in files),
        reads=(*config.inputs, how.checkpoint, *filter(None, [how.fine])),
        writes={"--output": config.output},
        device=how.device,
    )
    return run_job(job, runner=config.runner, report=lambda _: _report(config.output))


def _report(output: str) -> int:
    report = json.loads(storage.read_bytes(storage.join(output, REPORT_NAME)))
    for letter in report["dead_letters"]:
        print(DeadLetter(**letter).to_line())
    failed = sum(is_failure(letter["reason"]) for letter in report["dead_letters"])
    made = len(report["sounds"])
    print(printable(f"{made} accompaniments in {output}, {failed} files failed"))
    return ExitCode.FAILED_TRACKS if failed or not report["sounds"] else ExitCode.DONE
