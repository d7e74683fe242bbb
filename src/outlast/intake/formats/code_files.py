"""Which files of a model are code, by their names. `run` lays none of them out for an engine, which
gets Python files alone, where the operator allowed them.
"""

import re
from typing import Final

_CODE: Final = re.compile(
    r"[^/]\.(?:bash|bat|c|cc|class|cmd|cpp|cu|dll|dylib|exe|go|h|hpp|ipynb|jar|java|jl|js|llamafile"
    r"|lua|mjs|php|pl|ps1|py|pyc|pyd|pyw|r|rb|rs|sh|so|ts|vbs|wasm|whl)\Z",
    re.IGNORECASE,
)


def is_code(path: str) -> bool:
    """Whether a file is source code, a notebook, or a program for a processor."""
    return _CODE.search(path) is not None
