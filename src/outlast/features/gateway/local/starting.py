"""Starts the engine of a model of the archive: its files are checked, the rules are asked, of the
model and of each adapter.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.errors import OutlastError, PolicyError
from outlast.core.names import Target
from outlast.engines.choose import LLAMA
from outlast.engines.llama import LlamaOptions
from outlast.engines.served import ServedModel, Service
from outlast.features.gateway.routes.values import LocalModel
from outlast.features.gateway.upstream.faults import Fault, FaultKind
from outlast.ops.run import Prepared, prepare
from outlast.ops.run_adapter import ReadyAdapter, prepare_adapter
from outlast.server.http.replies import without_paths
from outlast.server.model.engines import engine_for, serve_model
from outlast.server.model.loaded import loaded_by
from outlast.server.model.origin import Origin
from outlast.server.model.requests import Loaded, LoadedAdapter
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that answers, with those `adapters` that could be loaded; of the others `refused`
    says why not. `held` is what its files need. Close it from a thread that may wait.
    """

    engine: ServedModel
    loaded: Loaded
    origin: Origin
    adapters: Mapping[Target, LoadedAdapter]
    refused: Mapping[Target, Fault]
    held: contextlib.ExitStack

    def name_of(self, adapter: Target | None) -> str:
        """What the engine calls the model with this adapter. Raises :class:`Fault`."""
        if adapter is None:
            return self.loaded.name
        if adapter in self.refused:
            raise self.refused[adapter]
        return self.adapters[adapter].name

    def origin_of(self, adapter: Target) -> Origin:
        """Of answers with this adapter."""
        found = self.adapters.get(adapter)
        return self.origin if found is None else self.origin.with_adapter(found.manifest)

    def close(self) -> None:
        """Ends the engine, and lets its files go."""
        with self.held:
            self.engine.close()


@dataclass(frozen=True, slots=True)
class Starter:
    """What engines are started from. `budget`: bytes of working copies (None: as the archive's
    disk has).
    """

    archive: Archive
    control: Control
    budget: int | None = None

    def start(self, model: LocalModel, cancel: Cancel) -> Running:
        """Takes as long as it takes to load; ends early once `cancel` is set. Raises
        :class:`Fault`: the rules refuse it, it is not archived, or the engine does not start.
        """
        try:
            return self._start(model, cancel)
        except OutlastError as error:
            raise _fault(error) from error

    def _start(self, model: LocalModel, cancel: Cancel) -> Running:
        options = LlamaOptions(model.context, model.threads, model.gpu_layers, sealed=model.sealed)
        control = Control(self.control.emit, cancel)
        refused: dict[Target, Fault] = {}
        ready: dict[Target, ReadyAdapter] = {}
        with contextlib.ExitStack() as stack:
            prepared = stack.enter_context(
                prepare(
                    self.archive,
                    model.model,
                    wanted=model.file,
                    engine=self._engine(model, refused),
                    recheck=False,
                    budget=self.budget,
                    control=control,
                )
            )
            for target in model.adapters:
                if target not in refused:
                    self._open(target, prepared, stack, control, ready=ready, refused=refused)
            service = Service(str(model.model.repo))
            adapters = list(ready.values())
            engine = stack.enter_context(serve_model(prepared, adapters, service, options, cancel))
            prepared.confirm()
            held = stack.pop_all()
        loaded = loaded_by(engine, prepared, adapters)
        sealing = engine.sealing
        by = () if sealing is None else sealing.by
        origin = Origin(prepared.revision.digest.hex, engine.build, by)
        names = dict(zip(ready, loaded.adapters, strict=True))
        return Running(engine, loaded, origin, names, refused, held)

    def _engine(self, model: LocalModel, refused: dict[Target, Fault]) -> str | None:
        """The engine that reads all adapters that are archived; llama.cpp where there is none."""
        there = []
        for target in model.adapters:
            try:
                self.archive.revision(target.repo, target.ref)
            except OutlastError as error:
                refused[target] = _fault(error)
            else:
                there.append(target)
        return engine_for(self.archive, there, None) if there else LLAMA

    def _open(
        self,
        target: Target,
        prepared: Prepared,
        stack: contextlib.ExitStack,
        control: Control,
        *,
        ready: dict[Target, ReadyAdapter],
        refused: dict[Target, Fault],
    ) -> None:
        """Prepares one adapter. What speaks against it concerns the targets with it alone."""
        try:
            found = prepare_adapter(
                self.archive,
                target,
                prepared.revision,
                any_base=False,
                budget=self.budget,
                control=control,
            )
        except OutlastError as error:
            refused[target] = _fault(error)
        else:
            ready[target] = stack.enter_context(found)


def _fault(error: OutlastError) -> Fault:
    kind = FaultKind.RULES if isinstance(error, PolicyError) else FaultKind.ENGINE
    return Fault(kind, without_paths(str(error)))
