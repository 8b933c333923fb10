"""The reference is TensorFlow itself."""

import io
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from singsong.dataset.tfrecord import (
    RecordCorruptError,
    decode_example,
    encode_examples,
    frame_record,
    read_records,
)
from singsong.schemas.records import RecordField, shard_schema

FIELDS = [
    RecordField(name="clip_id", kind="string", meaning=""),
    RecordField(name="clip_index", kind="int32", meaning=""),
    RecordField(name="peak_db", kind="float32", meaning=""),
    RecordField(name="codes", kind="codes", meaning="", shape=(3, 2), codebook_size=65536),
    RecordField(name="audio", kind="bytes", meaning=""),
]
CODES = np.array([[0, 1, 2, 3, 1023, 65535], [6, 5, 4, 3, 2, 1]], np.uint16)
TABLE = pa.Table.from_pydict(
    {
        "clip_id": ["a-000001", "ü-000002"],
        "clip_index": [0, -7],
        "peak_db": [-12.5, -200.0],
        "codes": CODES.tolist(),
        "audio": [b"", b"fLaC\x00"],
    },
    schema=shard_schema(FIELDS),
)


@pytest.fixture
def tf() -> ModuleType:
    """Returns TensorFlow, whose import takes ten seconds that the other tests need not spend."""
    import tensorflow

    return tensorflow


def written() -> bytes:
    file = io.BytesIO()
    for example in encode_examples(TABLE, FIELDS):
        file.write(frame_record(example))
    return file.getvalue()


@pytest.mark.slow
def test_tensorflow_reads_what_is_written(tf: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(written())
    features = {
        "clip_id": tf.io.FixedLenFeature([], tf.string),
        "clip_index": tf.io.FixedLenFeature([], tf.int64),
        "peak_db": tf.io.FixedLenFeature([], tf.float32),
        "codes": tf.io.FixedLenFeature([], tf.string),
        "audio": tf.io.FixedLenFeature([], tf.string),
    }
    rows = [
        tf.io.parse_single_example(record, features)
        for record in tf.data.TFRecordDataset(str(path))
    ]
    assert [row["clip_id"].numpy().decode() for row in rows] == ["a-000001", "ü-000002"]
    assert [int(row["clip_index"]) for row in rows] == [0, -7]
    assert [float(row["peak_db"]) for row in rows] == [-12.5, -200.0]
    assert rows[1]["audio"].numpy() == b"fLaC\x00"
    for row, codes in zip(rows, CODES, strict=True):
        read = tf.reshape(tf.io.decode_raw(row["codes"], tf.uint16), (3, 2))
        np.testing.assert_array_equal(read.numpy().reshape(-1), codes)


@pytest.mark.slow
def test_we_read_what_tensorflow_writes(tf: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "b.tfrecord"
    example = tf.train.Example(
        features=tf.train.Features(
            feature={"x": tf.train.Feature(int64_list=tf.train.Int64List(value=[5]))}
        )
    ).SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example)
        writer.write(b"")
    with path.open("rb") as file:
        first, second = read_records(file)
    assert decode_example(first) == {"x": 5}
    assert second == b""


@pytest.mark.slow
def test_the_bytes_are_those_of_tensorflow(tf: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "c.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in encode_examples(TABLE, FIELDS):
            writer.write(example)
    assert path.read_bytes() == written()
    assert list(encode_examples(TABLE, FIELDS)) == list(encode_examples(TABLE, FIELDS))


@pytest.mark.parametrize("cut", [1, 11, 12, 40])
def test_a_file_cut_short_is_said(cut: int) -> None:
    with pytest.raises(RecordCorruptError, match="ends inside"):
        list(read_records(io.BytesIO(written()[:-1][: len(written()) - cut])))


@pytest.mark.parametrize("position", [0, 9, 30])
def test_every_flipped_bit_is_found(position: int) -> None:
    data = bytearray(written())
    data[position] ^= 1
    with pytest.raises(RecordCorruptError):
        list(read_records(io.BytesIO(data)))


def test_bytes_that_are_no_example_are_said() -> None:
    with pytest.raises(RecordCorruptError, match="Example"):
        decode_example(b"\xff\xff\xff")
