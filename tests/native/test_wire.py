"""The two descriptions of the wire layout, C and Python, say the same of every field."""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING

import pytest

from cgoleak.model.handles import Role, Success
from cgoleak.probe.wire import layout as wire
from support.native_build import PROBES, compile_driver, run_driver

if TYPE_CHECKING:
    from enum import IntEnum
    from pathlib import Path

pytestmark = pytest.mark.native

STRUCTURES: dict[str, type[ctypes.Structure]] = {
    "cg_header": wire.Header,
    "cg_module": wire.MappedModule,
    "cg_go": wire.Go,
    "cg_slot": wire.Slot,
    "cg_pair": wire.Pair,
    "cg_family": wire.FamilyRow,
    "cg_row": wire.Row,
    "cg_shard": wire.Shard,
    "cg_stack": wire.Stack,
    "cg_ages": wire.Ages,
    "cg_borrow": wire.Borrow,
    "cg_shared": wire.Shared,
}
READ_BY_C_ONLY = {"cg_block", "cg_handle", "cg_region", "cg_rule"}
ENUMS: dict[str, tuple[type[IntEnum], str, set[str]]] = {
    "cg_function": (wire.Function, "CG_", {"FUNCTIONS"}),
    "cg_state": (wire.State, "CG_", set()),
    "cg_slot_state": (wire.SlotState, "CG_SLOT_", set()),
    "cg_role": (Role, "CG_ROLE_", {"NONE"}),
    "cg_success": (Success, "CG_IF_", set()),
}
SENT_AS_LETTERS = {"cg_command"}
SHOWN_TO_NOBODY = {"cg_reason"}

Fields = dict[str, tuple[int, int, int]]
"""Field → offset, size of all of it, number of elements."""


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def structs_of(text: str) -> dict[str, list[str]]:
    """Give the names of the fields of every struct that a C text defines."""
    found = {}
    for name, body in re.findall(r"struct (cg_\w+) \{(.*?)\n\};", text, flags=re.DOTALL):
        declarators = [part for line in body.split(";") for part in line.split(",")]
        found[name] = [
            match[1] for part in declarators if (match := re.search(r"(\w+)(\[\w+\])?\s*$", part))
        ]
    return found


def enums_of(text: str) -> dict[str, list[str]]:
    return {
        name: re.findall(r"\b(CG_\w+)", re.sub(r"=[^,]*", "", body))
        for name, body in re.findall(r"enum (cg_\w+) \{(.*?)\}", text, flags=re.DOTALL)
    }


def header_text() -> str:
    scan = (PROBES / "scan.c").read_text()
    return without_comments(
        (PROBES / "layout.h").read_text()
        + (PROBES / "ehframe.h").read_text()
        + "".join(re.findall(r"struct cg_ages \{.*?\n\};", scan, flags=re.DOTALL))
    )


def compiled(text: str, scratch: Path) -> tuple[dict[str, Fields], dict[str, int], dict[str, int]]:
    """Let the compiler say each struct's fields and size, and every number that has a name."""
    structs = structs_of(text)
    names = re.findall(r"#define (CG_\w+) [(\d]", text) + re.findall(r"#define (CG_\w+) 0x", text)
    names += [name for members in enums_of(text).values() for name in members]
    lines = []
    for struct, fields in structs.items():
        lines.append(f'printf("size {struct} %zu\\n", sizeof(struct {struct}));')
        lines += [
            f'printf("field {struct} {field} %zu %zu\\n", offsetof(struct {struct}, {field}),'
            f" sizeof(((struct {struct} *)0)->{field}));"
            for field in fields
        ]
    lines += [
        f'printf("number {n} %llu\\n", (unsigned long long)({n}));' for n in dict.fromkeys(names)
    ]
    source = scratch / "say.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdio.h>\n"
        + text
        + "\nint main(void)\n{\n    "
        + "\n    ".join(lines)
        + "\n    return 0;\n}\n"
    )
    said = run_driver(compile_driver(source, scratch / "say", "-Wno-type-limits"))
    layouts: dict[str, Fields] = {name: {} for name in structs}
    sizes, numbers = {}, {}
    for kind, name, *rest in map(str.split, said.splitlines()):
        if kind == "field":
            layouts[name][rest[0]] = (int(rest[1]), int(rest[2]), 0)
        elif kind == "size":
            sizes[name] = int(rest[0])
        else:
            numbers[name] = int(rest[0])
    return layouts, sizes, numbers


