"""Forgetting and collecting: what goes, what stays, and that a dry run changes nothing."""

from pathlib import Path

import pytest

from tests.cli.call import Call, inside
from tests.cli.conftest import FILES
from tests.pull.kit import check_archive, contents, tree


def add(home: Path, name: str, **files: bytes) -> str:
    """Archives a folder with `files`; the revision's id."""
    folder = home / "made"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for path_name, data in files.items():
        (folder / path_name).write_bytes(data)
    return inside("add", folder, "--as", name, home=home).ok().out.strip()


def archived(home: Path) -> dict[str, set[str]]:
    """The refs of each revision."""
    documents = inside("ls", "--json", home=home).ok().documents
    return {f"{d['repo']}@{d['revision'][:7]}": set(d["refs"]) for d in documents}


def plain_files(home: Path) -> dict[str, bytes | None]:
    """The archive without its index, which reading may change."""
    found = tree(home / "archive")
    return {path: data for path, data in found.items() if not path.startswith("index.sqlite")}


@pytest.mark.parametrize(
    "arguments",
    [["rm", "me/mine"], ["rm", "me/mine@main"], ["rm", "me/mine", "me/other"], ["gc"]],
    ids=" ".join,
)
def test_a_dry_run_changes_nothing(home: Path, arguments: list[str]) -> None:
    add(home, "me/gone", a=b"only here")
    inside("rm", "me/gone", home=home).ok()
    before = plain_files(home)
    told = inside(*arguments, "--dry-run", "--json", home=home).ok()
    inside(*arguments, "--dry-run", home=home).ok()
    assert plain_files(home) == before
    done = inside(*arguments, "--json", home=home).ok()
    assert plain_files(home) != before
    assert told.of_type("removed") == done.of_type("removed")
    assert told.result["count"] == done.result["count"] > 0


def test_a_model_goes_with_all_its_revisions(home: Path) -> None:
    add(home, "me/many@v1", a=b"1")
    add(home, "me/many@v2", a=b"2")
    inside("rm", "me/many", home=home).ok()
    assert not [name for name in archived(home) if name.startswith("me/many")]
    inside("show", "me/many", home=home).failed("not-found")
    check_archive(home / "archive")


def test_a_ref_takes_its_revision_along_only_if_it_is_the_last(home: Path) -> None:
    first = add(home, "me/many@v1", a=b"1")
    assert add(home, "me/many@same", a=b"1") == first
    second = add(home, "me/many@v2", a=b"2")
    inside("rm", "me/many@v1", home=home).ok()
    assert archived(home)[f"me/many@{first[:7]}"] == {"same"}
    inside("rm", "me/many@same", home=home).ok()
    assert f"me/many@{first[:7]}" not in archived(home)
    assert contents(home / "archive", "me/many@v2") == {"a": b"2"}
    inside("rm", f"me/many@{second[:9]}", home=home).ok()
    assert not [name for name in archived(home) if name.startswith("me/many")]
    check_archive(home / "archive")


def test_an_older_revision_without_a_name_can_be_named_by_its_id(home: Path) -> None:
    first = add(home, "me/many", a=b"1")
    second = add(home, "me/many", a=b"2")
    assert archived(home)[f"me/many@{first[:7]}"] == set()
    assert contents(home / "archive", f"me/many@{first[:8]}") == {"a": b"1"}
    inside("rm", f"me/many@{first}", home=home).ok()
    assert contents(home / "archive", "me/many") == {"a": b"2"}
    assert archived(home)[f"me/many@{second[:7]}"] == {"main"}


def freed(call: Call) -> int:
    return int(call.ok().result["bytes"])


def test_bytes_stay_until_they_are_collected_and_shared_ones_longer(home: Path) -> None:
    own = b"only of this model " * 100
    shared = FILES["sub/weights.bin"]
    add(home, "me/half", own=own, shared=shared)
    assert freed(inside("gc", "--json", home=home)) == 0
    inside("rm", "me/half", home=home).ok()
    assert freed(inside("gc", "--dry-run", "--json", home=home)) == len(own)
    assert freed(inside("gc", "--json", home=home)) == len(own)
    assert freed(inside("gc", "--json", home=home)) == 0
    assert contents(home / "archive", "me/mine") == FILES
    inside("rm", "me/mine", home=home).ok()
    assert freed(inside("gc", "--json", home=home)) == 0  # me/other has the same files
    inside("rm", "me/other", home=home).ok()
    assert freed(inside("gc", "--json", home=home)) == sum(map(len, FILES.values()))
    assert not [path for path in (home / "archive" / "blobs").rglob("*") if path.is_file()]
    assert inside("ls", home=home).ok().out == ""


