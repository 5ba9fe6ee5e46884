"""A plain Frida script as one would write it: ``python -m tests.bench.frida_listener c|js PID``.

It listens to malloc and free and counts, without stacks. Says ``ready``; ends with its standard
input or by a signal. On its way out it only lets go: an unload under load ends one target in six.
"""

from __future__ import annotations

import sys
from typing import Final

import frida

_JS: Final = """
const counts = { born: 0, freed: 0 };
const c = Process.getModuleByName(LIBC);
Interceptor.attach(c.getExportByName('malloc'), {
  onEnter(args) { this.size = args[0]; },
  onLeave(block) { counts.born += 1; }
});
Interceptor.attach(c.getExportByName('free'), { onEnter(args) { counts.freed += 1; } });
"""

_C: Final = """
globalThis.counts = Memory.alloc(16);
globalThis.kept = new CModule(`
#include <gum/guminterceptor.h>
extern volatile gsize counts[2];
void malloc_enter(GumInvocationContext *ic) { }
void malloc_leave(GumInvocationContext *ic) { counts[0]++; }
void free_enter(GumInvocationContext *ic) { counts[1]++; }
`, { counts });
const c = Process.getModuleByName(LIBC);
Interceptor.attach(c.getExportByName('malloc'),
                   { onEnter: kept.malloc_enter, onLeave: kept.malloc_leave });
Interceptor.attach(c.getExportByName('free'), { onEnter: kept.free_enter });
"""


def main() -> None:
    """Attach, listen, and wait."""
    kind, pid = sys.argv[1], int(sys.argv[2])
    session = frida.attach(pid)
    find = (
        "const LIBC = Process.enumerateModules().map(m => m.name).find(n => /^libc[.-]/.test(n));"
    )
    script = session.create_script(find + (_C if kind == "c" else _JS))
    script.load()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
