from __future__ import annotations

import hashlib
import time

import pytest

from cgoleak.model.frames import Frame, Language
from cgoleak.model.ids import StackId
from cgoleak.model.names import plain_function, plain_module
from cgoleak.model.ownership import is_cpp_library
from cgoleak.stacks import find_sites, fold_plumbing, join
from cgoleak.stacks.infrastructure import infrastructure_of
from cgoleak.stacks.join import GAP
from cgoleak.stacks.site import group, signature
from support.builders import a_capture, a_frame, a_module, a_snapshot, a_stack, counts, frames

ROW = (
    "C row_dup csrc/png_row.c:41",
    "C encode_row csrc/png_row.c:77",
    "bridge _cgo_8f3a_Cfunc_encode_row",
    "runtime runtime.asmcgocall asm_amd64.s:923",
    "runtime runtime.cgocall cgocall.go:167",
    "bridge main._Cfunc_encode_row _cgo_gotypes.go:47",
    "Go main.encode encode.go:88",
    "Go main.worker main.go:52",
    "runtime runtime.goexit asm_amd64.s:1700",
)
CSTRING = (
    "bridge _cgo_8f3a_Cfunc__Cmalloc",
    "runtime runtime.asmcgocall",
    "runtime runtime.cgocall",
    "bridge main._cgo_cmalloc",
    "bridge main._Cfunc_CString",
    "Go main.tag tag.go:12",
    "Go main.worker main.go:52",
)


def key_of(*texts: str) -> str:
    (site,) = group({StackId(1): frames(*texts)}, set())
    return site.key


@pytest.mark.parametrize(
    "change",
    [
        ("png_row.c:41", "png_row.c:57"),
        ("8f3a", "77aa"),
        ("row_dup", "row_dup.part.0"),
        ("row_dup", "row_dup.constprop.3.isra.0"),
        ("runtime.cgocall cgocall.go:167", "runtime.cgocall cgocall.go:185"),
    ],
)
def test_a_rebuild_does_not_change_the_key(change: tuple[str, str]) -> None:
    assert key_of(*ROW) == key_of(*(line.replace(*change) for line in ROW))


@pytest.mark.parametrize("change", [("row_dup", "row_copy"), ("main.worker", "main.other")])
def test_other_code_has_another_key(change: tuple[str, str]) -> None:
    assert key_of(*ROW) != key_of(*(line.replace(*change) for line in ROW))


def test_the_same_function_of_another_library_is_another_site() -> None:
    assert key_of("C dup a.c:1 @liba.so.1") != key_of("C dup a.c:1 @libb.so.1")
    assert key_of("C dup a.c:1 @liba.so.1") == key_of("C dup a.c:1 @liba.so.2.7")


def test_a_recursion_of_any_depth_is_one_site() -> None:
    deep = ("C leaf a.c:1", *["C deep a.c:9"] * 20, "Go main.f f.go:1")

    assert key_of(*deep) == key_of(deep[0], deep[1], deep[-1])


def test_a_recursion_through_several_functions_is_one_site_at_any_depth() -> None:
    turn = ["C factor p.c:3", "C term p.c:2", "C expr p.c:1"]
    once = key_of("C node_new p.c:9", *turn, "Go main.f f.go:1")

    assert key_of("C node_new p.c:9", *turn * 7, "Go main.f f.go:1") == once
    assert key_of("C node_new p.c:9", *turn[1:], "Go main.f f.go:1") != once


def test_two_lines_of_one_function_are_one_site_with_both_stacks() -> None:
    (site,) = group(
        {
            StackId(7): frames("C f a.c:10", "Go main.g g.go:1"),
            StackId(3): frames("C f a.c:20", "Go main.g g.go:1"),
        },
        {StackId(3)},
    )

    assert site.stack_ids == (3, 7)
    assert site.frames[0].line == 20
    assert not site.complete


