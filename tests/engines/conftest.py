"""Real weights under an archive's kind of name, and engines that have them loaded."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast.core.cancel import Cancel
from outlast.engines.conversation import WorkerEngine
from outlast.engines.llama import LlamaOptions, open_llama
from outlast.engines.transformers import TransformersOptions, open_transformers
from tests.engines.gguf_files import Parts
from tests.engines.tiny_llama import build_tiny_llama
from tests.realweights import WeightsUnavailableError, smollm2_gguf

OPTIONS = LlamaOptions(context=1024, threads=2)


@pytest.fixture(scope="session")
def weights() -> Path:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed (the extra 'run')")
    try:
        return smollm2_gguf()
    except WeightsUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def model(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model as an archive holds it: a name without an ending."""
    path = tmp_path_factory.mktemp("blobs") / "b179c9523d0e6a0f"
    path.symlink_to(weights)
    return str(path)


@pytest.fixture(scope="session")
def parts(weights: Path) -> Parts:
    return Parts.of(weights)


@pytest.fixture(scope="module")
def llama(model: str) -> Iterator[WorkerEngine]:
    with open_llama([model], OPTIONS, Cancel()) as engine:
        yield engine


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], str]:
    """Makes a tiny random model's folder, with or without a chat template."""
    missing = [n for n in ("torch", "transformers") if importlib.util.find_spec(n) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed (the extra 'transformers')")
    made: dict[bool, str] = {}

    def make(template: bool) -> str:
        if template not in made:
            folder = tmp_path_factory.mktemp("tiny")
            build_tiny_llama(folder, template=template)
            made[template] = os.fspath(folder)
        return made[template]

    return make


@pytest.fixture(scope="module")
def transformers(tiny: Callable[[bool], str]) -> Iterator[WorkerEngine]:
    options = TransformersOptions(device="cpu", threads=2)
    with open_transformers(tiny(True), options, Cancel()) as engine:
        yield engine


@pytest.fixture(params=["llama", "transformers"])
def engine(request: pytest.FixtureRequest) -> WorkerEngine:
    """Every implementation in turn."""
    found: WorkerEngine = request.getfixturevalue(request.param)
    return found
