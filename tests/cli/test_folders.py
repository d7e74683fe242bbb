"""Folders to add that hold what is not a model's file, or that change meanwhile."""

import os
import socket
from pathlib import Path

import pytest

from outlast.core.control import Control
from outlast.core.errors import TransientError
from outlast.core.events import Event, Progress
from outlast.core.names import Target
from outlast.fetch.file_filter import Selection
from outlast.ops.add import add
from outlast.store.archive import Archive
from tests.cli.call import Call, inside
from tests.cli.conftest import FILES
from tests.pull.kit import check_archive, contents, tree

MIB = 1 << 20


def add_folder(home: Path, *more: str | Path) -> Call:
    return inside("add", home / "folder", "--as", "me/new", *more, home=home)


def refused(home: Path, *more: str | Path) -> str:
    """The message of an add that is refused and leaves the archive as it was."""
    before = tree(home / "archive" / "manifests")
    message = add_folder(home, *more).failed("bad-name")
    assert tree(home / "archive" / "manifests") == before
    inside("gc", home=home).ok()
    check_archive(home / "archive")
    return message


def test_links_to_files(home: Path) -> None:
    (home / "secret.txt").write_text("elsewhere")
    (home / "folder" / "link.txt").symlink_to(home / "secret.txt")
    assert "'link.txt' is a symbolic link" in refused(home)
    add_folder(home, "--follow-links").ok()
    assert contents(home / "archive", "me/new") == {**FILES, "link.txt": b"elsewhere"}


def test_links_to_folders(home: Path) -> None:
    (home / "folder" / "etc").symlink_to("/etc")
    assert "'etc' is a symbolic link" in refused(home)
    assert "'etc' is a symbolic link" in refused(home, "--follow-links")


def test_links_in_circles(home: Path) -> None:
    (home / "folder" / "loop").symlink_to(home / "folder")
    (home / "folder" / "self").symlink_to("self")
    refused(home)
    add_folder(home, "--follow-links").failed("bad-name", "storage")


def test_links_that_lead_nowhere(home: Path) -> None:
    (home / "folder" / "dangling").symlink_to("nowhere")
    refused(home)
    add_folder(home, "--follow-links").failed("storage", "not-found", "bad-name")


def test_a_link_can_be_left_out(home: Path) -> None:
    (home / "folder" / "link.txt").symlink_to("/etc/passwd")
    add_folder(home, "--exclude", "link.txt").ok()
    assert contents(home / "archive", "me/new") == FILES


def test_a_pipe_is_not_waited_for(home: Path) -> None:
    os.mkfifo(home / "folder" / "pipe")
    assert "not a regular file" in refused(home)
    assert "not a regular file" in inside(
        "add", home / "folder" / "pipe", "--as", "me/x", home=home
    ).failed("bad-name", "not-found").replace("no file or folder", "not a regular file")


def test_a_socket(home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(home / "folder" / "s"))
        assert "not a regular file" in refused(home)


def test_a_device(home: Path) -> None:
    device = home / "folder" / "null"
    try:
        os.mknod(device, 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device needs root")
    assert "not a regular file" in refused(home)
    inside("add", "/dev/zero", "--as", "me/x", home=home).failed("bad-name", "not-found")


@pytest.mark.parametrize(
    "twins",
    [
        ("Read.md", "READ.md"),
        ("caf\u00e9", "cafe\u0301"),
        ("x/file", "X"),
        ("a/b", "A/B"),
    ],
    ids=ascii,
)
def test_case_twins(home: Path, twins: tuple[str, str]) -> None:
    for number, name in enumerate(twins):
        path = home / "folder" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(number))
    if len({os.path.realpath(path) for path in (home / "folder").rglob("*")}) < len(twins):
        pytest.skip("this file system has no such twins")
    add_folder(home).ok()
    kept = {name: str(number).encode() for number, name in enumerate(twins)}
    assert contents(home / "archive", "me/new") == {**FILES, **kept}


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "\u202ee\x07"], ids=ascii)
def test_names_that_are_not_safe(home: Path, name: str) -> None:
    (home / "folder" / name).write_text("x")
    message = refused(home)
    assert message.isprintable()


