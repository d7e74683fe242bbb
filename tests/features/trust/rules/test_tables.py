"""The tables of the package and of the operator: publishers, licences, labels."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.errors import BadConfigError
from outlast.core.names import RepoId
from outlast.features.trust.rules.labels import read_labels
from outlast.features.trust.rules.licences import (
    Conditions,
    Licence,
    licence_table,
    read_licence,
)
from outlast.features.trust.rules.publishers import Publisher, read_publishers

UNKNOWN = Publisher("acme")


def publisher(name: str, path: Path | None = None) -> Publisher:
    return read_publishers(path).of(RepoId.parse(name))


def test_who_is_behind_a_name() -> None:
    found = publisher("META-llama/Llama-3.1-8B")
    assert (found.legal_entity, found.country) == ("Meta Platforms, Inc.", "US")
    assert publisher("google/gemma-2-9b").parent == "Alphabet Inc."
    assert publisher("acme/model") == UNKNOWN
    assert publisher("gpt2") == Publisher("")
    assert publisher("datasets/acme/data") == UNKNOWN


def test_the_table_of_the_package() -> None:
    table = read_publishers(None)
    assert len(table) >= 60


def test_the_operators_rows_go_first(tmp_path: Path) -> None:
    own = tmp_path / "publishers.toml"
    own.write_text(
        '[publishers."Acme"]\nentity = "Acme Ltd"\ncountry = "IE"\nsource = "s"\ndate = "d"\n'
        '[publishers."google"]\nsource = "s"\ndate = "d"\n'
    )
    assert publisher("acme/model", own).legal_entity == "Acme Ltd"
    assert publisher("google/m", own).country == "unknown"
    assert publisher("qwen/m", own).country == "CN"


ROW = 'source = "s"\ndate = "d"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'[publishers.a]\ncountry = "China"\n{ROW}', "not a country"),
        (f'[publishers.a]\ncountry = "cn"\n{ROW}', "not a country"),
        (f"[publishers.a]\n{ROW}[publishers.A]\n{ROW}", "twice"),
        ('[publishers.a]\nsource = "s"\n', "date"),
        (f'[publishers.a]\nentiti = "x"\n{ROW}', "entiti"),
        ("[publisher.a]\n", "publisher"),
        ("publishers = 1\n", "publishers"),
        ("x" * 100, "publishers.toml"),
        ("a = " + "[" * 100_000, "publishers.toml"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, said: str) -> None:
    own = tmp_path / "publishers.toml"
    own.write_text(text)
    with pytest.raises(BadConfigError) as caught:
        read_publishers(own)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.toml"
    path.write_text('[labels]\n"Acme/*" = ["approved", "legal"]\n"*/m" = ["small", "approved"]\n')
    labels = read_labels(path)
    assert labels.of(RepoId.parse("acme/M")) == ("approved", "legal", "small")
    assert labels.of(RepoId.parse("other/x")) == ()
    path.write_text('[labels]\n"a/*" = "approved"\n')
    with pytest.raises(BadConfigError):
        read_labels(path)
    with pytest.raises(BadConfigError, match="No such file"):
        read_labels(tmp_path / "none")


# Licences


@pytest.mark.parametrize(
    ("written", "spdx"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("Apache 2.0", "Apache-2.0"),
        ("mit", "MIT"),
        ("llama2", "LicenseRef-llama-2"),
        ("Llama 3.1 Community License Agreement", "LicenseRef-llama-3.1"),
        ("llama4", "LicenseRef-llama-4"),
        ("gemma", "LicenseRef-gemma"),
        ("tongyi-qianwen", "LicenseRef-tongyi-qianwen"),
        ("creativeml-openrail-m", "LicenseRef-creativeml-openrail-m"),
        ("openrail++", "LicenseRef-openrail-pp"),
        ("deepseek", "LicenseRef-deepseek"),
        ("mrl", "LicenseRef-mistral-research"),
        ("falcon-llm-license", "LicenseRef-falcon-2.0"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0"),
        ("nvidia-open-model-license", "LicenseRef-nvidia-open-model"),
        ("jamba-open-model-license", "LicenseRef-jamba"),
        ("EUPL-1.1", "EUPL-1.1"),
        ("blessing", "blessing"),
        ("(mit OR gpl-3.0) AND bsd-3-clause", "(MIT OR GPL-3.0-only) AND BSD-3-Clause"),
        ("mit AND llama 3 community license", "MIT AND LicenseRef-llama-3"),
        ("GPL-2.0-only WITH Classpath-exception-2.0",) * 2,
        ("my own licence", "unknown"),
        ("mit OR my-own", "unknown"),
        ("", "unknown"),
        ("((((", "unknown"),
        ("AND", "unknown"),
        ("x" * 5000, "unknown"),
        ("mit OR " * 500 + "mit", "unknown"),
    ],
)
def test_what_cards_write(written: str, spdx: str) -> None:
    assert read_licence(written).spdx == spdx


def test_conditions_are_facts() -> None:
    llama = read_licence("llama3.1").conditions
    assert (llama.user_ceiling, llama.naming, llama.commercial) == (
        700_000_000,
        "yes",
        "conditional",
    )
    assert read_licence("cc-by-nc-4.0").conditions.commercial == "no"
    assert read_licence("gpl-3.0").conditions.copyleft == "strong"
    assert read_licence("blessing").conditions == Conditions()
    assert read_licence("no such") == Licence()


def test_where_several_hold_the_strictest_does() -> None:
    both = read_licence("mit AND cc-by-nc-sa-4.0").conditions
    assert (both.commercial, both.copyleft) == ("no", "strong")
    assert read_licence("llama3 AND qwen").conditions.user_ceiling == 100_000_000
    half = read_licence("cc-by-nc-4.0 AND my-own")
    assert (half.spdx, half.conditions.commercial) == ("unknown", "no")
    assert half.conditions.copyleft == "unknown"
    assert read_licence("gpl-3.0 AND my-own").conditions.copyleft == "strong"


def test_where_one_may_be_chosen_the_freest_does() -> None:
    assert read_licence("mit OR gpl-3.0").conditions == read_licence("mit").conditions
    mixed = read_licence("cc-by-nc-4.0 OR gpl-3.0").conditions
    assert (mixed.commercial, mixed.copyleft) == ("unknown", "unknown")
    assert mixed.attribution == "yes"


def test_an_exception_may_lift_copyleft() -> None:
    assert (
        read_licence("GPL-2.0-only WITH Classpath-exception-2.0").conditions.copyleft == "unknown"
    )


def test_the_table_of_licences() -> None:
    table = licence_table()
    assert len(table.rows) >= 80
    assert all(row.url.startswith("https://") for row in table.rows.values())
    for name, found in table.ids.items():
        assert read_licence(name).spdx == found
        conditions = read_licence(name).conditions
        said = [getattr(conditions, one.name) for one in fields(Conditions)]
        assert "unknown" not in said, name


@given(st.text(max_size=80) | st.from_regex(r"[()mit ORAND]{1,40}", fullmatch=True))
def test_any_text_has_a_licence_or_none(text: str) -> None:
    found = read_licence(text)
    assert found.spdx
    assert found.spdx == "unknown" or read_licence(found.spdx) == found


def test_without_the_list_of_spdx_the_own_table_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast.features.trust.rules.licences.find_spec", lambda _: None)
    read_licence.cache_clear()
    try:
        assert read_licence("apache-2.0").spdx == "Apache-2.0"
        assert read_licence("EUPL-1.2-of-none").spdx == "unknown"
        assert read_licence("MIT OR Zlib").spdx == "unknown"
    finally:
        read_licence.cache_clear()


def test_what_was_compared_says_when_and_with_what() -> None:
    """The others say nothing: they were not compared."""
    rows = licence_table().rows.values()
    said = [row.checked for row in rows if row.checked]
    found = read_publishers(None)
    said += [one.checked for name in ("meta-llama", "deepseek-ai") if (one := found.named(name))]
    assert len(said) >= 6
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d https://\S+", text) for text in said)
    assert found.named("yandex").checked == ""
