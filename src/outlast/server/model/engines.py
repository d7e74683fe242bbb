"""Run as a server: a prepared model and its adapters, in the engine that reads both."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError, UsageError
from outlast.core.names import Target
from outlast.engines.choose import LLAMA, TRANSFORMERS, EngineName
from outlast.engines.llama import LlamaOptions, serve
from outlast.engines.served import ServedModel, Service
from outlast.engines.transformers import (
    AdapterFile,
    CodeFile,
    TransformersOptions,
    serve_transformers,
)
from outlast.ops.run import Prepared
from outlast.ops.run_adapter import ReadyAdapter, gguf_adapter
from outlast.store.archive import Archive


def engine_for(
    archive: Archive, adapters: Sequence[Target], wanted: str | None
) -> str | EngineName | None:
    """The engine that reads these adapters: `wanted` (None: any), unless it cannot. None where the
    base decides. Raises :class:`UsageError` and :class:`EngineError` where no engine reads all.
    """
    kinds = set()
    for target in adapters:
        revision = archive.revision(target.repo, target.ref)
        kinds.add(TRANSFORMERS if gguf_adapter(archive, revision) is None else LLAMA)
    if len(kinds) > 1:
        raise UsageError(
            "adapters in GGUF and adapters of PEFT run in different engines",
            hint="'outlast convert org/adapter --gguf' makes one of the first kind",
        )
    if not kinds:
        return wanted
    [kind] = kinds
    if wanted is not None and wanted != kind:
        hint = "'outlast convert org/adapter --gguf' makes one that llama.cpp reads"
        raise EngineError(
            f"{wanted} does not read this adapter: {kind} does",
            hint=hint if kind == TRANSFORMERS else "leave --engine out",
        )
    # PEFT's run on safetensors, or on a GGUF file that is dequantised.
    return LLAMA if kind == LLAMA else wanted


def serve_model(
    prepared: Prepared,
    adapters: Sequence[ReadyAdapter],
    service: Service,
    options: LlamaOptions,
    cancel: Cancel,
    *,
    code_hint: str = "",
) -> ServedModel:
    """Loads the model with all `adapters`, in their order, and serves it on a private socket.
    Transformers serve safetensors, and whatever has adapters of PEFT; llama.cpp the rest.
    `code_hint`: what to do where the model needs code that was not allowed. Raises what loading
    raises.
    """
    of_peft = [one for one in adapters if one.adapter is not None]
    if prepared.choice.engine == LLAMA and not of_peft:
        found = tuple(str(one.path) for one in adapters)
        paths = [str(path) for path in prepared.paths]
        return serve(paths, service, replace(options, adapters=found), cancel)
    place = prepared.folder if prepared.folder is not None else prepared.paths[0]
    choice = transformers_options(options, adapters, prepared.code, code_hint)
    return serve_transformers(str(place), service, choice, cancel)


def transformers_options(
    options: LlamaOptions,
    adapters: Sequence[ReadyAdapter],
    code: Mapping[str, CodeFile],
    code_hint: str,
) -> TransformersOptions:
    """The same wishes for the other engine, which may import the `code` of the model."""
    return TransformersOptions(
        threads=options.threads,
        log=options.log,
        waits=options.waits,
        sealed=options.sealed,
        adapters=tuple(
            AdapterFile(str(one.path), one.adapter.peft_config())
            for one in adapters
            if one.adapter is not None
        ),
        code=code,
        code_hint=code_hint,
        tuning=options.tuning,
    )
