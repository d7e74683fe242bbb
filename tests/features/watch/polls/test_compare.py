"""What happened between two observations: every kind, and what must never be told."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.digest import GitOid
from outlast.core.names import RepoId, RepoKind
from outlast.features.watch.changes import Change, ChangeKind, HubStanding, Observation
from outlast.features.watch.changes_json import (
    decode_change,
    decode_observation,
    encode_change,
    encode_observation,
)
from outlast.features.watch.polls.compare import Particulars, Sighting, compare, merged, moved_refs

ONE, TWO, THREE = (GitOid(digit * 40) for digit in "123")
PLACE = Sighting(
    "https://hub.example", RepoId(RepoKind.MODEL, "org/name"), "2030-01-31T00:00:00+00:00"
)


def seen(standing: HubStanding = HubStanding.OPEN, **more: object) -> Observation:
    """What a hub says of a model that nothing happened to."""
    if not standing.serves:
        return Observation(standing, reason="it is not here")
    usual = {"name": "org/name", "commit": ONE, "refs": {"main": ONE, "v1": ONE}, "licence": "mit"}
    return Observation(standing, **{**usual, **more})  # type: ignore[arg-type]


def kinds(before: Observation, after: Observation, **details: object) -> list[str]:
    told = compare(before, after, PLACE, Particulars(**details))  # type: ignore[arg-type]
    return [str(change.kind) for change in told]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (seen(), seen(HubStanding.REFUSED), ["refused"]),
        (seen(), seen(HubStanding.MISSING), ["deleted"]),
        (seen(), seen(HubStanding.GONE), ["deleted"]),
        (seen(), seen(HubStanding.BLOCKED), ["blocked"]),
        (seen(HubStanding.MISSING), seen(HubStanding.GONE), []),
        (seen(HubStanding.MISSING), seen(HubStanding.BLOCKED), ["blocked"]),
        (seen(HubStanding.BLOCKED), seen(HubStanding.MISSING), ["deleted"]),
        (seen(), seen(HubStanding.GATED), ["gated"]),
        (seen(HubStanding.GATED), seen(), ["ungated"]),
        (seen(), seen(HubStanding.PRIVATE), ["made-private"]),
        (seen(HubStanding.GATED), seen(HubStanding.PRIVATE), ["made-private"]),
        (seen(HubStanding.PRIVATE), seen(), ["returned"]),
        (seen(HubStanding.PRIVATE), seen(HubStanding.GATED), ["returned"]),
        (seen(), seen(name="org/other"), ["renamed"]),
        (seen(), seen(name="Org/Name"), []),
        (seen(), seen(name="else/name"), ["transferred"]),
        (seen(), seen(licence="apache-2.0"), ["relicensed"]),
        (seen(licence=""), seen(), []),
        (seen(), seen(refs={"main": ONE}), ["ref-deleted"]),
        (seen(), seen(refs={"main": ONE, "v1": ONE, "v2": TWO}), ["new-ref"]),
        (seen(), seen(refs={"main": ONE, "v1": TWO}), ["moved"]),
        (seen(), seen(refs=None), []),
        (seen(refs=None), seen(), []),
        (seen(refs=None), seen(refs=None, commit=TWO), ["moved"]),
        (seen(refs=None), seen(refs=None, commit=None), ["ref-deleted"]),
        (seen(), seen(modified="later", files=3, size=9), []),
    ],
)
def test_each_pair_tells_its_kinds(
    before: Observation, after: Observation, told: list[str]
) -> None:
    assert kinds(before, after) == told


def test_a_ref_that_left_its_history() -> None:
    after = seen(commit=TWO, refs={"main": TWO, "v1": ONE})
    assert kinds(seen(), after, descends={"main": False}) == ["force-pushed"]
    assert kinds(seen(), after, descends={"main": True}) == ["moved"]
    (unknown,) = compare(seen(), after, PLACE)
    assert unknown.kind is ChangeKind.MOVED
    assert unknown.reason
    assert (unknown.before, unknown.after) == (ONE.hex, TWO.hex)


def test_the_contents_of_a_new_commit() -> None:
    after = seen(commit=TWO, refs={"main": TWO, "v1": ONE})
    details = {"descends": {"main": True}, "dropped": ("a", "b"), "card": "-x\n+y", "licence": "-z"}
    assert kinds(seen(), after, **details) == [
        "moved",
        "files-dropped",
        "relicensed",
        "card-changed",
    ]
    many = tuple(f"{number:03}" for number in range(150))
    dropped = compare(seen(), after, PLACE, Particulars(dropped=many))[1]
    assert dropped.files == many[:100]
    assert dropped.reason == "150 files"


def test_details_do_not_count_where_nothing_moved() -> None:
    every = {"dropped": ("a",), "card": "-x", "licence": "-y", "descends": {"main": False}}
    assert kinds(seen(), seen(), account_gone=True, **every) == []


def test_an_account_that_went() -> None:
    assert kinds(seen(), seen(HubStanding.MISSING), account_gone=True) == ["account-gone"]
    was = merged(seen(), seen(HubStanding.MISSING))
    assert kinds(was, seen(HubStanding.MISSING), account_gone=True) == []


def test_what_returns_is_compared_with_what_it_was() -> None:
    was = merged(seen(), seen(HubStanding.MISSING))
    after = seen(commit=TWO, refs={"main": TWO, "v1": ONE})
    assert kinds(was, seen()) == ["returned"]
    assert kinds(was, after, descends={"main": False}) == ["returned", "force-pushed"]


_oids = st.sampled_from([ONE, TWO, THREE])
_serving = st.builds(
    Observation,
    standing=st.sampled_from([one for one in HubStanding if one.serves]),
    name=st.sampled_from(["org/name", "org/other", "else/name", "ORG/NAME"]),
    commit=st.none() | _oids,
    refs=st.none() | st.dictionaries(st.sampled_from(["main", "dev", "v1"]), _oids),
    licence=st.sampled_from(["", "mit", "other"]),
    modified=st.sampled_from(["", "2030"]),
)
_gone = st.sampled_from([seen(one) for one in HubStanding if not one.serves])
observations = st.one_of(_serving, _serving, _gone)
details = st.builds(
    Particulars,
    descends=st.dictionaries(
        st.sampled_from(["main", "dev"]), st.sampled_from([True, False, None])
    ),
    dropped=st.sampled_from([(), ("a",)]),
    card=st.sampled_from(["", "-x"]),
    licence=st.sampled_from(["", "-y"]),
    account_gone=st.booleans(),
)


@given(observations, details)
def test_equal_observations_tell_nothing(one: Observation, more: Particulars) -> None:
    assert compare(one, one, PLACE, more) == ()


@given(st.lists(observations, min_size=1, max_size=6), details)
def test_nothing_is_told_twice(course: list[Observation], more: Particulars) -> None:
    known: Observation | None = None
    for one in course:
        told = () if known is None else compare(known, one, PLACE, more)
        assert len({(change.kind, change.ref) for change in told}) == len(told)
        known = merged(known, one)
        assert compare(known, one, PLACE, more) == ()
        assert merged(known, one) == known


@given(_serving, observations)
def test_there_and_back_tells_both(one: Observation, other: Observation) -> None:
    """Whatever is told on the way out, something is told on the way back."""
    start = merged(None, one)
    out = compare(start, other, PLACE)
    assert not out or compare(merged(start, other), one, PLACE) or _one_way(out, one, other)


def _one_way(out: tuple[Change, ...], one: Observation, other: Observation) -> bool:
    """What one side did not say cannot be missed on the way back."""
    left = {change.kind for change in out} <= {ChangeKind.RELICENSED, ChangeKind.REF_DELETED}
    return left and (not other.licence or other.refs is None or one.refs is None)


@pytest.mark.parametrize(
    ("a", "b"),
    [*itertools.permutations([seen(one) for one in HubStanding], 2)],
    ids=lambda one: one.standing.value,
)
def test_standings_there_and_back(a: Observation, b: Observation) -> None:
    if {a.standing, b.standing} == {HubStanding.MISSING, HubStanding.GONE}:
        return
    assert len(kinds(a, b)) == 1
    assert len(kinds(merged(a, b), a)) == 1


def test_moved_refs_names_old_and_new() -> None:
    after = seen(commit=TWO, refs={"main": TWO, "dev": ONE, "v1": ONE})
    assert moved_refs(seen(), after) == {"main": (ONE, TWO)}


@given(observations)
def test_observations_survive_json(one: Observation) -> None:
    assert decode_observation(encode_observation(one)) == one


@given(observations, observations, details)
def test_changes_survive_json(a: Observation, b: Observation, more: Particulars) -> None:
    for change in compare(a, b, PLACE, more):
        assert decode_change(encode_change(change)) == change
