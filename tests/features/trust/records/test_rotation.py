"""How the key of a publisher changes, is lost, stolen and recovered: never silently."""

import json
from collections.abc import Sequence

import pytest
import rfc8785

from outlast.core.errors import (
    BadNameError,
    ChangedKeyError,
    MalformedError,
    NotFoundError,
    OutlastError,
    PolicyError,
)
from outlast.features.trust.keys.pins import How, Pin, PinRole, Pins, PinState, check_namespace
from outlast.features.trust.records import pinning
from outlast.features.trust.records.key_statements import KeyRevocation, Rotation, signed
from outlast.features.trust.records.needed import Needed
from tests.features.trust.world import (
    LATER,
    MADE,
    NEXT,
    OBSERVER,
    PUBLISHER,
    RECOVERY,
    SECOND,
    STRANGER,
    MemoryKey,
    World,
    envelope,
    publication,
)

ACTIVE, RETIRED, REVOKED = PinState.ACTIVE, PinState.RETIRED, PinState.REVOKED


def rotation(
    key: MemoryKey,
    by: MemoryKey,
    *,
    recovery: Sequence[MemoryKey] = (),
    namespace: str = "org",
) -> Rotation:
    """A rotation as it comes from outside."""
    ids = tuple(sorted(one.id for one in recovery))
    return Rotation.read(signed(Rotation(namespace, key.key, by.key, MADE, ids).to_bytes(), by))


def end(key: MemoryKey, by: MemoryKey) -> KeyRevocation:
    said = KeyRevocation("org", key.key, by.key, MADE, "it was stolen")
    return KeyRevocation.read(signed(said.to_bytes(), by))


def explicit(key: MemoryKey, namespace: str = "org", role: PinRole = PinRole.PUBLISHER) -> Pin:
    return Pin(namespace, role, key.key, How.EXPLICIT, MADE, key.name)


def states(world: World) -> dict[str, tuple[PinState, How]]:
    """Of the publisher's keys, by the names of keys."""
    pins = [pin for pin in Pins(world.archive).all() if pin.role is PinRole.PUBLISHER]
    return {pin.key.comment or name_of(pin): (pin.state, pin.how) for pin in pins}


def name_of(pin: Pin) -> str:
    keys = (PUBLISHER, SECOND, NEXT, RECOVERY, STRANGER)
    return next(key.name for key in keys if key.key == pin.key)


def refuses(world: World, rotation: Rotation) -> str:
    before = Pins(world.archive).all()
    with pytest.raises(ChangedKeyError) as error:
        pinning.apply_rotation(world.archive, rotation, LATER)
    assert Pins(world.archive).all() == before
    return str(error.value)


def test_the_old_key_signs_the_next(world: World) -> None:
    world.pin(PUBLISHER)
    pinning.apply_rotation(world.archive, rotation(NEXT, PUBLISHER), LATER)
    assert states(world) == {
        "publisher": (RETIRED, How.EXPLICIT),
        "next": (ACTIVE, How.ROTATION),
    }
    world.say(world.new, publication(2), NEXT)
    assert world.published(world.new).holds
    pinning.apply_rotation(world.archive, rotation(SECOND, NEXT), LATER)
    assert states(world)["second"] == (ACTIVE, How.ROTATION)


def test_a_changed_key_without_that_is_refused(world: World) -> None:
    world.pin(PUBLISHER)
    before = Pins(world.archive).all()
    for namespace in ("org", "org/name", "org/more"):
        with pytest.raises(ChangedKeyError, match="another key is pinned for org"):
            pinning.pin(world.archive, explicit(NEXT, namespace))
    assert "neither pinned" in refuses(world, rotation(NEXT, STRANGER))
    assert "neither pinned" in refuses(world, rotation(NEXT, NEXT))
    assert Pins(world.archive).all() == before
    world.say(world.new, publication(2), NEXT)
    assert not world.published(world.new).holds


def test_a_key_for_one_model_is_a_change_for_the_publisher_too(world: World) -> None:
    world.pin(PUBLISHER, namespace="org/name")
    with pytest.raises(ChangedKeyError, match="another key is pinned for org/name"):
        pinning.pin(world.archive, explicit(NEXT))
    pinning.pin(world.archive, explicit(NEXT, "org/name2"))
    pinning.pin(world.archive, explicit(NEXT, "organisation"))


def test_a_second_key_comes_beside_the_first_only_if_it_is_said(world: World) -> None:
    world.needed = Needed(2, 1)
    world.pin(PUBLISHER)
    world.say(world.old, publication(1), PUBLISHER)
    world.say(world.old, publication(1), SECOND)
    assert not world.published(world.old).holds
    pinning.pin(world.archive, explicit(SECOND), also=True)
    assert world.published(world.old).holds