def collected_model(home: Path) -> bytes:
    """Archives, removes and collects a model; the bytes of its only file."""
    own = b"only of this model " * 100
    add(home, "me/half", own=own)
    inside("rm", "me/half", home=home).ok()
    said = inside("gc", home=home).ok()
    assert said.out == "moved 1.9 kB to the trash for 7 days, freed 0 B (1 item)\n"
    assert "the trash holds 1.9 kB: 'outlast gc --now' deletes it" in said.err
    return own


def test_the_trash_is_said_and_emptied(home: Path) -> None:
    size = len(collected_model(home))
    assert "the trash holds 1.9 kB" in inside("status", home=home).ok().err
    assert "'outlast gc --now'" in inside("doctor", home=home).ok().out
    said = inside("gc", "--now", "--json", "--dry-run", home=home).ok().result
    assert (said["freed_bytes"], said["trash_bytes"]) == (size, 0)
    said = inside("gc", "--dry-run", "--json", home=home).ok().result
    assert (said["freed_bytes"], said["trash_bytes"]) == (0, size)
    assert inside("gc", "--now", home=home).ok().out == "freed 1.9 kB (1 item)\n"
    assert "the trash holds" not in inside("status", home=home).ok().err
    assert not [path for path in (home / "archive" / "trash").rglob("*") if path.is_file()]


def test_a_collection_is_undone(home: Path) -> None:
    collected_model(home)
    assert inside("gc", "--undo", home=home).ok().out == "restored 1.9 kB (1 file)\n"
    inside("gc", "--undo", "--now", home=home).failed("usage")
    said = inside("gc", "--json", home=home).ok().result
    assert said["trash_bytes"] == 1900
    said = inside("gc", "--undo", "--json", home=home).ok().result
    assert (said["type"], said["count"], said["left"]) == ("restored", 1, 0)


def test_the_operator_says_how_long_the_trash_is_kept(home: Path) -> None:
    settings = home / "settings.toml"
    environ = {"OUTLAST_CONFIG": str(settings)}
    settings.write_text("gc-grace = 0.5")
    add(home, "me/half", own=b"own")
    inside("rm", "me/half", home=home).ok()
    said = inside("gc", "--dry-run", home=home, env=environ).ok()
    assert said.out == "would move 3 B to the trash for 0.5 days, would free 0 B (1 item)\n"
    settings.write_text("gc-grace = 0")
    assert inside("gc", home=home, env=environ).ok().out == "freed 3 B (1 item)\n"
    settings.write_text("gc-grace = -1")
    inside("gc", home=home, env=environ).failed("bad-config")


def test_a_record_that_cannot_be_read_is_given_up(home: Path) -> None:
    add(home, "me/half", own=b"own")
    digest = inside("show", "me/half", "--json", home=home).ok().result["manifest"]
    path = home / "archive" / "manifests" / f"{digest}.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"own", b"owm", 1))
    call = inside("gc", "--now", "--json", home=home)
    (spared,) = call.result["spared"]
    assert (call.code, spared["count"], spared["size"]) == (4, 1, 3)
    inside("gc", "--discard", "absent.json", home=home).failed("not-found")
    said = inside("gc", "--now", "--discard", spared["record"], "--json", home=home).ok().result
    assert said["spared"] == []
    assert not path.exists()
    assert contents(home / "archive", "me/mine") == FILES


def test_what_is_shared_is_shown(home: Path) -> None:
    add(home, "me/half", own=b"own", shared=FILES["sub/weights.bin"])
    shown = inside("show", "me/half", "--json", home=home).ok().result
    assert shown["bytes"] == 3 + len(FILES["sub/weights.bin"])
    assert shown["shared_bytes"] == len(FILES["sub/weights.bin"])
    assert "shared with other revisions" in inside("show", "me/half", home=home).ok().out


def test_one_bad_name_among_several_changes_nothing_before_it(home: Path) -> None:
    inside("rm", "me/mine", "me/absent", "me/other", home=home).failed("not-found")
    check_archive(home / "archive")
    assert "me/other" in inside("ls", home=home).ok().out


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ([], {"me/mine", "me/other"}),
        (["me/*"], {"me/mine", "me/other"}),
        (["*other"], {"me/other"}),
        (["ME/*"], set()),
        (["x", "me/mine"], {"me/mine"}),
        (["[", "\x1b"], set()),
    ],
)
def test_listing_by_pattern(home: Path, patterns: list[str], found: set[str]) -> None:
    documents = inside("ls", "--json", *patterns, home=home).ok().documents
    assert {document["repo"] for document in documents} == found
