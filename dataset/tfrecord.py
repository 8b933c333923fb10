"""tf.train.Example records, written and read without TensorFlow.

Codes are stored as little-endian uint16 bytes in row-major order:
`tf.io.decode_raw(example["vocals_acoustic"], tf.uint16)` reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from singsong.schemas.records import RecordField, shard_schema

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")


class RecordCorruptError(Exception):
    """A TFRecord file is cut short, or a checksum in it is wrong."""


def _example_class() -> Any:
    """Builds the message class from its public definition (tensorflow/core/example)."""
    file = descriptor_pb2.FileDescriptorProto(
        name="singsong/example.proto", package="singsong.example", syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto
    lists = (
        ("BytesList", field.TYPE_BYTES),
        ("FloatList", field.TYPE_FLOAT),
        ("Int64List", field.TYPE_INT64),
    )
    for name, kind in lists:
        file.message_type.add(name=name).field.add(
            name="value", number=1, type=kind, label=field.LABEL_REPEATED
        )
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, _) in enumerate(lists, start=1):
        feature.field.add(
            name=name.removesuffix("List").lower() + "_list",
            number=number,
            type=field.TYPE_MESSAGE,
            type_name=f".singsong.example.{name}",
            label=field.LABEL_OPTIONAL,
            oneof_index=0,
        )
    _add_features(file, field)
    file.message_type.add(name="Example").field.add(
        name="features",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".singsong.example.Features",
        label=field.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("singsong.example.Example"))


def _add_features(file: Any, field: Any) -> None:
    """Adds the message `Features`, a map from names to features."""
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(
        name="value",
        number=2,
        type=field.TYPE_MESSAGE,
        type_name=".singsong.example.Feature",
        label=field.LABEL_OPTIONAL,
    )
    features.field.add(
        name="feature",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".singsong.example.Features.FeatureEntry",
        label=field.LABEL_REPEATED,
    )


Example = _example_class()


def encode_examples(table: pa.Table, fields: Sequence[RecordField]) -> Iterator[bytes]:
    """Yields each row of a shard's table as the bytes of a tf.train.Example.

    Args:
        table: Columns as `singsong.schemas.records.shard_schema(fields)` has them, without nulls.
        fields: The fields of the shard.
    """
    columns = {field.name: _values(table.column(field.name), field) for field in fields}
    for row in range(table.num_rows):
        example = Example()
        for field in fields:
            feature = example.features.feature[field.name]
            getattr(feature, _LIST_OF[field.kind]).value.append(columns[field.name][row])
        yield example.SerializeToString(deterministic=True)


def decode_example(data: bytes) -> dict[str, Any]:
    """Returns the first value of each feature of a tf.train.Example.

    Raises:
        RecordCorruptError: The bytes are not an Example.
    """
    try:
        features = Example.FromString(data).features.feature
        return {
            name: getattr(feature, feature.WhichOneof("kind")).value[0]
            for name, feature in features.items()
        }
    except (DecodeError, TypeError, IndexError) as error:
        raise RecordCorruptError(f"not a tf.train.Example: {error}") from error


def rows_to_table(rows: Sequence[Mapping[str, Any]], fields: Sequence[RecordField]) -> pa.Table:
    """Returns decoded examples as a shard's table.

    Args:
        rows: By feature, as `decode_example` gives them.
        fields: The fields of the shard.

    Raises:
        RecordCorruptError: A record lacks a field, or its codes have another shape.
    """
    columns = []
    for field in fields:
        try:
            values = [row[field.name] for row in rows]
        except KeyError:
            raise RecordCorruptError(f"a record has no {field.name}") from None
        if field.kind == "codes":
            if any(len(value) != 2 * field.values for value in values):
                raise RecordCorruptError(f"{field.name} must be {field.shape} in every record")
            codes = np.frombuffer(b"".join(values), "<u2").astype(np.uint16)
            columns.append(
                pa.FixedSizeListArray.from_arrays(pa.array(codes), type=field.arrow_type)
            )
        else:
            if field.kind == "string":
                values = [value.decode() for value in values]
            columns.append(pa.array(values, field.arrow_type))
    return pa.Table.from_arrays(columns, schema=shard_schema(fields))


def frame_record(data: bytes) -> bytes:
    """Returns one record with the framing of TFRecord files: lengths and checksums."""
    length = _LENGTH.pack(len(data))
    return length + _CRC.pack(_masked_crc(length)) + data + _CRC.pack(_masked_crc(data))


def read_records(file: BinaryIO) -> Iterator[bytes]:
    """Yields each record of a TFRecord file.

    Raises:
        RecordCorruptError: The file is cut short, or a checksum is wrong.
    """
    while header := file.read(_LENGTH.size + _CRC.size):
        length = _checked(header, _LENGTH.size)
        (size,) = _LENGTH.unpack(length)
        yield _checked(file.read(size + _CRC.size), size)


def _checked(data: bytes, size: int) -> bytes:
    if len(data) != size + _CRC.size:
        raise RecordCorruptError("the file ends inside a record")
    body = data[:size]
    if _CRC.unpack(data[size:])[0] != _masked_crc(body):
        raise RecordCorruptError("a record's checksum is wrong")
    return body


def _masked_crc(data: bytes) -> int:
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _values(column: pa.ChunkedArray, field: RecordField) -> list[Any]:
    if field.kind == "codes":
        chunks = [chunk.flatten().to_numpy() for chunk in column.chunks]
        return [
            row.astype("<u2", copy=False).tobytes()
            for chunk in chunks
            for row in chunk.reshape(-1, field.values)
        ]
    values: list[Any] = column.to_pylist()
    return [value.encode() for value in values] if field.kind == "string" else values


_LIST_OF = {
    "string": "bytes_list",
    "bytes": "bytes_list",
    "codes": "bytes_list",
    "int32": "int64_list",
    "float32": "float_list",
}
