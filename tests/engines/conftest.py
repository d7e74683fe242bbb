"""Real weights under an archive's kind of name, and engines that have them loaded.

Of the real model the engines get the first blocks alone: what is tested is the way to the engine,
not what it answers. Each engine computes with one thread: several would wait for each other by
spinning, which is slow where there are fewer cores than threads.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast.core.cancel import Cancel
from outlast.engines.conversation import WorkerEngine
from outlast.engines.llama import LlamaOptions, open_llama
from outlast.engines.transformers import TransformersOptions, open_transformers
from tests.engines.gguf_files import Parts
from tests.engines.torch_env import find_python, make_tiny_models, packages_of
from tests.realweights import WeightsUnavailableError, smollm2_gguf

OPTIONS = LlamaOptions(context=1024, threads=1)
BLOCKS = 2


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed (the extra 'run')")
    try:
        whole = smollm2_gguf()
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    small = tmp_path_factory.mktemp("weights") / "small.gguf"
    return Parts.of(whole).first_blocks(BLOCKS).write(small)


@pytest.fixture(scope="session")
def model(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model as an archive holds it: a name without an ending."""
    path = tmp_path_factory.mktemp("blobs") / "b179c9523d0e6a0f"
    path.symlink_to(weights)
    return str(path)


@pytest.fixture(scope="session")
def parts(weights: Path) -> Parts:
    return Parts.of(weights)


@pytest.fixture(scope="session")
def llama(model: str) -> Iterator[WorkerEngine]:
    with open_llama([model], OPTIONS, Cancel()) as engine:
        yield engine


@pytest.fixture(scope="session")
def torch_python() -> Path | None:
    """A Python that has torch and transformers, where this one has not."""
    return find_python("torch", "transformers")


@pytest.fixture(scope="session")
def tiny_models(torch_python: Path | None) -> Path:
    """Folders of tiny random models: `True` has a chat template, `False` has none."""
    return make_tiny_models(torch_python)


@pytest.fixture(scope="module")
def tiny(torch_python: Path | None, tiny_models: Path) -> Iterator[Callable[[bool], str]]:
    """The folder of a tiny random model, with or without a chat template. While a module uses it,
    the engine and its workers find torch and transformers.
    """

    def find(template: bool) -> str:
        return os.fspath(tiny_models / str(template))

    with pytest.MonkeyPatch.context() as patch:
        if torch_python is not None:
            packages = packages_of(torch_python)
            patch.setattr(sys, "path", [*sys.path, os.fspath(packages)])
            patch.setenv("PYTHONPATH", os.fspath(packages))
        yield find


@pytest.fixture(scope="module")
def transformers(tiny: Callable[[bool], str]) -> Iterator[WorkerEngine]:
    options = TransformersOptions(device="cpu", threads=1)
    with open_transformers(tiny(True), options, Cancel()) as engine:
        yield engine


@pytest.fixture(params=["llama", "transformers"])
def engine(request: pytest.FixtureRequest) -> WorkerEngine:
    """Every implementation in turn."""
    found: WorkerEngine = request.getfixturevalue(request.param)
    return found
