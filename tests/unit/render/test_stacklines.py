"""Stacks as people read them."""

from __future__ import annotations

import pytest

from cgoleak.model.frames import Frame, Language
from cgoleak.model.names import brief_name, readable_name, short_name
from cgoleak.render.stacklines import site_names, site_words, stack_lines
from cgoleak.render.visible import shorten_left, shorten_middle, visible
from support.builders import a_frame, frames
from support.reports import LEAK_STACK


def texts(*stack, full=False):
    return [line.text for line in stack_lines(frames(*stack), full=full)]


def test_plumbing_between_c_and_go_is_one_line_and_the_start_of_the_goroutine_none():
    assert texts(
        "C leaf", "bridge _cgo_Cfunc_f", "runtime runtime.cgocall", "Go main.f", "runtime goexit"
    ) == ["leaf", "… cgo call …", "main.f"]


def test_a_callback_from_c_into_go_is_told_from_a_call():
    assert texts(
        "C inner",
        "runtime runtime.cgocall",
        "Go main.goCallback",
        "runtime runtime.cgocallback",
        "bridge crosscall2",
        "C outer",
        "runtime runtime.cgocall",
        "Go main.main",
    ) == [
        "inner",
        "… cgo call …",
        "main.goCallback",
        "… callback from C …",
        "outer",
        "… cgo call …",
        "main.main",
    ]


def test_runtime_between_two_go_functions_is_not_called_a_callback():
    assert texts("Go a", "runtime reflect.call", "Go b") == ["a", "… Go runtime …", "b"]


def test_an_allocation_by_the_bridge_itself_says_what_go_called():
    assert texts("bridge _cgo_Cfunc__Cmalloc", "runtime runtime.cgocall", "Go main.f") == [
        "C.malloc … cgo call …",
        "main.f",
    ]


def test_c_string_is_named_although_it_has_no_c_frame():
    stack = frames(
        "bridge _cgo_91_Cfunc__Cmalloc",
        "runtime runtime.cgocall",
        "bridge main._Cfunc__CMalloc",
        "bridge main._Cfunc_CString",
        "Go main.encode /src/main.go:7",
    )

    assert site_words(stack) == "C.CString ← main.encode (main.go:7)"
    assert stack_lines(stack)[0].text == "C.CString … cgo call …"


def test_a_function_that_ends_in_the_call_of_an_allocator_is_named_by_the_stub():
    stack = frames(
        "C __GI___strdup /src/strdup.c:42 @libc.so.6",
        "bridge _cgo_91_Cfunc_next",
        "bridge main._Cfunc_next",
        "Go main.encode /src/main.go:7",
    )

    assert site_words(stack) == "C.next ← main.encode (main.go:7)"
    assert [line.text for line in stack_lines(stack)] == [
        "__GI___strdup",
        "C.next … cgo call …",
        "main.encode",
    ]


def test_of_the_cpp_library_only_what_was_called_is_shown():
    std = [
        Frame(Language.CPP, name, None, None, "worker")
        for name in (
            "operator new(unsigned long)",
            "std::_Vector_base<int, std::allocator<int> >::_M_allocate(unsigned long)",
            "std::vector<int, std::allocator<int> >::push_back(int&&)",
        )
    ]

    lines = stack_lines((*std, *frames("C++ feed", "Go main.f")))

    assert [line.text for line in lines] == [
        "… 2 frames in std …",
        "std::vector<int>::push_back(int&&)",
        "feed",
        "main.f",
    ]
    assert len(stack_lines(tuple(std), full=True)) == 3


def test_a_stub_under_a_c_function_is_not_named_again():
    assert texts("C leaf", "bridge main._Cfunc_f", "Go main.f")[1] == "… cgo call …"


def test_a_stack_of_nothing_but_plumbing_is_shown_as_it_is():
    assert texts("bridge crosscall1", "runtime runtime.mstart") == ["crosscall1", "runtime.mstart"]


