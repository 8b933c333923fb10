"""Reads what a training run wrote for TensorBoard."""

from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event

from singsong.dataset.tfrecord import read_records


def events(run: Path) -> list[Event]:
    """Returns the TensorBoard events of a run, oldest first."""
    found = []
    for path in sorted((run / "tensorboard").iterdir()):
        with path.open("rb") as file:
            found += [Event.FromString(data) for data in read_records(file)]
    return found


def logged(run: Path, tag: str) -> dict[int, float]:
    """Returns the values of a tag by step; where a step was logged twice, the last one."""
    return {
        event.step: value.simple_value
        for event in events(run)
        for value in event.summary.value
        if value.tag == tag
    }