def python_layout(structure: type[ctypes.Structure]) -> Fields:
    return {
        name: (getattr(structure, name).offset, getattr(structure, name).size, 0)
        for name, *_ in structure._fields_
    }


def differences(
    layouts: dict[str, Fields], sizes: dict[str, int], python: dict[str, type[ctypes.Structure]]
) -> list[str]:
    found = []
    for name, structure in python.items():
        ours, theirs = python_layout(structure), layouts.get(name, {})
        found += [
            f"{name}.{field}: C {theirs.get(field)}, Python {ours.get(field)}"
            for field in {**theirs, **ours}
            if theirs.get(field) != ours.get(field)
        ]
        if list(ours) != list(theirs):
            found.append(f"{name}: C has {list(theirs)}, Python {list(ours)}")
        if sizes.get(name) != ctypes.sizeof(structure):
            found.append(f"{name}: C {sizes.get(name)} bytes, Python {ctypes.sizeof(structure)}")
    return found


def test_every_field_lies_where_both_sides_say(tmp_path: Path) -> None:
    layouts, sizes, _ = compiled(header_text(), tmp_path)

    assert differences(layouts, sizes, STRUCTURES) == []
    assert sum(map(len, layouts.values())) > 100


def test_every_structure_of_one_side_is_known_to_the_other() -> None:
    in_python = {
        kind
        for kind in vars(wire).values()
        if isinstance(kind, type) and issubclass(kind, ctypes.Structure)
    }

    assert in_python == set(STRUCTURES.values())
    assert set(structs_of(header_text())) == set(STRUCTURES) | READ_BY_C_ONLY


@pytest.mark.parametrize("struct", STRUCTURES)
def test_a_field_added_in_c_only_is_noticed(tmp_path: Path, struct: str) -> None:
    text = header_text()
    begin = text.index(f"struct {struct} {{")
    end = text.index("\n};", begin)
    changed = text[:end] + "\n    uint64_t added;" + text[end:]

    layouts, sizes, _ = compiled(changed, tmp_path)

    assert any(f"{struct}.added" in line for line in differences(layouts, sizes, STRUCTURES))


@pytest.mark.parametrize("struct", STRUCTURES)
def test_a_field_added_in_python_only_is_noticed(tmp_path: Path, struct: str) -> None:
    known = STRUCTURES[struct]
    added = (("added", ctypes.c_uint64),)
    whole = type(known.__name__, (ctypes.Structure,), {"_fields_": (*known._fields_, *added)})
    layouts, sizes, _ = compiled(header_text(), tmp_path)

    found = differences(layouts, sizes, {**STRUCTURES, struct: whole})

    assert any(f"{struct}.added" in line for line in found)


def test_a_field_that_moved_is_noticed(tmp_path: Path) -> None:
    text = header_text().replace(
        "uint32_t cmd_first;\n    uint32_t cmd_last;", "uint32_t cmd_last;\n    uint32_t cmd_first;"
    )

    layouts, sizes, _ = compiled(text, tmp_path)

    assert any("cg_shared.cmd_first" in line for line in differences(layouts, sizes, STRUCTURES))


def test_every_number_of_the_python_side_is_that_of_the_header(tmp_path: Path) -> None:
    _, _, numbers = compiled(header_text(), tmp_path)
    ours = {
        f"CG_{name}": value
        for name, value in vars(wire).items()
        if name.isupper() and isinstance(value, int)
    }

    assert {"CG_MAGIC", "CG_VERSION", "CG_SHARDS"} <= set(ours)
    assert {name: numbers.get(name) for name in ours} == ours


def test_every_enumerator_has_the_same_number_on_both_sides(tmp_path: Path) -> None:
    text = header_text()
    _, _, numbers = compiled(text, tmp_path)
    enums = enums_of(text)

    assert set(enums) == set(ENUMS) | SENT_AS_LETTERS | SHOWN_TO_NOBODY
    for name, (enum, prefix, counts) in ENUMS.items():
        theirs = {
            member.removeprefix(prefix): numbers[member]
            for member in enums[name]
            if member.removeprefix(prefix) not in counts
        }
        assert theirs == {member.name: member.value for member in enum}, name