def test_the_allocating_function_is_the_first_of_the_users_code() -> None:
    (site,) = group(
        {
            StackId(1): frames(
                "C++ operator_new @libstdc++.so.6.0.30",
                "C++ std::vector<int>::_M_realloc_insert",
                "C++ Image::decode image.cc:9",
                "C decode_image api.cc:3",
                "bridge _cgo_1_Cfunc_decode_image",
                "Go main.decode decode.go:5",
            )
        },
        set(),
    )

    assert site.leaf is not None
    assert site.leaf.function == "Image::decode"
    assert site.go is not None
    assert site.go.function == "main.decode"


@pytest.mark.parametrize(
    "inner", ["C strdup @libc.so.6", "C __GI___strdup @libc.so.6", "C vasprintf @libc.so.6"]
)
def test_libc_helpers_are_not_the_allocating_function(inner: str) -> None:
    (site,) = group({StackId(1): frames(inner, "C tag_new tag.c:3")}, set())

    assert site.leaf is not None
    assert site.leaf.function == "tag_new"
    assert len(site.frames) == 2


def test_a_c_string_belongs_to_the_go_function_that_made_it() -> None:
    (site,) = group({StackId(1): frames(*CSTRING)}, set())

    assert site.leaf == site.go == a_frame("Go main.tag tag.go:12")


def test_a_stack_of_plumbing_only_is_known_by_its_plumbing() -> None:
    (site,) = group({StackId(1): frames("bridge x_cgo_setenv", "runtime runtime.goexit")}, set())

    assert signature(site.frames) == ("thumbnailer!x_cgo_setenv", "thumbnailer!runtime.goexit")
    assert site.leaf is None
    assert site.go is None


def test_keys_that_collide_get_more_digits_whatever_the_order() -> None:
    seen: dict[str, str] = {}
    for number in range(100_000):
        name = f"f{number}"
        digest = hashlib.sha256(f"thumbnailer!{name}".encode()).hexdigest()[:6]
        if digest in seen:
            break
        seen[digest] = name
    stacks = {
        StackId(1): frames(f"C {seen[digest]}"),
        StackId(2): frames(f"C {name}"),
        StackId(3): frames("C other"),
    }

    keys = {site.stack_ids[0]: site.key for site in group(stacks, set())}
    again = {
        site.stack_ids[0]: site.key for site in group(dict(reversed(list(stacks.items()))), set())
    }

    assert keys == again
    assert [len(keys[StackId(stack)]) for stack in (1, 2, 3)] == [8, 8, 6]


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        ("Go main.(*T).encode.func1.2", "main.(*T).encode.func"),
        ("Go main.f.gowrap1", "main.f.func"),
        ("Go main.(*T).close-fm", "main.(*T).close"),
        ("Go main.Map[go.shape.int,go.shape.[]uint8].func3", "main.Map[...].func"),
        ("C foo.cold", "foo"),
        ("C foo.lto_priv.0.part.1", "foo"),
        ("C foo.llvm.1234", "foo"),
        ("C foo.partial", "foo.partial"),
        ("C __GI_strdup", "strdup"),
        ("C malloc@@GLIBC_2.2.5", "malloc"),
        ("C foo+0x12", "foo"),
        ("unknown libz.so+0x1234 @libz.so", "libz.so+0x1234"),
    ],
)
def test_names_are_freed_of_what_compilers_append(frame: str, name: str) -> None:
    assert plain_function(a_frame(frame)) == name


def test_versions_of_a_library_are_one_module() -> None:
    assert plain_module("libpng16.so.16.37.0 (deleted)") == "libpng16.so"
    assert plain_module(None) == ""


def test_plumbing_folds_into_one_line_and_the_outer_end_is_left_out() -> None:
    folded = fold_plumbing(frames(*ROW))

    assert [frame.function for frame in folded] == [
        "row_dup",
        "encode_row",
        "… cgo call …",
        "main.encode",
        "main.worker",
    ]
    nothing_else = frames("bridge x_cgo_setenv", "runtime runtime.goexit")
    assert fold_plumbing(nothing_else) == nothing_else