def test_recursion_is_counted():
    assert texts(*["C deep a.c:1"] * 20, "C main b.c:2") == ["deep (20 times)", "main"]


def test_a_long_stack_loses_its_middle_and_says_how_much():
    lines = texts(*(f"C f{index}" for index in range(100)))

    assert len(lines) == 23
    assert lines[14] == "… 78 more frames …"
    assert (lines[0], lines[-1]) == ("f0", "f99")


def test_full_stacks_show_every_frame():
    assert len(stack_lines(LEAK_STACK, full=True)) == len(LEAK_STACK)


def test_a_frame_without_a_file_says_in_which_module_it_is():
    (line,) = stack_lines(frames("C inflate @libz.so.1"))

    assert line.place == "in libz.so.1"


def test_a_frame_named_by_its_module_does_not_repeat_it():
    (line,) = stack_lines(frames("unknown libz.so.1+0x1234 @libz.so.1"))

    assert line.place == ""


def test_a_site_is_named_by_its_allocating_and_its_go_function():
    assert site_words(LEAK_STACK) == "row_dup (png_row.c:41) ← main.encode (encode.go:88)"


def test_containers_of_the_cpp_library_do_not_name_a_site():
    stack = frames("C++ std::vector<int>::push_back", "C++ fill a.cc:1", "Go main.f")

    assert site_words(stack) == "fill (a.cc:1) ← main.f"


def test_a_site_of_a_c_thread_is_named_by_its_outermost_function():
    assert site_words(frames("C leaf", "C middle", "C thread_main")) == "leaf ← thread_main"


def test_a_site_without_frames_has_words_too():
    assert site_words(()) == "unknown stack"
    assert site_words(frames("runtime runtime.x")) == "runtime.x"


def test_what_does_not_print_is_shown_as_its_code():
    assert visible("a\x1b[1mb\u202ec\U000e0001\udcff") == "a\\x1b[1mb\\u202ec\\U000e0001\\udcff"
    assert visible("żółw → 亀") == "żółw → 亀"


def test_a_name_without_end_is_cut():
    assert len(visible("x" * 1_000_000)) < 5000


def test_shortening_keeps_the_telling_end():
    assert shorten_middle("abcdefghij", 5) == "ab…ij"
    assert shorten_left("/very/long/path/file.c:12", 10) == "…file.c:12"
    assert shorten_middle("abc", 3) == shorten_left("abc", 3) == "abc"


def test_behind_a_required_module_the_program_s_own_caller_is_named():
    stack = frames(
        "C sqlite3MemMalloc sqlite3.c:1",
        "runtime runtime.cgocall",
        "Go github.com/mattn/go-sqlite3.(*SQLiteConn).prepare /go-sqlite3@v1.14.24/sqlite3.go:9",
        "Go database/sql.(*DB).Prepare /usr/go/src/database/sql/sql.go:7",
        "Go main.userByID /src/app/main.go:76",
    )

    assert site_words(stack) == (
        "sqlite3MemMalloc (sqlite3.c:1)"
        " ← github.com/mattn/go-sqlite3.(*SQLiteConn).prepare (sqlite3.go:9)"
        " ← main.userByID (main.go:76)"
    )


def test_a_long_name_in_cpp_loses_its_parameters_and_template_arguments():
    made = (
        "std::unique_ptr<duckdb::Plan> duckdb::make_uniq<duckdb::Plan, duckdb::Vector&>(int, char)"
    )
    kept = "duckdb::Vector::Resize(unsigned long)"

    assert [short_name(a_frame("C++ f")._replace(function=name)) for name in (made, kept)] == [
        "std::unique_ptr<…> duckdb::make_uniq<…>(…)",
        kept,
    ]


