"""What an engine has loaded, under the names that requests may use."""

from collections.abc import Sequence

from outlast.engines.served import ServedModel
from outlast.ops.run import Prepared
from outlast.ops.run_adapter import ReadyAdapter
from outlast.server.model.requests import Loaded


def loaded_by(
    engine: ServedModel,
    prepared: Prepared,
    adapters: Sequence[ReadyAdapter],
    *,
    usual: bool = False,
) -> Loaded:
    """The model and its adapters, in the engine's order. `usual`: the first adapter answers where a
    request names no model.
    """
    found = Loaded.under(
        str(prepared.revision.repo),
        prepared.refs,
        tools=engine.tools,
        embeddings=engine.embeddings,
    )
    for number, one in enumerate(adapters):
        name = str(one.revision.repo)
        manifest = one.revision.digest.hex
        found = found.with_adapter(name, one.refs, manifest, usual=usual and number == 0)
    return found
