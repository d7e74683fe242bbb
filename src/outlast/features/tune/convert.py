"""Use case: write a model or an adapter as GGUF, by llama.cpp's own converter, and archive that."""

import hashlib
import importlib.util
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from outlast import __version__
from outlast.core.control import Control
from outlast.core.errors import DiskFullError, EngineError
from outlast.core.names import Target
from outlast.core.records.lineage import AncestorRole, LineageRecord, MadeFrom, Making, WeightsForm
from outlast.engines.adapters import LoraAdapter
from outlast.engines.gguf import read_header
from outlast.engines.process import Log
from outlast.features.tune.archived import archive_made
from outlast.features.tune.base import TuneBase, open_base, refuse_same
from outlast.features.tune.session import WorkSession, require_packages
from outlast.features.tune.tune import FOLDER
from outlast.ops.add import Added
from outlast.ops.run_adapter import base_of, is_adapter, prepare_adapter
from outlast.store import disk
from outlast.store.archive import Archive

FORMS: Final = ("auto", "f32", "f16", "bf16", "q8_0")
_MODEL_SCRIPT: Final = "convert_hf_to_gguf"
_LORA_SCRIPT: Final = "convert_lora_to_gguf"
_ADAPTER: Final = "adapter.safetensors"
_MOST_SCRIPT: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class GgufWishes:
    """`form`: one of :data:`FORMS`. `converter`: a folder with llama.cpp's scripts (None: what is
    installed). `budget`: bytes of working copies.
    """

    form: str = "auto"
    converter: Path | None = None
    budget: int | None = None
    log: Log | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """A GGUF file in the archive; `adapter`: it is a LoRA, and no model."""

    record: LineageRecord
    added: Added
    adapter: bool


@dataclass(frozen=True, slots=True)
class Converter:
    """One of llama.cpp's scripts: its file, and the sha256 of that, in hex."""

    path: Path
    digest: str


def convert(
    archive: Archive, target: Target, out: Target, wishes: GgufWishes, control: Control
) -> Converted:
    """Archives `target` as GGUF under the name `out`. Of an adapter, the base has to be archived
    too: the converter reads its configuration. Raises what preparing them does, and
    :class:`EngineError` where the converter is missing or refuses, or for an adapter that GGUF has
    no place for.
    """
    refuse_same(target, out)
    archive.refs.refuse_twin(out.repo)
    revision = archive.revision(target.repo, target.ref)
    lora = is_adapter(revision)
    if lora and wishes.form == FORMS[0]:
        # For an adapter the script cannot guess; this is its own default, and loses nothing.
        wishes = replace(wishes, form="f32")
    converter = find_converter(wishes.converter, lora=lora)
    require_packages("gguf")
    with disk.reporting(archive.layout.tmp):
        place = archive.layout.home / FOLDER
        disk.make_dir(place)
        with tempfile.TemporaryDirectory(dir=place, prefix="convert-") as made:
            file = Path(made) / f"{out.repo.name.rpartition('/')[2]}.gguf"
            job = _adapter if lora else _model
            record = job(archive, target, file, converter, wishes, control=control)
            added = archive_made(archive, Path(made), out, record, control=control)
    return Converted(record, added, lora)


def find_converter(folder: Path | None, *, lora: bool) -> Converter:
    """llama.cpp's script for a model or an adapter: in `folder`, else where Python finds it."""
    name = _LORA_SCRIPT if lora else _MODEL_SCRIPT
    if folder is not None:
        path = folder / f"{name}.py"
        if not path.is_file():
            raise EngineError(
                f"there is no {name}.py in {folder}",
                hint="--converter names a checkout of llama.cpp",
            )
    else:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise EngineError(
                f"this needs llama.cpp's {name}.py, which is not installed",
                hint="git clone https://github.com/ggml-org/llama.cpp, and --converter llama.cpp",
            )
        path = Path(spec.origin)
    with disk.reporting(path), path.open("rb") as file:
        data = file.read(_MOST_SCRIPT)
    return Converter(path.absolute(), hashlib.sha256(data).hexdigest())


