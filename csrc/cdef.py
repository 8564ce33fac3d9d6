"""Writes the extension that Python calls the C helper by: cdef.py HEADER OUTPUT. Run by the build."""

import sys
from pathlib import Path

from cffi import FFI

MODULE = "qatdp.host.calls._native"


def main(header: str, output: str) -> None:
    declarations = Path(header).read_text()
    ffi = FFI()
    # cffi reads C, but knows no preprocessor.
    ffi.cdef("".join(line for line in declarations.splitlines(keepends=True) if not line.startswith("#")))
    ffi.set_source(MODULE, f'#include "{Path(header).name}"')
    ffi.emit_c_code(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
