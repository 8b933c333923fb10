"""Checks of what a command reads and writes, made before anything heavy is imported."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from singsong import storage
from singsong.schemas.elements import SourceFile
from singsong.schemas.names import MANIFEST_NAME
from singsong.transforms.source_files import list_source_files, names_a_file, preferred


def absolute(url: str) -> str:
    """Returns the absolute path of a local folder, and a URL without a slash at its end.

    >>> absolute("gs://bucket/dataset/")
    'gs://bucket/dataset'
    """
    return storage.filesystem(url)[1] if storage.is_local(url) else url.rstrip("/")


def check_apart(inputs: Iterable[str], outputs: Sequence[str]) -> None:
    """Checks that no output lies in an input, where the next run would read it.

    Args:
        inputs: Files, folders, globs and URLs that are read.
        outputs: Folders and URLs that are written to.

    Raises:
        ValueError: An output lies in an input.
    """
    for url in inputs:
        folder = absolute(url).rstrip("/") + "/"
        for output in outputs:
            if f"{absolute(output)}/".startswith(folder):
                raise ValueError(f"{output} lies in the input {url}: choose another place for it")


def check_output_folder(url: str) -> None:
    """Checks that a local folder can be written or made; a URL is left to its store.

    Raises:
        ValueError: There is a file of that name, or a folder above may not be written.
    """
    if storage.is_local(url):
        path = storage.local_path(url)
        if os.path.lexists(path) and not os.path.isdir(path):
            raise ValueError(f"{url} is a file: name a folder as the output")
        _check_writable(path, url)


def check_output_file(url: str) -> None:
    """Checks that a local file can be written; a URL is left to its store.

    Raises:
        ValueError: There is a folder of that name, or a folder above may not be written.
    """
    if storage.is_local(url):
        path = storage.local_path(url)
        if os.path.isdir(path):
            raise ValueError(f"{url} is a folder: name a file as the output")
        _check_writable(os.path.dirname(os.path.abspath(path)), url)


def _check_writable(path: str, url: str) -> None:
    folder = os.path.abspath(path)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise ValueError(f"{url} cannot be written, because {folder} is a file: choose another")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{url} cannot be written: you lack permission to write to {folder}")


def check_dataset(url: str) -> None:
    """Checks that a dataset exists, without reading it.

    Raises:
        ValueError: It does not.
        OSError: The store does not answer.
    """
    manifest = storage.join(url, MANIFEST_NAME)
    if not storage.exists(manifest):
        raise ValueError(
            f"{manifest} does not exist: no dataset, or its `singsong prepare` did not finish"
        )


def check_run(url: str) -> None:
    """Checks that the folder of a run or a model exists; a URL is left to who reads it.

    Raises:
        ValueError: It does not.
    """
    if storage.is_local(url) and not os.path.isdir(storage.local_path(url)):
        raise ValueError(f"{url} does not exist: name the output of `singsong train`")


def input_files(urls: Iterable[str], *, only_files: bool = False) -> list[SourceFile]:
    """Returns what names, folders, globs and URLs stand for, each file once; debris too.

    Args:
        urls: The names.
        only_files: As for `list_source_files`.

    Raises:
        ValueError: A name stands for no file, or for nothing that can be read.
    """
    files: dict[str, list[SourceFile]] = {}
    for url in urls:
        try:
            found = list(list_source_files(url, only_files=only_files))
        except FileNotFoundError as error:
            raise ValueError(f"{error}: check the name") from None
        used = used_files(found)
        if not used and not only_files:
            raise ValueError(f"{url} holds no files")
        if all(file.problem for file in used) and not only_files:
            raise ValueError(f"{used[0].uri}: {used[0].problem}")
        for file in found:
            files.setdefault(file.uri, []).append(file)
    return [preferred(same) for same in files.values()]


def used_files(files: Iterable[SourceFile]) -> list[SourceFile]:
    """Returns the files without debris."""
    return [file for file in files if not file.debris]


def job_files(urls: Sequence[str], *, remote: bool, only_files: bool = False) -> list[SourceFile]:
    """Returns what a job's inputs stand for; nothing where other machines list them.

    Args:
        urls: The inputs.
        remote: Whether other machines list them.
        only_files: As for `list_source_files`.

    Raises:
        ValueError: A name stands for no file.
    """
    if not remote:
        return input_files(urls, only_files=only_files)
    if not only_files:
        check_remote_inputs(urls)
    return []


def check_remote_inputs(urls: Iterable[str]) -> None:
    """Checks that each name stands for a file, without listing a whole bucket.

    Raises:
        ValueError: One does not.
    """
    for url in urls:
        if not names_a_file(url):
            raise ValueError(f"{url} names no file: check the name")
