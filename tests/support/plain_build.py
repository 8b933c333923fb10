"""Carries out the Dockerfile without Docker, and encodes a clip on a worker that it makes.

    # make image-check

The base is a bare Debian from debootstrap with its Python of the same minor version, in place of
the official image; boot is built from Beam's source, in place of the one that Beam publishes. All
else is what the Dockerfile says: each RUN in its place under chroot with its variables and its
user, each COPY by the list in `.dockerignore`. Needs root, debootstrap, Go and 8 GB of disk.
"""

import argparse
import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from singsong.commands import cli
from singsong.dataset.manifest import read_manifest
from tests.support.dockerfile import ROOT, Instruction, arguments, last_stage, read_dockerfile
from tests.support.fakes import write_tones
from tests.support.worker_image import build_boot, prepare_on, worker_pool

PACKAGES = "ca-certificates,python-is-python3,python3,python3-pip"
# Debian guards its Python from pip; the official image does not.
BASE_ENVIRONMENT = {
    "HOME": "/root",
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    "UV_BREAK_SYSTEM_PACKAGES": "1",
}
POOL_PORT = 50000
# How this machine reaches the package index is no part of the image.
INDEX_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name.startswith(("HTTP", "PIP_", "SSL_", "UV_"))
}


class Image:
    """The state of a build: a folder, and what the instructions set."""

    def __init__(self, root: Path, build_arguments: dict[str, str]) -> None:
        self.root = root
        self.arguments = build_arguments
        self.environment = dict(BASE_ENVIRONMENT)
        self.workdir = "/"
        self.user = "root"
        self.entrypoint: list[str] = []

    def carry_out(self, instruction: Instruction) -> None:
        """Does what an instruction of the last stage says."""
        print(f"{instruction.keyword} {instruction.text}", flush=True)
        getattr(self, f"_{instruction.keyword.lower()}")(instruction)

    def command(self, command: list[str]) -> list[str]:
        """Returns what runs a command in the image, with its variables, folder and user."""
        variables = {**INDEX_ENVIRONMENT, **self.environment}
        pairs = [f"{name}={value}" for name, value in variables.items()]
        inside = ["env", "-i", f"--chdir={self.workdir}", *pairs, *command]
        return ["chroot", f"--userspec={self.user}", str(self.root), *inside]

    def _from(self, instruction: Instruction) -> None:
        """The base is there already."""

    def _env(self, instruction: Instruction) -> None:
        self.environment.update(word.split("=", 1) for word in instruction.words)

    def _arg(self, instruction: Instruction) -> None:
        """Arguments are known from the start."""

    def _workdir(self, instruction: Instruction) -> None:
        self.workdir = instruction.text
        self._inside(self.workdir).mkdir(parents=True, exist_ok=True)

    def _user(self, instruction: Instruction) -> None:
        self.user = instruction.text
        lines = self._inside("/etc/passwd").read_text().splitlines()
        homes = {line.split(":")[2]: line.split(":")[5] for line in lines}
        self.environment["HOME"] = homes[self.user.partition(":")[0]]

    def _entrypoint(self, instruction: Instruction) -> None:
        self.entrypoint = re.findall(r'"([^"]+)"', instruction.text)

    def _run(self, instruction: Instruction) -> None:
        given = [f"{name}={shlex.quote(value)};" for name, value in self.arguments.items()]
        command = self.command(["sh", "-c", " ".join([*given, instruction.text])])
        cache = instruction.flags.get("mount", "").partition("target=")[2]
        with mounted(Path("/root/.cache/uv"), self._inside(cache)) if cache else ExitStack():
            subprocess.run(command, check=True)

    def _copy(self, instruction: Instruction) -> None:
        *sources, target = instruction.words
        place = self._inside(os.path.join(self.workdir, target))
        stage = instruction.flags.get("from")
        if stage == "beam":
            place.mkdir(parents=True)
            shutil.copy(build_boot(), place / "boot")
        elif stage == "weights":
            place.mkdir(parents=True)
            shutil.copy(ROOT / "LICENSE", place)
        else:
            for name in sources:
                copy_from_context(name, place)

    def _inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")


def copy_from_context(name: str, place: Path) -> None:
    """Copies a file of this repository, or with "." all that `.dockerignore` leaves."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert name == "." or name in kept
    for one in kept if name == "." else [name]:
        if (ROOT / one).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / one, place / one, ignore=ignored, dirs_exist_ok=True)
        elif fnmatch.fnmatch(one, name) or name == ".":
            shutil.copy(ROOT / one, place / one)


@contextmanager
def mounted(source: Path, target: Path) -> Iterator[None]:
    """Shows a folder of this machine in the image."""
    source.mkdir(parents=True, exist_ok=True)
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", target], check=True)


def make_base(root: Path) -> None:
    """Makes a bare Debian of the release that the Dockerfile's base names."""
    release = arguments(read_dockerfile())["BASE"].rpartition("-")[2]
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for name in ("hosts", "resolv.conf"):
        shutil.copy(f"/etc/{name}", root / "etc" / name)


def encode_in(image: Image) -> None:
    """Encodes a clip in the image and here, and compares the datasets."""
    music = write_tones(image.root / "tmp" / "music", tracks=1, seconds=11)[0].parent
    address = {"port": POOL_PORT, "environment": BASE_ENVIRONMENT}
    command = image.command([*image.entrypoint, "--worker_pool"])
    with worker_pool(command, log=image.root / "log.txt", **address) as pool:
        prepare_on(pool, music="/tmp/music", output="/tmp/output")
    local = image.root / "tmp" / "local"
    if cli.main(["prepare", str(music), "--output", str(local)]):
        raise SystemExit("the clip could not be encoded here")
    inside = read_manifest(str(image.root / "tmp" / "output")).dataset_digest
    here = read_manifest(str(local)).dataset_digest
    print(f"dataset in the image {inside[:12]}, here {here[:12]}")
    if inside != here:
        raise SystemExit("the image makes another dataset than this machine")


def main() -> int:
    """Builds, encodes and compares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT / "build" / "image")
    root = parser.parse_args().root.resolve()
    if root.exists():
        raise SystemExit(f"{root} exists: remove it first, or choose another --root")
    make_base(root)
    instructions = read_dockerfile()
    image = Image(root, arguments(instructions))
    with ExitStack() as stack:
        for name in ("/proc", "/dev", "/etc/ssl"):
            stack.enter_context(mounted(Path(name), root / name[1:]))
        for instruction in last_stage(instructions):
            image.carry_out(instruction)
        encode_in(image)
    print("\n".join((root / "opt/singsong/labels").read_text().splitlines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
