"""Who counts as one holder, and what is lost with a hub."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.core.names import RepoId
from outlast.ops.holders.independence import HubLoss, Risked, group_of, losses, risk_order


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://huggingface.co", "https://cdn.huggingface.co/x", True),
        ("https://huggingface.co", "https://hf-mirror.com", False),
        ("https://a.example.co.uk", "https://b.example.co.uk", True),
        ("https://one.co.uk", "https://two.co.uk", False),
        ("http://10.0.0.7:8090", "10.0.0.7", True),
        ("http://10.0.0.7:8090", "http://10.0.0.8:8090", False),
        ("http://[fe80::1]:80", "fe80::1%eth0", True),
        ("HTTPS://Hub.Example.", "https://hub.example", True),
        ("http://localhost:1", "http://localhost:2", True),
        ("https://[broken", "https://[broken", True),
    ],
)
def test_what_counts_as_one(one: str, other: str, same: bool) -> None:
    assert (group_of(one) == group_of(other)) is same


PLACES = ("huggingface.co", "modelscope.cn", "mirror.example", "swarm", "10.0.0.7")
HUBS = frozenset(PLACES[:3])


@st.composite
def kept(draw: st.DrawFn) -> list[Risked]:
    count = draw(st.integers(0, 12))
    found = []
    for number in range(count):
        groups = draw(st.frozensets(st.sampled_from(PLACES)))
        size = draw(st.integers(0, 1 << 40))
        repo = RepoId.parse(f"org/m{number}")
        found.append(Risked(repo, size, groups, groups & HUBS, draw(st.booleans())))
    return found


@settings(max_examples=40)
@given(kept())
def test_what_is_lost_is_what_no_other_has(models: list[Risked]) -> None:
    found = {loss.hub: loss for loss in losses(models)}
    for hub in HUBS:
        gone = [one for one in models if hub in one.groups and not one.groups - {hub}]
        loss = found.get(hub, HubLoss(hub, (), ()))
        assert {one.repo for one in loss.lost} == {one.repo for one in gone if not one.here}
        assert {one.repo for one in loss.only_here} == {one.repo for one in gone if one.here}
        assert (loss.models, loss.size) == (len(gone), sum(one.size for one in gone))
    assert found.keys() <= HUBS
    assert all(loss.models for loss in found.values())


@settings(max_examples=40)
@given(kept())
def test_the_worst_comes_first(models: list[Risked]) -> None:
    found = losses(models)
    assert list(found) == sorted(found, key=lambda one: (-one.lost_size, -one.size, one.hub))
    for loss in found:
        for rows in (loss.lost, loss.only_here):
            assert [one.size for one in rows] == sorted((o.size for o in rows), reverse=True)


@settings(max_examples=40)
@given(kept(), st.sampled_from(PLACES))
def test_one_more_holder_never_makes_it_worse(models: list[Risked], place: str) -> None:
    more = [
        Risked(m.repo, m.size, m.groups | {place}, m.hubs | ({place} & HUBS), m.here)
        for m in models
    ]
    for one, other in zip(models, more, strict=True):
        if one.groups:
            assert sum(loss.models for loss in losses([other])) <= sum(
                loss.models for loss in losses([one])
            )


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.none() | st.integers(0, 9)))
def test_the_order_of_risk(counts: dict[str, int | None]) -> None:
    found = risk_order({RepoId.parse(f"org/{name}"): n for name, n in counts.items()})
    ranks = [-1 if (n := counts[repo.name[-1]]) is None else n for repo in found]
    assert ranks == sorted(ranks)
    assert len(found) == len(counts)