def _model(
    archive: Archive,
    target: Target,
    file: Path,
    converter: Converter,
    wishes: GgufWishes,
    *,
    control: Control,
) -> LineageRecord:
    with open_base(archive, target, wanted=None, budget=wishes.budget, control=control) as base:
        if base.gguf:
            raise EngineError(f"{target} has no safetensors: it is a GGUF file already")
        _require_room(base.prepared.choice.size, file)
        versions = _write(base, {}, file, converter, wishes, control=control)
        return _record((base.ancestor,), wishes, versions)


def _adapter(
    archive: Archive,
    target: Target,
    file: Path,
    converter: Converter,
    wishes: GgufWishes,
    *,
    control: Control,
) -> LineageRecord:
    revision = archive.revision(target.repo, target.ref)
    with (
        open_base(
            archive,
            base_of(archive, revision),
            wanted=None,
            budget=wishes.budget,
            control=control,
        ) as base,
        prepare_adapter(
            archive,
            target,
            base.revision,
            any_base=False,
            budget=wishes.budget,
            control=control,
        ) as ready,
    ):
        assert ready.adapter is not None
        lora = {"file": _ADAPTER, "config": _plain_config(ready.adapter)}
        links = {_ADAPTER: ready.path}
        _require_room(revision.size, file)
        versions = _write(
            base, {"lora": lora}, file, converter, wishes, links=links, control=control
        )
        role = AncestorRole.ADAPTER
        own = MadeFrom(revision.repo, revision.digest, revision.commit, role, WeightsForm.ORIGINAL)
        return _record((own, base.ancestor), wishes, versions)


def _plain_config(adapter: LoraAdapter) -> dict[str, Any]:
    """What the converter reads of an adapter. GGUF has one alpha, which each module's rank divides.
    Raises :class:`EngineError` for an adapter that is scaled otherwise.
    """
    alphas = {adapter.scale(name) * rank for name, rank in adapter.modules.items()}
    if adapter.magnitudes or len(alphas) != 1:
        raise EngineError(
            "GGUF has no place for this adapter's scales (DoRA, rank-stabilised, or an alpha of "
            "its own for some modules)",
            hint="'outlast merge' makes a model of it, which can be converted",
        )
    return {"lora_alpha": alphas.pop(), "r": max(adapter.modules.values()), "peft_type": "LORA"}


def _write(
    base: TuneBase,
    more: dict[str, Any],
    file: Path,
    converter: Converter,
    wishes: GgufWishes,
    *,
    links: dict[str, Path] | None = None,
    control: Control,
) -> dict[str, str]:
    """Has the converter write `file`; versions of what it used."""
    config = {
        "form": wishes.form,
        "lora": None,
        "made": os.path.abspath(file),
        "model": base.place,
        "name": base.revision.repo.name.rpartition("/")[2],
        "script": str(converter.path),
        **more,
    }
    module = "outlast.features.tune.work.convert_main"
    every = {**base.links, **(links or {})}
    with WorkSession(config, every, control, module=module, log=wishes.log) as session:
        base.prepared.confirm()
        session.ask("convert")
        versions: dict[str, str] = dict(session.facts["versions"])
    header = read_header(str(file))
    if header.is_adapter != (config["lora"] is not None):
        raise EngineError("what the converter wrote is of another kind")
    return {**versions, "converter": f"sha256:{converter.digest}"}


def _require_room(size: int, file: Path) -> None:
    # In fp32 a model of bf16 takes twice its bytes.
    needed = 2 * size
    if needed > (free := disk.free_bytes(file.parent)):
        raise DiskFullError(f"this needs {needed} bytes; {free} are free in {file.parent}")


def _record(
    ancestors: tuple[MadeFrom, ...], wishes: GgufWishes, versions: dict[str, str]
) -> LineageRecord:
    return LineageRecord(
        Making.CONVERSION,
        ancestors,
        parameters={"format": "gguf", "type": wishes.form},
        versions={**versions, "outlast": __version__},
    )