@pytest.mark.parametrize("needed", [1, 2, 3])
def test_a_changed_threshold(world: World, needed: int) -> None:
    for key in (PUBLISHER, SECOND):
        world.pin(key)
        world.say(world.old, publication(1), key)
    world.needed = Needed(needed, 1)
    found = world.published(world.old)
    assert found.holds is (needed <= 2)
    if not found.holds:
        assert found.why == "2 of the 3 keys that are needed signed it"


def test_a_rotation_for_another_publisher_changes_nothing(world: World) -> None:
    world.pin(PUBLISHER)
    refuses(world, rotation(NEXT, PUBLISHER, namespace="else"))
    refuses(world, rotation(NEXT, PUBLISHER, namespace="org/name"))


def test_a_lost_key_is_recovered_with_a_key_that_was_named_before(world: World) -> None:
    world.pin(PUBLISHER, recovery=[RECOVERY])
    world.say(world.old, publication(1), PUBLISHER)
    pinning.apply_rotation(world.archive, rotation(NEXT, RECOVERY), LATER)
    assert states(world) == {
        "publisher": (REVOKED, How.EXPLICIT),
        "next": (ACTIVE, How.RECOVERY),
    }
    assert not world.published(world.old).holds
    world.say(world.old, publication(1), NEXT)
    assert world.published(world.old).holds


def test_a_recovery_key_recovers_after_the_key_was_revoked(world: World) -> None:
    world.pin(PUBLISHER, recovery=[RECOVERY])
    pinning.apply_revocation(world.archive, end(PUBLISHER, PUBLISHER), LATER)
    refuses(world, rotation(NEXT, PUBLISHER))
    pinning.apply_rotation(world.archive, rotation(NEXT, RECOVERY), LATER)
    assert states(world)["next"] == (ACTIVE, How.RECOVERY)


def test_a_thief_cannot_lock_out_the_recovery_keys(world: World) -> None:
    world.pin(PUBLISHER, recovery=[RECOVERY])
    message = refuses(world, rotation(STRANGER, PUBLISHER, recovery=[STRANGER]))
    assert "other recovery keys" in message
    pinning.apply_rotation(world.archive, rotation(STRANGER, PUBLISHER), LATER)
    world.say(world.old, publication(9), PUBLISHER)
    world.say(world.new, publication(9), STRANGER)
    assert world.published(world.new).holds
    pinning.apply_rotation(world.archive, rotation(NEXT, RECOVERY), LATER)
    assert states(world) == {
        "publisher": (REVOKED, How.EXPLICIT),  # it was retired: the thief has it
        "stranger": (REVOKED, How.ROTATION),
        "next": (ACTIVE, How.RECOVERY),
    }
    assert not world.published(world.old).holds
    assert not world.published(world.new).holds
    world.say(world.old, publication(1), NEXT)  # what the thief numbered holds nothing back
    assert world.published(world.old).holds


def test_a_recovery_key_names_others_and_is_none_any_more(world: World) -> None:
    world.pin(PUBLISHER, recovery=[RECOVERY])
    pinning.apply_rotation(world.archive, rotation(NEXT, RECOVERY, recovery=[SECOND]), LATER)
    refuses(world, rotation(STRANGER, RECOVERY))
    pinning.apply_rotation(world.archive, rotation(OBSERVER, SECOND), LATER)


def test_a_key_that_ended_does_not_come_back(world: World) -> None:
    world.pin(PUBLISHER)
    pinning.apply_rotation(world.archive, rotation(NEXT, PUBLISHER), LATER)
    with pytest.raises(PolicyError, match="before"):
        pinning.apply_rotation(world.archive, rotation(PUBLISHER, NEXT), LATER)
    refuses(world, rotation(SECOND, PUBLISHER))
    with pytest.raises(PolicyError, match="is retired"):
        pinning.pin(world.archive, explicit(PUBLISHER), also=True)
    pinning.revoke_here(world.archive, PUBLISHER.id, "stolen", LATER)
    for namespace, role in (
        ("org", PinRole.PUBLISHER),
        ("else", PinRole.PUBLISHER),
        ("*", PinRole.OBSERVER),
    ):
        with pytest.raises(PolicyError, match="is revoked"):
            pinning.pin(world.archive, explicit(PUBLISHER, namespace, role), also=True)


def test_who_may_end_a_key(world: World) -> None:
    world.pin(PUBLISHER, recovery=[RECOVERY])
    for by in (STRANGER, SECOND):
        with pytest.raises(PolicyError, match="may not"):
            pinning.apply_revocation(world.archive, end(PUBLISHER, by), LATER)
    with pytest.raises(PolicyError, match="not pinned"):
        pinning.apply_revocation(world.archive, end(STRANGER, STRANGER), LATER)
    pinning.apply_revocation(world.archive, end(PUBLISHER, RECOVERY), LATER)
    assert states(world)["publisher"][0] is REVOKED


