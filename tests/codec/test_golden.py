"""Golden capsules: what was once written is written again, byte for byte, and read for ever."""

import os

import pytest

from outlast.codec import format as fmt
from outlast.codec import kernels
from tests.codec import files, golden_blobs, reference, weights


def golden(name: str) -> bytes:
    with open(os.path.join(golden_blobs.FOLDER, name + ".olc"), "rb") as file:
        return file.read()


def test_there_is_one_for_each_blob() -> None:
    names = {name.removesuffix(".olc") for name in os.listdir(golden_blobs.FOLDER)}
    assert names == set(golden_blobs.BLOBS)


@pytest.mark.parametrize("name", golden_blobs.BLOBS)
def test_it_is_written_again(name: str) -> None:
    blob, bases = golden_blobs.BLOBS[name](), golden_blobs.bases(name)
    for path in kernels.paths():
        with weights.path(path):
            assert files.encode(blob, bases) == golden(name)


@pytest.mark.parametrize("name", golden_blobs.BLOBS)
def test_it_is_read(name: str) -> None:
    blob, bases, capsule = golden_blobs.BLOBS[name](), golden_blobs.bases(name), golden(name)
    for path in kernels.paths():
        with weights.path(path):
            opened = files.reader(capsule, bases)
            assert files.read(opened, 0, opened.size) == blob
            assert not list(opened.damage())
    assert reference.decode(capsule, files.named(bases)) == blob
    assert reference.verify(capsule, files.named(bases)) == []


def test_they_have_every_kind_and_form() -> None:
    forms = set()
    for name in golden_blobs.BLOBS:
        directory = files.reader(golden(name), golden_blobs.bases(name)).directory
        forms |= {(block.kind, block.tag) for block in directory.blocks()}
    assert {kind for kind, _ in forms} == set(weights.KINDS)
    assert {tag for _, tag in forms} == set(range(fmt.LEAVES + 1))
    assert {kind for kind, tag in forms if tag == fmt.DIFFERENCE} == set(weights.FLOATS)
