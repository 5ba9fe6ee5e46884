"""Memory map → modules: which mappings belong together, of which file, loaded where."""

from __future__ import annotations

import dataclasses

import pytest

from cgoleak.errors import SymbolError
from cgoleak.probe.calls.modules import find_modules, open_mapped
from cgoleak.target.kernel.procfs import Region
from support.elf_slots import CODE, DATA, an_image, loaded, mappings

AT = 0x7F00_0000_0000
PID = 42


@pytest.fixture
def proc(tmp_path):
    """A /proc in which process 42 sees ``tmp_path/files`` as its root."""
    (tmp_path / "files").mkdir()
    (tmp_path / "proc" / str(PID) / "map_files").mkdir(parents=True)
    (tmp_path / "proc" / str(PID) / "root").symlink_to(tmp_path / "files")
    return tmp_path / "proc"


def a_file(proc, name, content):
    """Write a file into the target's root; give its path there and its inode."""
    path = proc.parent / "files" / name
    path.write_bytes(content)
    return f"/{name}", path.stat().st_ino


def mapped(proc, name="liba.so", *, at=AT, content=None):
    path, inode = a_file(proc, name, content or an_image())
    return mappings(at, path, inode=inode)


def found(proc, *regions):
    modules, notices = find_modules(PID, sorted(regions, key=lambda r: r.start), proc)
    assert notices == ()
    return modules


def test_the_mappings_of_a_file_are_one_module(proc):
    regions = mapped(proc)

    (module,) = found(proc, *regions)

    assert module.regions == regions
    assert (module.start, module.end) == (AT, AT + 0x4000)
    assert (module.path, module.name, module.bias) == ("/liba.so", "liba.so", AT)


def test_code_is_what_may_be_executed(proc):
    (module,) = found(proc, *mapped(proc))

    assert not module.is_code(AT + CODE - 1)
    assert module.is_code(AT + CODE)
    assert not module.is_code(AT + CODE + 0x1000)


def test_a_file_that_is_loaded_twice_is_two_modules(proc):
    first = mapped(proc)
    second = mapped(proc, at=AT + 0x10_0000)

    modules = found(proc, *first, *second)

    assert [m.bias for m in modules] == [AT, AT + 0x10_0000]
    assert [m.regions for m in modules] == [first, second]


def test_a_copy_right_behind_another_is_a_module_of_its_own(proc):
    first = mapped(proc)
    second = mapped(proc, at=AT + 0x4000)

    modules = found(proc, *first, *second)

    assert [(m.start, m.end) for m in modules] == [(AT, AT + 0x4000), (AT + 0x4000, AT + 0x8000)]


def test_a_tiny_file_has_both_its_segments_at_offset_zero(proc):
    code, data = mapped(proc)[:2]
    code = dataclasses.replace(code, perms="r-xp")
    data = dataclasses.replace(data, offset=0, perms="rw-p")

    (module,) = found(proc, code, data)

    assert module.regions == (code, data)
    assert module.bias == AT


def test_a_library_that_is_only_read_is_no_module(proc):
    headers = mapped(proc)[0]
    whole = dataclasses.replace(headers, end=headers.start + 0x4000)

    assert found(proc, whole) == ()


@pytest.mark.parametrize("where", [AT - 0x10_0000, AT + 0x10_0000])
def test_a_piece_that_the_program_reads_itself_is_no_part_of_the_module(proc, where):
    regions = mapped(proc)
    piece = Region(where, where + 0x1000, "r--p", DATA, "fe:00", regions[0].inode, "/liba.so")

    (module,) = found(proc, *regions, piece)

    assert module.regions == regions


def test_memory_without_a_file_is_no_module(proc):
    anonymous = Region(AT, AT + 0x1000, "rwxp", 0, "00:00", 0, "")
    vdso = Region(AT + 0x1000, AT + 0x2000, "r-xp", 0, "00:00", 0, "[vdso]")

    assert found(proc, anonymous, vdso) == ()


def test_the_probe_itself_is_no_module(proc):
    (_, code, *_) = mapped(proc)
    probe = dataclasses.replace(code, path="/memfd:cgoleak-probe", deleted=True)

    assert found(proc, probe) == ()


def test_what_a_program_compiles_while_it_runs_is_no_module_and_no_notice(proc):
    path, inode = a_file(proc, "orcexec.x", b"\xf3\x0f\x1e\xfa")

    assert found(proc, Region(AT, AT + 0x1000, "r-xs", 0, "fe:00", inode, path)) == ()


