"""Starts the engine of a model of the archive: its files are checked, the rules are asked."""

import contextlib
from dataclasses import dataclass

from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.errors import OutlastError, PolicyError
from outlast.engines.choose import LLAMA
from outlast.engines.llama import LlamaOptions, LlamaServer, Service, serve
from outlast.features.gateway.routes.values import LocalModel
from outlast.features.gateway.upstream.faults import Fault, FaultKind
from outlast.ops.run import Prepared, prepare
from outlast.server.http.replies import without_paths
from outlast.server.model.origin import Origin
from outlast.server.model.requests import Loaded
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that answers. Close it from a thread that may wait."""

    prepared: Prepared
    engine: LlamaServer
    loaded: Loaded
    origin: Origin

    def close(self) -> None:
        """Ends the engine, and lets its files go."""
        with self.prepared:
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
        except PolicyError as error:
            raise Fault(FaultKind.RULES, without_paths(str(error))) from error
        except OutlastError as error:
            raise Fault(FaultKind.ENGINE, without_paths(str(error))) from error

    def _start(self, model: LocalModel, cancel: Cancel) -> Running:
        options = LlamaOptions(model.context, model.threads, model.gpu_layers, sealed=model.sealed)
        with contextlib.ExitStack() as stack:
            prepared = stack.enter_context(
                prepare(
                    self.archive,
                    model.model,
                    wanted=model.file,
                    engine=LLAMA,
                    recheck=False,
                    budget=self.budget,
                    control=Control(self.control.emit, cancel),
                )
            )
            name = str(model.model.repo)
            engine = stack.enter_context(
                serve([str(p) for p in prepared.paths], Service(name), options, cancel)
            )
            prepared.confirm()
            stack.pop_all()
        loaded = Loaded.under(name, prepared.refs, tools=engine.tools, embeddings=engine.embeddings)
        sealing = engine.sealing
        by = () if sealing is None else sealing.by
        origin = Origin(prepared.revision.digest.hex, engine.build, by)
        return Running(prepared, engine, loaded, origin)
