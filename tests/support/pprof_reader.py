"""Reads pprof profiles with Google's own protobuf library: an independent witness.

The description is that of google/pprof's ``proto/profile.proto``, written down from its fields.
"""

from __future__ import annotations

import gzip
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_MESSAGES: Final = {
    "Profile": "sample_type:1*ValueType sample:2*Sample mapping:3*Mapping location:4*Location "
    "function:5*Function string_table:6*string drop_frames:7 keep_frames:8 time_nanos:9 "
    "duration_nanos:10 period_type:11=ValueType period:12 comment:13* default_sample_type:14",
    "ValueType": "type:1 unit:2",
    "Sample": "location_id:1* value:2* label:3*Label",
    "Label": "key:1 str:2 num:3 num_unit:4",
    "Mapping": "id:1 memory_start:2 memory_limit:3 file_offset:4 filename:5 build_id:6 "
    "has_functions:7=bool has_filenames:8=bool has_line_numbers:9=bool has_inline_frames:10=bool",
    "Location": "id:1 mapping_id:2 address:3 line:4*Line is_folded:5=bool",
    "Line": "function_id:1 line:2 column:3",
    "Function": "id:1 name:2 system_name:3 filename:4 start_line:5",
}
_KINDS: Final = {"": 3, "string": 9, "bool": 8}  # int64, string, bool


def read_profile(content: bytes) -> Any:
    """Parse a gzipped profile; raises what protobuf raises."""
    profile = _profile_class()()
    profile.ParseFromString(gzip.decompress(content))
    return profile


@cache
def _profile_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="profile.proto", package="perftools.profiles", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split():
            field, _, rest = text.partition(":")
            kind = rest.lstrip("0123456789")
            number = int(rest.removesuffix(kind))
            repeated = kind.startswith("*")
            kind = kind.lstrip("*=")
            added = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in _KINDS:
                added.type = _KINDS[kind]
            else:
                added.type, added.type_name = 11, f".perftools.profiles.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("perftools.profiles.Profile"))