def test_a_file_that_is_not_elf_costs_a_notice_and_nobody_else(proc):
    good = mapped(proc)
    bad = mapped(proc, "jit.bin", at=AT + 0x10_0000, content=b"no ELF file")

    modules, notices = find_modules(PID, (*good, *bad), proc)

    assert [m.path for m in modules] == ["/liba.so"]
    (notice,) = notices
    assert notice.code == "probe.module-unreadable"
    assert notice.text.startswith("/jit.bin: ")


# --- bias -------------------------------------------------------------------------------------


def test_a_program_at_fixed_addresses_has_no_bias(proc):
    program = an_image(type=2, base=0x400000)

    (module,) = found(proc, *mapped(proc, at=0x400000, content=program))

    assert module.bias == 0


def test_a_library_whose_first_address_is_not_zero_is_moved_by_the_difference(proc):
    prelinked = an_image(base=0x30_0000)

    (module,) = found(proc, *mapped(proc, content=prelinked))

    assert module.bias == AT - 0x30_0000


def test_a_first_page_that_is_gone_does_not_change_the_bias(proc):
    _, *rest = mapped(proc)

    (module,) = found(proc, *rest)

    assert module.bias == AT
    assert module.start == AT + CODE


# --- which file -------------------------------------------------------------------------------


def by_map(proc, region, content):
    """Let the kernel's map of files lead to a content that no path leads to."""
    (proc / str(PID) / "map_files" / f"{region.start:x}-{region.end:x}").write_bytes(content)


def test_a_file_is_opened_by_its_path_in_the_targets_root(proc):
    region = mapped(proc)[0]

    assert open_mapped(PID, region, proc).name == f"{proc}/{PID}/root/liba.so"


def test_of_a_replaced_file_the_one_that_is_mapped_is_opened(proc):
    old = an_image(defines={"old": CODE})
    region = mapped(proc, content=an_image(defines={"new": CODE}))[0]
    region = dataclasses.replace(region, inode=region.inode + 1)
    by_map(proc, region, old)

    obj = open_mapped(PID, region, proc)

    assert obj.symbol("old") == (CODE, 16)
    assert obj.symbol("new") is None


def test_of_a_deleted_file_the_one_that_is_mapped_is_opened_even_if_the_inode_was_used_again(proc):
    region = dataclasses.replace(mapped(proc)[0], deleted=True)
    by_map(proc, region, an_image(defines={"old": CODE}))

    assert open_mapped(PID, region, proc).symbol("old")


def test_a_replaced_file_that_may_not_be_reached_is_unreadable(proc):
    regions = [dataclasses.replace(r, inode=r.inode + 1) for r in mapped(proc)]

    with pytest.raises(SymbolError):
        open_mapped(PID, regions[0], proc)
    modules, notices = find_modules(PID, regions, proc)
    assert modules == ()
    assert [n.code for n in notices] == ["probe.module-unreadable"]


# --- what the loader is still at --------------------------------------------------------------


@pytest.mark.parametrize(
    ("relro", "data", "settled"),
    [
        (False, "rw-p", True),
        (False, "r--p", False),  # the whole file is mapped with the first segment's rights
        (True, "rw-p", False),  # relocated, and not closed yet
        (True, "r--p", True),
    ],
)
def test_a_module_is_settled_when_its_rights_are_what_they_will_be(relro, data, settled):
    module = loaded(AT, "/liba.so", an_image(relro=relro), data=data)

    assert module.is_settled is settled


def test_a_module_is_not_settled_while_its_data_show_another_part_of_the_file():
    module = loaded(AT, "/liba.so", an_image())
    *rest, data = module.regions
    moved = dataclasses.replace(module, regions=(*rest, dataclasses.replace(data, offset=0)))

    assert not moved.is_settled


@pytest.mark.parametrize(
    ("name", "is_loader"),
    [
        ("/lib64/ld-linux-x86-64.so.2", True),
        ("/lib/ld-linux-aarch64.so.1", True),
        ("/lib/ld-musl-x86_64.so.1", True),
        ("/lib/ld-2.31.so", True),
        ("/usr/lib/libdl.so.2", False),
        ("/usr/lib/ldap.so", False),
    ],
)
def test_the_loader_is_known_by_its_name(name, is_loader):
    assert loaded(AT, name, an_image()).is_loader is is_loader


def test_a_module_goes_into_the_capture_with_its_place():
    described = loaded(AT, "/liba.so", an_image(base=0x1000), base=0x1000).described

    assert (described.path, described.build_id) == ("/liba.so", "")
    assert (described.start, described.end, described.bias) == (AT, AT + 0x4000, AT - 0x1000)
