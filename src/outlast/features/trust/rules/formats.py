"""In which formats a model's files are, by their names: the words that rules can ask for."""

from collections.abc import Iterable
from typing import Final

_BY_SUFFIX: Final = {
    ".safetensors": "safetensors",
    ".gguf": "gguf",
    ".onnx": "onnx",
    ".onnx_data": "onnx",
    ".json": "json",
    ".jsonl": "json",
    ".md": "text",
    ".txt": "text",
    ".jinja": "text",
    ".yaml": "text",
    ".yml": "text",
    ".toml": "text",
    ".csv": "text",
    ".model": "tokenizer",
    ".tiktoken": "tokenizer",
    ".vocab": "tokenizer",
    ".png": "image",
    ".jpg": "image",
    ".jpeg": "image",
    ".gif": "image",
    ".webp": "image",
    ".svg": "image",
    ".pdf": "document",
    ".py": "code",
    ".ipynb": "code",
    ".sh": "code",
    ".so": "code",
    ".dll": "code",
    ".dylib": "code",
    ".exe": "code",
    ".js": "code",
    ".bin": "pickle",
    ".pt": "pickle",
    ".pth": "pickle",
    ".ckpt": "pickle",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".joblib": "pickle",
    ".npy": "numpy",
    ".npz": "numpy",
    ".h5": "hdf5",
    ".keras": "hdf5",
    ".msgpack": "msgpack",
    ".tflite": "tflite",
    ".pb": "tensorflow",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".zip": "container",
    ".tar": "container",
    ".gz": "container",
    ".7z": "container",
    ".mlmodel": "coreml",
    ".mlpackage": "coreml",
    ".nemo": "container",
    ".llamafile": "code",
}
_TEXT_NAMES: Final = frozenset({"license", "licence", "notice", "copying", "readme", "merges"})
OTHER: Final = "other"
FORMATS: Final = frozenset({*_BY_SUFFIX.values(), OTHER})


def formats_of(paths: Iterable[str]) -> frozenset[str]:
    """The formats of files with these paths. What a name does not tell is `other`: also a file
    without an ending, but for licences and the like; `.gitattributes` is text.
    """
    return frozenset(map(_format, paths))


def _format(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    if name in _TEXT_NAMES or name in {".gitattributes", ".gitignore"}:
        return "text"
    stem, dot, ending = name.rpartition(".")
    return _BY_SUFFIX.get(f".{ending}", OTHER) if dot and stem else OTHER
