"""The native kernels: bytes in, bytes out, no I/O. The GIL is free while one runs.

Every path (AVX-512, AVX2, portable C++) gives the same bytes; the fastest that the processor has is
taken unless :func:`use` says otherwise. docs/format/capsule.md defines what they compute.
"""

from outlast.codec._kernels import (
    DamagedError,
    Workspace,
    combine,
    decode_block,
    encode_block,
    fold,
    leaf_hashes,
    paths,
    shape,
    use,
    xxh3,
)
from outlast.core.errors import BadConfigError

__all__ = [
    "DamagedError",
    "Workspace",
    "combine",
    "decode_block",
    "encode_block",
    "fold",
    "leaf_hashes",
    "paths",
    "shape",
    "use",
    "use_named",
    "xxh3",
]


def use_named(path: str) -> None:
    """:func:`use` for what OUTLAST_SIMD says. Raises :class:`BadConfigError`."""
    try:
        use(path)
    except ValueError:
        raise BadConfigError(
            f"OUTLAST_SIMD={path}: this machine has no such kernels",
            hint=f"it has {', '.join(paths())}",
        ) from None
