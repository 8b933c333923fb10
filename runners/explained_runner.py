"""Runner options that explain a job instead of running it: the flag `--explain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from singsong.runners.job import Job, Outcome, RunnerOptions


@dataclass(frozen=True, kw_only=True)
class ExplainedRunner:
    """Runner options that explain a job instead of running it.

    Attributes:
        options: What would run it.
    """

    options: RunnerOptions

    @property
    def remote(self) -> bool:
        """As the options say."""
        return self.options.remote

    @property
    def encode_hints(self) -> Mapping[str, str]:
        """As the options say."""
        return self.options.encode_hints

    def beam_options(self) -> list[str]:
        """Returns the options as Beam's flags."""
        return self.options.beam_options()

    def run(self, job: Job) -> Outcome:
        """Prints the explanation of a job."""
        from singsong.runners.explain import explain, explanation

        print("\n".join(explanation(job.name, explain(job), self.beam_options())))
        return Outcome(finished=False)