def test_a_first_use_stays_visible_for_ever(world: World) -> None:
    world.say(world.old, publication(1), PUBLISHER)
    wanted = Pin("org", PinRole.PUBLISHER, OBSERVER.key, How.FIRST_USE, MADE)
    keys = pinning.first_keys(world.archive, "org")
    made = pinning.pin_first(world.archive, wanted, keys)
    assert (made.key, made.how) == (PUBLISHER.key, How.FIRST_USE)
    label = f"{PUBLISHER.key.short}, pinned on first use"
    assert world.published(world.old).who == (label,)
    again = pinning.pin(world.archive, explicit(PUBLISHER))
    assert (again.how, again.since, again.name) == (How.FIRST_USE, MADE, "publisher")
    assert world.published(world.old).who == (f"{PUBLISHER.label}, pinned on first use",)
    after = pinning.apply_rotation(world.archive, rotation(NEXT, PUBLISHER), LATER)
    assert after.label.endswith(", pinned on first use")
    world.say(world.new, publication(2), NEXT)
    assert world.published(world.new).who[0].endswith(", pinned on first use")


def test_a_first_use_is_the_first(world: World) -> None:
    world.say(world.old, publication(1), STRANGER)
    world.pin(PUBLISHER, state=REVOKED)
    for namespace in ("org", "org/name"):
        wanted = Pin(namespace, PinRole.PUBLISHER, OBSERVER.key, How.FIRST_USE, MADE)
        with pytest.raises(ChangedKeyError, match="no first use"):
            pinning.pin_first(world.archive, wanted, [STRANGER.key])
    fresh = Pin("else", PinRole.PUBLISHER, OBSERVER.key, How.FIRST_USE, MADE)
    for keys in ([], [PUBLISHER.key, SECOND.key]):
        with pytest.raises(NotFoundError):
            pinning.pin_first(world.archive, fresh, keys)
    with pytest.raises(PolicyError, match="is revoked"):
        pinning.pin_first(world.archive, fresh, [PUBLISHER.key])


def test_a_key_that_only_says_to_have_signed_is_no_first_use(world: World) -> None:
    world.say(world.old, publication(1), STRANGER)  # it names the publisher's key, which did not
    assert pinning.first_keys(world.archive, "org") == []


def test_pinning_again_loses_no_recovery_key(world: World) -> None:
    world.pin(PUBLISHER, recovery=[RECOVERY])
    again = pinning.pin(world.archive, explicit(PUBLISHER))
    assert again.recovery == (RECOVERY.id,)


def test_a_revoker_is_no_publisher() -> None:
    with pytest.raises(BadNameError):
        check_namespace("*", PinRole.PUBLISHER)
    assert check_namespace("*", PinRole.REVOKER) == "*"
    for name in ("../org", "", "a/b/c", "org/..", "-x"):
        with pytest.raises(BadNameError):
            check_namespace(name, PinRole.OBSERVER)
    assert check_namespace("Org/Name", PinRole.PUBLISHER) == "org/name"


@pytest.mark.parametrize(
    "change",
    [
        {"by": STRANGER.key.line},
        {"key": STRANGER.key.line},
        {"recovery": [RECOVERY.id, RECOVERY.id]},
        {"recovery": ["a"] * 9},
        {"recovery": "a"},
        {"made": "yesterday"},
        {"more": 1},
    ],
)
def test_a_rotation_with_something_wrong(change: dict[str, object]) -> None:
    said = json.loads(Rotation("org", NEXT.key, PUBLISHER.key, MADE).to_bytes())
    assert Rotation.read(envelope(rfc8785.dumps(said), PUBLISHER))
    said["predicate"] |= change
    with pytest.raises(MalformedError):
        Rotation.read(envelope(rfc8785.dumps(said), PUBLISHER))


def test_one_statement_is_not_read_as_another(world: World) -> None:
    data = signed(Rotation("org", NEXT.key, PUBLISHER.key, MADE).to_bytes(), PUBLISHER)
    with pytest.raises(MalformedError):
        KeyRevocation.read(data)
    with pytest.raises(MalformedError):
        Rotation.read(
            envelope(Rotation("Org", NEXT.key, PUBLISHER.key, MADE).to_bytes(), PUBLISHER)
        )
    world.pin(PUBLISHER)
    world.keep(world.old, data)
    assert not world.published(world.old).holds


def test_every_refusal_has_a_hint(world: World) -> None:
    world.pin(PUBLISHER)
    for refused in (
        lambda: pinning.pin(world.archive, explicit(NEXT)),
        lambda: pinning.apply_rotation(world.archive, rotation(NEXT, STRANGER), LATER),
        lambda: pinning.apply_revocation(world.archive, end(PUBLISHER, STRANGER), LATER),
        lambda: pinning.revoke_here(world.archive, STRANGER.id, "x", LATER),
    ):
        with pytest.raises(OutlastError) as error:
            refused()
        assert error.value.hint
        assert "\n" not in str(error.value)