@pytest.mark.parametrize(
    ("stack", "kind"),
    [
        (["C x_cgo_thread_start", "runtime runtime.asmcgocall"], "starting a thread"),
        (
            ["C calloc_tls @ld-linux-x86-64.so.2", "C pthread_create @libc.so.6", "C spawn a.c:1"],
            "starting a thread",
        ),
        (["C _dl_new_object @ld-linux-x86-64.so.2", "C load_plugin a.c:1"], "the loader"),
        (["C x_cgo_mmap", "runtime runtime.mmap"], "Go's runtime mapping memory"),
        (["C setenv @libc.so.6", "C x", "runtime runtime.f"], None),
        (["C setenv @libc.so.6", "runtime runtime.f"], "Go's runtime"),
        (["C work a.c:1", "C start_thread @libc.so.6"], None),
        (["C init a.c:1 @libplugin.so", "C call_init @ld-linux-x86-64.so.2", "C dlopen"], None),
        (list(CSTRING[:3]), None),
        (["C dup @ld-musl-x86_64.so.1", "C work a.c:1"], None),
    ],
)
def test_threads_and_the_loader_are_set_apart_from_code(stack: list[str], kind: str | None) -> None:
    assert infrastructure_of(frames(*stack)) == kind


def test_an_incomplete_stack_is_not_taken_for_the_runtime() -> None:
    stack = frames("C malloc_hook @libc.so.6", "runtime runtime.asmcgocall")

    assert infrastructure_of(stack, complete=True) == "Go's runtime"
    assert infrastructure_of(stack, complete=False) is None


def test_names_that_read_alike_because_of_a_line_break_are_one_site() -> None:
    one = tuple(Frame(Language.C, name, module="m") for name in ("a", "b"))
    other = (Frame(Language.C, "a\nm!b", module="m"),)

    (site,) = group({StackId(1): one, StackId(2): other}, set())

    assert site.stack_ids == (1, 2)


def test_addresses_without_names_are_told_by_module_and_offset() -> None:
    capture = a_capture([a_snapshot(1, {0: counts(1), 9: counts(1)})])
    capture.stacks[StackId(9)] = a_stack(9, [0x400123, 0, 0x7F0000000000])  # type: ignore[index]

    found = join(capture)[StackId(9)]
    sites = find_sites(capture)

    assert a_module().start == 0x400000
    assert [frame.function for frame in found] == [
        "thumbnailer+0x400123",
        GAP.function,
        "0x7f0000000000",
    ]
    assert found[0].lang is Language.UNKNOWN
    assert sorted(site.stack_ids for site in sites) == [(0,), (9,)]


@pytest.mark.parametrize("piece", [".part.0", ".0", "@@A", " [clone ", ".func1", "["])
def test_hostile_names_cost_no_time(piece: str) -> None:
    for lang in (Language.C, Language.GO):
        for length in (500, 100_000):
            frame = Frame(lang=lang, function=piece * length + "!", module="m")
            started = time.process_time()

            assert plain_function(frame)
            assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("std::__cxx11::basic_string<char>::_M_create(unsigned long&, unsigned long)", True),
        ("void std::vector<int, std::allocator<int> >::_M_realloc_insert<int>(int)", True),
        ("operator new(unsigned long)", True),
        ("std::unique_ptr<Tag, std::default_delete<Tag> > make_tag<int>(int)", False),
        ("make_tag(std::string const&)", False),
        ("(anonymous namespace)::make(std::string)", False),
        ("Tag::operator new(unsigned long)", False),
    ],
)
def test_the_cpp_library_is_told_from_code_that_uses_it(name: str, library: bool) -> None:  # noqa: FBT001
    assert is_cpp_library(name) is library