@pytest.mark.parametrize(
    "name", ["con", "NUL.txt", "dot.", "space ", "a:b", "a\\b", "a?b"], ids=ascii
)
def test_names_that_no_other_system_has(home: Path, name: str) -> None:
    (home / "folder" / name).write_text("x")
    add_folder(home).ok()
    assert contents(home / "archive", "me/new") == {**FILES, name: b"x"}


def test_a_name_that_is_not_unicode(home: Path) -> None:
    path = os.path.join(os.fsencode(home), b"folder", b"\xff\xfe.txt")
    try:
        with open(path, "wb") as file:
            file.write(b"x")
    except OSError:
        pytest.skip("this file system knows Unicode only")
    refused(home)


def test_what_tools_leave_behind_is_left_out(home: Path) -> None:
    for name in (".git/config", ".DS_Store", "__pycache__/x.pyc", ".cache/huggingface/x"):
        path = home / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    call = add_folder(home).ok()
    assert call.err.count("left out") == 4
    assert contents(home / "archive", "me/new") == FILES


def test_hidden_files_are_files(home: Path) -> None:
    (home / "folder" / ".gitattributes").write_text("x")
    add_folder(home).ok()
    assert contents(home / "archive", "me/new") == {**FILES, ".gitattributes": b"x"}


def test_a_single_file(home: Path) -> None:
    call = inside("add", home / "folder" / "config.json", "--as", "me/one@v2", home=home).ok()
    assert contents(home / "archive", "me/one@v2") == {"config.json": FILES["config.json"]}
    assert call.out.strip() == inside("show", "me/one@v2", "--json", home=home).result["revision"]


def test_an_empty_folder(home: Path) -> None:
    (home / "bare").mkdir()
    inside("add", home / "bare", "--as", "me/x", home=home).failed("not-found")


def test_the_same_again_stores_nothing(home: Path) -> None:
    call = add_folder(home, "--json").ok()
    assert (call.result["type"], call.result["stored_bytes"]) == ("added", 0)
    assert call.result["files"] == len(FILES)
    assert {d["already"] for d in call.of_type("file-done")} == {True}


@pytest.mark.parametrize("change", ["append", "truncate", "rewrite", "replace"])
def test_a_file_that_changes_while_it_is_read(home: Path, change: str) -> None:
    large = home / "folder" / "large.bin"
    large.write_bytes(bytes(12 * MIB))
    changed = False

    def meddle(event: Event) -> None:
        nonlocal changed
        if changed or not isinstance(event, Progress) or event.path != "large.bin":
            return
        changed = True
        if change == "append":
            with large.open("ab") as file:
                file.write(b"more")
        elif change == "truncate":
            os.truncate(large, 5)
        elif change == "rewrite":
            with large.open("r+b") as file:
                file.write(b"other")
        else:
            (home / "other").write_bytes(b"replaced")
            os.replace(home / "other", large)

    before = tree(home / "archive" / "manifests")
    with Archive(home / "archive") as archive:
        arguments = (archive, home / "folder", Target.parse("me/new"))
        choice, control = Selection(), Control(meddle)
        if change == "replace":  # the file that was opened has not changed
            add(*arguments, selection=choice, follow_links=False, control=control)
        else:
            with pytest.raises(TransientError, match="while it was read"):
                add(*arguments, selection=choice, follow_links=False, control=control)
            assert tree(home / "archive" / "manifests") == before
    assert changed
    check_archive(home / "archive")


def test_a_file_that_may_not_be_read(home: Path) -> None:
    (home / "folder" / "closed.bin").write_text("x")
    os.chmod(home / "folder" / "closed.bin", 0)
    call = add_folder(home)
    if os.geteuid() == 0:
        call.ok()
    else:
        call.failed("storage")


def test_names_and_kinds_of_paths(home: Path) -> None:
    trailing = f"{home / 'folder'}/"
    inside("add", trailing, "--as", "me/slash", home=home).ok()
    inside("add", "folder", "--as", "me/relative", home=home, cwd=home).ok()
    inside("add", ".", "--as", "me/dot", home=home, cwd=home / "folder").ok()
    for name in ("me/slash", "me/relative", "me/dot"):
        assert contents(home / "archive", name) == FILES


def test_the_archive_is_not_added_to_itself(home: Path) -> None:
    """It may be refused or done, but it ends, and nothing is damaged."""
    call = inside("add", home / "archive", "--as", "me/self", home=home)
    if call.code != 0:
        call.failed("bad-name", "usage", "transient", "storage")
    check_archive(home / "archive")
