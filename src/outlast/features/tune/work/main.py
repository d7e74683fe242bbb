"""The worker process of a tuning: one base, one data file, one adapter.

It speaks the protocol of :mod:`outlast.engines.worker`. The configuration's keys: `model`, the
folder or GGUF file to load, and `gguf`, the bytes of that; `options` as :class:`TuneOptions` has
them; `data` and its sha256 `digest`; `folder` for checkpoints, `made` for the adapter below it,
`key` for what names the training, `every` seconds between checkpoints; `base` and `commit`, the
name to note. A request has `do`: ``read`` (the rows as tokens, and an estimate), ``measure``
(seconds of a step) or ``train``.
"""

import os
import traceback

from outlast.engines.transformers_worker import close_doors
from outlast.engines.worker import Json, RefusedError, Runner, work


def load(config: Json) -> Runner:
    """Describes the model; its weights are loaded with the training. Before anything is loaded, an
    audit hook closes the network and pickle, as for every engine.
    """
    close_doors()
    # cuBLAS adds in another order otherwise.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    try:
        import torch  # noqa: PLC0415 - after the hook
        import transformers  # noqa: PLC0415 - likewise

        from outlast.features.tune.work.base_model import refused  # noqa: PLC0415 - likewise
        from outlast.features.tune.work.runner import TuneRunner  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise RefusedError(
            f"what tuning needs cannot be loaded: {error}",
            "pip install '.[tune]' in a checkout of outlast",
        ) from error
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(config["options"]["threads"])
    torch.use_deterministic_algorithms(True)
    try:
        return TuneRunner(config)
    except RefusedError:
        raise
    except Exception as error:
        # The libraries raise whatever they like; the whole of it goes to the log.
        traceback.print_exc()
        raise refused(error) from error


def main() -> None:
    """Runs this process as a worker."""
    work(load)