@pytest.mark.parametrize(
    "library",
    [
        "std::vector<int>::push_back(int&&)",
        "void std::__cxx11::basic_string<char>::_M_construct<char*>(char*, char*)",
        "char* std::__find<char>(char*)",
        "operator new(unsigned long)",
    ],
)
def test_a_site_is_not_named_by_the_cpp_library(library):
    stack = (Frame(Language.CPP, library), *frames("C++ mine::make a.cc:3", "Go main.f b.go:9"))

    assert site_words(stack) == "mine::make (a.cc:3) ← main.f (b.go:9)"


def test_a_function_that_takes_library_types_is_no_library():
    name = "mine::T<int, std::allocator<int> >::f(std::string)"

    assert "mine::T" in site_words((Frame(Language.CPP, name), *frames("Go main.f b.go:9")))


def test_the_c_library_does_not_name_a_site_even_where_its_symbols_are_known():
    stack = frames(
        "C __GI___strdup strdup.c:42 @libc.so.6",
        "C title meta.c:18 @worker",
        "Go main.f b.go:9 @worker",
    )

    assert site_words(stack) == "title (meta.c:18) ← main.f (b.go:9)"


def test_a_site_of_a_c_thread_is_not_named_by_how_libc_starts_threads():
    stack = frames(
        "C leaf a.c:1 @worker",
        "C job_main a.c:9 @worker",
        "C start_thread pthread_create.c:442 @libc.so.6",
        "C clone3 @libc.so.6",
    )

    assert site_words(stack) == "leaf (a.c:1) ← job_main (a.c:9)"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("example.org/img/png.(*Encoder).Do", "png.(*Encoder).Do"),
        ("example.org/img/v2.Do.func1", "img/v2.Do.func1"),
        ("main.Map[go.shape.int,example.org/x/y.T]", "main.Map[go.shape.int,example.org/x/y.T]"),
        ("main.f", "main.f"),
    ],
)
def test_people_say_a_go_function_without_the_path_of_its_package(function, said):
    assert brief_name(Frame(Language.GO, function)) == said


def test_a_site_is_said_by_who_allocates_and_who_calls():
    stack = frames("C leaf a.c:1", "Go example.org/a/b.F b.go:9")

    assert site_names(stack) == ("leaf (a.c:1)", "b.F (b.go:9)")


_STRING = "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >"
_VECTOR = "std::vector<int, std::allocator<int> >"
_TRAITS = "std::__1::char_traits<wchar_t>"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (f"text::draw(int, {_STRING} const&)", "text::draw(int, std::string const&)"),
        (f"{_STRING}::append(char const*)", "std::string::append(char const*)"),
        (f"std::__1::basic_string<wchar_t, {_TRAITS}, std::__1::allocator<wchar_t>>::f()",
         "std::wstring::f()"),
        ("f(std::basic_string_view<char, std::char_traits<char> >)", "f(std::string_view)"),
        (f"std::vector<{_STRING}, std::allocator<{_STRING} > >::push_back({_STRING} const&)",
         "std::vector<std::string>::push_back(std::string const&)"),
        (f"f(std::vector<{_VECTOR}, std::allocator<{_VECTOR} > >&)",
         "f(std::vector<std::vector<int>>&)"),
        ("std::vector<int, my::pool<int> >::f()", "std::vector<int, my::pool<int> >::f()"),
        ("std::vector<int, std::allocator<long> >::f()",
         "std::vector<int, std::allocator<long> >::f()"),
        ("mystd::__1::f()", "mystd::__1::f()"),
    ],
)  # fmt: skip
def test_the_standard_library_of_cpp_is_named_as_its_users_write_it(function, said):
    frame = Frame(Language.CPP, function)
    assert readable_name(frame) == said
    assert [line.text for line in stack_lines([frame])] == [said]


def test_a_name_that_is_made_to_be_slow_is_read_at_once():
    hostile = "std::" + "<a<b>" * 800
    assert readable_name(Frame(Language.CPP, hostile)) == hostile
