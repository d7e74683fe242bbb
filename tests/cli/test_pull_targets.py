"""What a pull can be asked for, and how it refuses what it cannot do."""

from pathlib import Path

import pytest

from outlast.cli.options.target import TorrentFile, Wanted, parse_wanted
from outlast.core.digest import Digest
from outlast.core.errors import BadNameError, MalformedError
from outlast.core.names import Target
from outlast.ops.pull_link import LinkWanted
from outlast.swarm.torrent.magnet import parse_magnet
from tests.cli.call import inside
from tests.swarm.seeds import make_torrent, write

MAGNET = f"magnet:?xt=urn:btmh:1220{'ab' * 32}&dn=me--model"
HOSTILE = Path(__file__).parents[1] / "hostile"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("org/name", Target.parse("org/name")),
        ("datasets/org/name@v1", Target.parse("datasets/org/name@v1")),
        ("a" * 40, Target.parse("a" * 40)),
        ("A" * 64, Digest("a" * 64)),
        (MAGNET, LinkWanted(parse_magnet(MAGNET))),
        (MAGNET.replace("magnet", "MAGNET"), LinkWanted(parse_magnet(MAGNET))),
        ("some/where/model.torrent", TorrentFile(Path("some/where/model.torrent"))),
        ("MODEL.TORRENT", TorrentFile(Path("MODEL.TORRENT"))),
    ],
)
def test_what_is_meant(text: str, wanted: Wanted) -> None:
    assert parse_wanted(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "a/b/c", "https://huggingface.co/org/name", "../x", "org/name@", "a" * 65 + "/"]
)
def test_what_means_nothing(text: str) -> None:
    with pytest.raises(BadNameError):
        parse_wanted(text)


@pytest.mark.parametrize("text", ["magnet:", "magnet:?dn=x", "magnet:?xt=urn:btih:zz"])
def test_a_link_that_is_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(MalformedError):
        parse_wanted(text)
    inside("pull", text, home=tmp_path).failed("malformed")


@pytest.mark.parametrize("path", sorted((HOSTILE / "torrents").iterdir()), ids=lambda p: p.name)
def test_hostile_torrents_end_in_a_line(path: Path, tmp_path: Path) -> None:
    """Or, those that are only strange, in the word that there is no swarm."""
    file = tmp_path / "a.torrent"
    file.write_bytes(path.read_bytes())
    call = inside("pull", file, home=tmp_path)
    call.failed("malformed", "bad-name", "usage")
    partial = tmp_path / "archive" / "partial"
    assert not partial.is_dir() or not list(partial.iterdir())


def test_no_such_file(tmp_path: Path) -> None:
    inside("pull", "none.torrent", home=tmp_path).failed("not-found")
    (tmp_path / "folder.torrent").mkdir()
    inside("pull", "folder.torrent", home=tmp_path).failed("not-found")


def test_links_need_the_swarm(tmp_path: Path) -> None:
    torrent = tmp_path / "a.torrent"
    torrent.write_bytes(make_torrent(write(tmp_path / "model", {"a": b"a"})))
    for wanted in (MAGNET, "a" * 64, torrent):
        message = inside("pull", wanted, home=tmp_path).failed("usage")
        assert "swarm" in message


@pytest.mark.parametrize(
    "arguments",
    [
        ("org/name", "--as", "me/model"),
        ("a" * 64, "--as", "me/model"),
        ("org/name", "--patience", "3"),
        (MAGNET, "--include", "*.json"),
        ("a" * 64, "--exclude", "*.json"),
    ],
)
def test_options_that_do_not_go_together(arguments: tuple[str, ...], tmp_path: Path) -> None:
    inside("pull", *arguments, home=tmp_path).failed("usage")
    assert not (tmp_path / "archive").exists()
