"""Writes scalars for TensorBoard.

`torch.utils.tensorboard` would import TensorFlow wherever it is installed, which takes longer than
everything else that starts a run.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary

from singsong.dataset.tfrecord import frame_record

_VERSION = "brain.Event:2"


class ScalarWriter:
    """Appends scalars to a new event file, without a buffer.

    Args:
        folder: The folder of the run's event files.
        first_step: TensorBoard discards what older files hold for this step and later ones.

    Raises:
        OSError: The folder cannot be written.
    """

    def __init__(self, folder: str | Path, *, first_step: int) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        stamp = f"{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (Path(folder) / f"events.out.tfevents.{stamp}").open("xb", buffering=0)
        self._write(step=first_step, file_version=_VERSION)
        self._write(step=first_step, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the values of a step, by tag."""
        summary = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(step=step, summary=Summary(value=summary))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, **fields: Any) -> None:
        data = Event(wall_time=time.time(), **fields).SerializeToString()
        self._file.write(frame_record(data))
