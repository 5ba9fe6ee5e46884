"""Which malloc is in use: by file names of real maps, and by what real allocators contain."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cgoleak.target.gobinary import Libc
from cgoleak.target.kernel.procfs import parse_maps
from cgoleak.target.libc.allocator import allocator_in, find_allocator
from support.native_build import tool
from support.proctree import a_process

LIBC_PATH = "/usr/lib/x86_64-linux-gnu/libc.so.6"
GLIBC = Libc("glibc", "2.36", LIBC_PATH)
MAPS = """\
00400000-00902000 r-xp 00000000 fe:00 81  /srv/worker
7f2a40000000-7f2a40021000 rw-p 00000000 00:00 0
7f2a44a00000-7f2a44a8f000 r-xp 0000a000 fe:00 90  {preloaded}
7f2a44c00000-7f2a44d56000 r-xp 00026000 fe:00 12  /usr/lib/x86_64-linux-gnu/libc.so.6
7f2a44f00000-7f2a44f26000 r-xp 00001000 fe:00 13  /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
"""
PLACES = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib"))
REAL = {
    "jemalloc": "libjemalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
    "mimalloc": "libmimalloc.so.2",
}
WORDS = {
    "jemalloc": "<jemalloc>: Error in munmap(): ",
    "tcmalloc": "MallocExtension_ReleaseFreeMemory",
    "mimalloc": "mimalloc: warning: ",
}


def named(tmp_path: Path, preloaded: str | Path, exe: Path | None = None) -> str | None:
    text = MAPS.format(preloaded=preloaded)
    if not (tmp_path / "proc").exists():
        a_process(tmp_path / "proc", 42, exe=exe or "/srv/worker", maps=text)
    return find_allocator(42, tuple(parse_maps(text.encode())), GLIBC, tmp_path / "proc")


def compiled(to: Path, *flags: str, words: str = "", defines: bool = True) -> Path:
    """Build a file that has a ``malloc``, or calls one, and these words."""
    body = "{ return (void *)text + n; }"
    head = "void *malloc(unsigned long n)" if defines else "void *other(unsigned long n)"
    code = f'const char text[] = "{words}"; {head} {body}\nint main(void) {{ return 0; }}\n'
    subprocess.run(
        [tool("cc"), "-w", "-fno-builtin", "-xc", "-", *flags, "-o", str(to)],
        input=code.encode(),
        check=True,
        timeout=60,
    )
    return to


@pytest.mark.parametrize(
    ("file", "allocator"),
    [
        ("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "jemalloc"),
        ("/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4.5.10", "tcmalloc"),
        ("/usr/lib/x86_64-linux-gnu/libmimalloc.so.2.0", "mimalloc"),
        ("/opt/libmimalloc-secure.so.2.1", "mimalloc"),
        ("/usr/lib/libz.so.1", "glibc"),
    ],
)
def test_a_preloaded_allocator_hides_the_one_of_libc(tmp_path, file, allocator):
    assert named(tmp_path, file) == allocator


def test_without_libc_and_allocator_there_is_no_name(tmp_path):
    a_process(tmp_path, 42)

    assert find_allocator(42, (), None, tmp_path) is None


@pytest.mark.native
@pytest.mark.parametrize("allocator", WORDS)
def test_a_library_of_another_name_is_known_by_its_words(tmp_path, allocator):
    library = compiled(tmp_path / "libfast.so", "-shared", "-fPIC", words=WORDS[allocator])

    assert named(tmp_path, library, exe=Path("/bin/true")) == allocator


@pytest.mark.native
def test_an_allocator_in_the_executable_is_found_there_stripped_or_not(tmp_path):
    exe = compiled(tmp_path / "worker", "-rdynamic", "-s", words=WORDS["jemalloc"])

    assert named(tmp_path, "/usr/lib/libz.so.1", exe=exe) == "jemalloc"


@pytest.mark.native
def test_a_file_that_only_mentions_an_allocator_is_none(tmp_path):
    words = " ".join(WORDS.values())
    library = compiled(tmp_path / "libdocs.so", "-shared", "-fPIC", words=words, defines=False)

    assert named(tmp_path, library) == "glibc"


@pytest.mark.native
def test_an_interposer_that_nobody_knows_leaves_the_malloc_of_libc(tmp_path):
    assert named(tmp_path, compiled(tmp_path / "libtrace.so", "-shared", "-fPIC")) == "glibc"


@pytest.mark.parametrize("allocator", REAL)
def test_the_real_allocators_are_known_whatever_their_file_is_called(tmp_path, allocator):
    found = next(
        (place / REAL[allocator] for place in PLACES if (place / REAL[allocator]).exists()), None
    )
    if found is None:
        pytest.skip(f"{REAL[allocator]} is not installed")
    copy = tmp_path / "libspeed.so"
    shutil.copy(found, copy)

    assert named(tmp_path, copy) == allocator


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"no ELF file", b"\x7fELF\x02\x01" + bytes(90)]
)
def test_a_file_that_is_torn_names_nothing(tmp_path, content):
    file = tmp_path / "libtorn.so"
    file.write_bytes(content)

    assert allocator_in(file) is None
