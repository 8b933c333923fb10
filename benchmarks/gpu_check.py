"""Checks a GPU in ten minutes: whether codes agree with the CPU's, then how fast everything is.

    make gpu-check
    python -m benchmarks.gpu_check --output gpu.md
    python -m benchmarks.gpu_check --device cpu --tiny

Prints a report in Markdown: the vocals and codes that differ from the CPU's; x realtime of
separation and of the whole chain; training, eager and compiled; generation. Each section has its
own process and its own share of the time: one that fails, or is not done in time, costs no other,
and what it had measured by then stays. The exit code is 1 if anything is missing.

Needs no download. Models that are not named have random weights and the size of the published ones,
which suffices to measure them; how often codes differ depends on the weights.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.plan import ROLES, TINY, Plan, Sizes
from benchmarks.gpu.sections import FIRST, SECTIONS, run_section
from singsong.models.devices import checked_device
from singsong.pipelines.recipe_arguments import PROFILES
from singsong.training.presets import ACCOMPANIMENT

MEASURED = [name for name in SECTIONS if name != FIRST]


def parser() -> argparse.ArgumentParser:
    spec = "NAME[:SOURCE][,KEY=VALUE...]"
    found = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the script")
    found.add_argument(
        "--minutes", type=float, default=9.5, help="time for all sections, less that of the start"
    )
    found.add_argument("--only", nargs="+", choices=MEASURED, default=MEASURED)
    found.add_argument("--output", type=Path, metavar="FILE", help="write the report there, too")
    found.add_argument("--tiny", action="store_true", help="small networks, to try the script")
    found.add_argument("--profile", choices=sorted(PROFILES), help="real weights of these models")
    for role in ROLES:
        found.add_argument(f"--{role}", metavar=spec, help="real weights of this model")
    found.add_argument("--data", metavar="DATASET", help="train on this; else on random codes")
    found.add_argument("--preset", choices=sorted(ACCOMPANIMENT), help="size of the trained model")
    found.add_argument("--batch-sizes", type=int, nargs="+", help="clips in a training batch")
    found.add_argument("--generate", type=int, nargs="+", help="windows to generate at once")
    return found


def plan_of(args: argparse.Namespace, folder: Path) -> Plan:
    profile = PROFILES.get(args.profile, {})
    named = {role: getattr(args, role) or profile.get(role) for role in ROLES}
    return Plan(
        device=args.device,
        folder=folder,
        tiny=args.tiny,
        models={role: spec for role, spec in named.items() if spec},
        data=args.data,
        preset=args.preset or ("tiny" if args.tiny else "base"),
        batch_sizes=tuple(args.batch_sizes or ((1, 2) if args.tiny else (8, 16, 32, 64, 128))),
        generated=tuple(args.generate or ((1, 2) if args.tiny else (1, 8, 64))),
        sizes=TINY if args.tiny else Sizes(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    ends = time.monotonic() + 60 * args.minutes
    try:
        checked_device(args.device)
    except ValueError as error:
        print(f"error: {error}; --device cpu --tiny tries the script", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="singsong-gpu-check-") as folder:
        plan = plan_of(args, Path(folder))
        report = args.output or Path(folder, "report.md")
        report.write_text("")
        ok = True
        names = [FIRST, *args.only]
        for index, name in enumerate(names):
            ahead = sum(SECTIONS[later].weight for later in names[index:])
            limit_s = (ends - time.monotonic()) * SECTIONS[name].weight / ahead
            ok &= run_section(SECTIONS[name], plan, report, limit_s=limit_s)
        print(report.read_text())
    return 0 if ok else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the section's process ends, too
    sys.exit(main())
