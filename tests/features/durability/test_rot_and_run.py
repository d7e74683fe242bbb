"""Rot beneath a model that is run: an engine gets right bytes or none, and answers as it always
does or not at all.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError
from outlast.core.names import Target
from outlast.intake.form_policy import FormWish, FormWishes
from outlast.ops.run import prepare
from outlast.store.archive import Archive
from tests.campaign import SEED, rounds
from tests.cli.call import Call
from tests.features.durability.test_rot_campaign import SECTOR, Specimen, mended, rot, victim
from tests.gguf_cut import small_smollm2
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import Puller
from tests.realweights import WeightsUnavailableError
from tests.rot import damage
from tests.warm.calls import outlast

ROUNDS = rounds(1, 40)
WRONG = ("damaged", "corrupt")
KINDS = ("blobs/*/*", "capsules/*/*", "copies/*/*")
"""Where bytes of a model lie: an engine reads a copy of what is held as a capsule."""
NAME = "org/talker"
FORMS = {Form.PLAIN: FormWishes(FormWish.PLAIN), Form.CAPSULE: FormWishes()}


@pytest.fixture(params=FORMS if rounds(0, 1) else [Form.PLAIN], ids=str)
def talker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Specimen]:
    try:
        weights = small_smollm2(tmp_path).read_bytes()
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    HubRepo(tmp_path / "hub", NAME).commit({"talker.gguf": weights})
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        pull = Puller(tmp_path / "archive", forms=FORMS[request.param])
        pull(NAME, hub.url)
        with Archive(pull.home) as archive:
            assert archive.form_of(Digest.of(weights)).form is request.param
        yield Specimen(pull.home, hub, {NAME: {"talker.gguf": weights}})


def run(talker: Specimen) -> Call:
    """What the model says, in a process of its own."""
    options = ("--temperature", "0", "--max-tokens", "8", "--threads", "1", "--quiet")
    return outlast("run", NAME, *options, "Capital of France?", home=talker.home.parent)


def rotten(talker: Specimen, chance: Random) -> None:
    """Some of what holds the model changes: beneath its name, or in a file of another inode."""
    for kind in KINDS:
        path = victim(talker.home, kind, chance, set())
        if path is not None and chance.random() < 0.5:
            damage(path, chance.random())
        elif path is not None:
            rot(path, chance, chance.choice((1, SECTOR)))


def loaded(talker: Specimen) -> bool:
    """Whether an engine would be given the model; it is right then."""
    with Archive(talker.home) as archive:
        try:
            target = Target.parse(NAME)
            ready = prepare(
                archive, target, wanted=None, engine=None, recheck=False, control=Control()
            )
        except CorruptError:
            return False
        with ready:
            assert [path.read_bytes() for path in ready.paths] == talker.blobs
        return True


def test_a_file_that_is_another_once_it_was_compared_is_refused(talker: Specimen) -> None:
    """An engine opens files by their names, some time after they were compared."""
    with Archive(talker.home) as archive:
        target = Target.parse(NAME)
        with prepare(
            archive, target, wanted=None, engine=None, recheck=False, control=Control()
        ) as ready:
            ready.confirm()
            rot(ready.paths[0], Random(SEED), SECTOR)
            with pytest.raises(CorruptError, match="changed while the engine loaded it"):
                ready.confirm()


@pytest.mark.torture
def test_an_engine_gets_right_bytes_or_none(talker: Specimen) -> None:
    chance = Random(SEED)
    right = run(talker).ok().out
    refused = 0
    for _ in range(ROUNDS):
        rotten(talker, chance)
        call = run(talker)
        if call.code:
            call.failed(*WRONG)
            refused += 1
        else:
            assert call.out == right
        loaded(talker)
        assert [one for one in mended(talker) if not one.mended] == []
    assert loaded(talker)
    assert run(talker).ok().out == right
    assert refused
    print({"loads": ROUNDS, "refused": refused})


@pytest.mark.torture
@pytest.mark.skipif(not rounds(0, 1), reason="make torture")
def test_rot_while_an_engine_loads(talker: Specimen) -> None:
    """What an engine has open stays as it was when it was compared."""
    chance = Random(SEED)
    right = run(talker).ok().out
    for _ in range(ROUNDS):
        calls: list[Call] = []
        loading = threading.Thread(target=lambda told=calls: told.append(run(talker)))
        loading.start()
        loading.join(chance.random())
        for kind in KINDS:
            path = victim(talker.home, kind, chance, set())
            if path is not None:
                rot(path, chance, SECTOR)
        loading.join()
        if calls[0].code:
            calls[0].failed(*WRONG)
        else:
            assert calls[0].out == right
        assert [one for one in mended(talker) if not one.mended] == []
