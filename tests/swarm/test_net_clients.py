"""Ordinary BitTorrent clients on the network: they fetch from us, and seed to us, by the torrents
of `outlast share`.

Debian's aria2 (before 1.37) and Transmission (before 4) do not know hybrids: they get version 1. A
hybrid is for a client of today, for which libtorrent stands.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.net import Host, Net, needs_lab
from tests.net.node import Model, Node, make_model
from tests.net.program import Program, environment, until
from tests.store.weights import model as tensors

pytestmark = [pytest.mark.net, needs_lab("aria2c", "transmission-daemon")]
MB = 1_000_000
_OURS = 8090
_THEIRS = 51413
_TOP = Path(__file__).resolve().parents[2]
_ARIA2 = (
    *("aria2c", "--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"),
    *("--file-allocation=none", f"--listen-port={_THEIRS}"),
)
_LIBTORRENT = """
import libtorrent, sys, time
torrent, folder, seeds = sys.argv[1:]
session = libtorrent.session({"listen_interfaces": "0.0.0.0:%d", "enable_dht": False,
    "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False})
params = libtorrent.load_torrent_file(torrent)
params.save_path = folder
params.flags &= ~libtorrent.torrent_flags.auto_managed & ~libtorrent.torrent_flags.paused
if int(seeds):
    params.flags |= libtorrent.torrent_flags.seed_mode
handle = session.add_torrent(params)
time.sleep(1000000)
"""

Start = Callable[[Host, Path, Path, bool], Program]


def aria2(host: Host, torrent: Path, folder: Path, seeds: bool) -> Program:
    how = ["--check-integrity=true", "--seed-ratio=0.0"] if seeds else ["--seed-time=0"]
    command = [*_ARIA2, *how, f"--dir={folder}", f"--torrent-file={torrent}"]
    return host.start("aria2c", command)


def transmission(host: Host, torrent: Path, folder: Path, seeds: bool) -> Program:
    """It checks by itself what is in its folder already."""
    del seeds
    config = host.folder / "transmission"
    watched = config / "watch"
    watched.mkdir(parents=True)
    shutil.copy(torrent, watched)
    names = ("dht", "lpd", "utp", "port-forwarding", "incomplete-dir")
    settings: dict[str, object] = {f"{name}-enabled": False for name in names}
    settings |= {"peer-port": _THEIRS, "rpc-enabled": False}
    settings |= {"watch-dir": str(watched), "watch-dir-enabled": True}
    (config / "settings.json").write_text(json.dumps(settings))
    command: list[str | Path] = ["transmission-daemon", "-f", "-g", config, "-w", folder]
    return host.start("transmission", command)


def aria2_on_lan(host: Host, torrent: Path, folder: Path, seeds: bool) -> Program:
    """It looks for others by local service discovery, and knows no tracker."""
    del seeds
    command = [*_ARIA2, "--bt-enable-lpd=true", f"--bt-lpd-interface={host.address}"]
    return host.start(
        "aria2c", [*command, "--seed-time=0", f"--dir={folder}", f"--torrent-file={torrent}"]
    )


def libtorrent_on_lan(host: Host, torrent: Path, folder: Path, seeds: bool) -> Program:
    script = (_LIBTORRENT % _THEIRS).replace('"enable_lsd": False', '"enable_lsd": True')
    command: list[str | Path] = [sys.executable, "-c", script, torrent, folder, str(int(seeds))]
    return host.start("libtorrent", command, environment(host.folder))


def libtorrent(host: Host, torrent: Path, folder: Path, seeds: bool) -> Program:
    script = _LIBTORRENT % _THEIRS
    command: list[str | Path] = [sys.executable, "-c", script, torrent, folder, str(int(seeds))]
    return host.start("libtorrent", command, environment(host.folder))


OLD = [pytest.param(aria2, id="aria2"), pytest.param(transmission, id="transmission")]
ALL = [*OLD, pytest.param(libtorrent, id="libtorrent")]


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.fixture
def model(net: Net) -> Model:
    return make_model(net.folder / "model", 12, 3)


def share(node: Node, model: Model, out: Path, *arguments: str) -> dict[bool, Path]:
    """The torrents of the whole revision, by whether they are of version 1 alone."""
    node.run("share", model.name, "--out", out, "--v1", *arguments)
    files = sorted(out.glob("*.torrent"))
    found = {b"meta version" not in path.read_bytes(): path for path in files}
    assert len(files) == len(found) == 2, files
    return found


def arrived(folder: Path, model: Model) -> bool:
    """Whether all files are there, in the folder that the torrent names."""
    return all(
        any(
            path.stat().st_size == len(data) and path.read_bytes() == data
            for path in folder.glob(f"*/{name}")
        )
        for name, data in model.files.items()
    )


def weights(folder: Path) -> Model:
    """A model that capsules make smaller."""
    files = {"config.json": b"{}", "model.safetensors": tensors(1, 5 * MB)}
    folder.mkdir()
    for path, data in files.items():
        (folder / path).write_bytes(data)
    return Model(folder, files)


def lay_out(torrent: Path, folder: Path, model: Model) -> None:
    """The files as the torrent names them."""
    import libtorrent as lt  # noqa: PLC0415 - the name is a function here

    name = lt.torrent_info(str(torrent)).name()
    shutil.copytree(model.folder, folder / name)


@pytest.mark.parametrize("start", ALL)
def test_they_fetch_from_us(net: Net, model: Model, start: Start) -> None:
    """By the torrent, with our node as its web seed."""
    lan = net.lan()
    us, they = Node(lan.host("us")), lan.host("they")
    us.add(model)
    us.serve("--listen", f"{us.host.address}:{_OURS}")
    web_seed = f"http://{us.host.address}:{_OURS}"
    torrents = share(us, model, net.folder / "torrents", "--web-seed", web_seed)
    folder = they.folder / "came"
    program = start(they, torrents[start is not libtorrent], folder, False)
    until(lambda: arrived(folder, model) or program.tail() == "", f"it has come: {program.name}")


@pytest.mark.parametrize("form", ["plain", "capsule"])
@pytest.mark.parametrize("start", ALL)
def test_they_fetch_from_the_swarm(net: Net, start: Start, form: str) -> None:
    """By BitTorrent alone: our node seeds what it shares, and its tracker says so. What it holds as
    capsules it seeds from working copies.
    """
    lan = net.lan()
    model = weights(net.folder / "model") if form == "capsule" else make_model(net.folder / "m", 9)
    us, they = Node(lan.host("us")), lan.host("they")
    us.add(model, "--form", form)
    us.serve()
    tracker = f"http://{us.host.address}:8091/announce"
    torrents = share(us, model, net.folder / "torrents", "--tracker", tracker)
    assert (us.home / "capsules").is_dir() == (form == "capsule")
    folder = they.folder / "came"
    program = start(they, torrents[start is not libtorrent], folder, False)
    until(lambda: arrived(folder, model), f"it has come: {program.name}")


@pytest.mark.parametrize(
    "start",
    [pytest.param(aria2_on_lan, id="aria2"), pytest.param(libtorrent_on_lan, id="libtorrent")],
)
def test_they_find_us_on_the_lan(net: Net, model: Model, start: Start) -> None:
    """With no tracker, and by a node that began after the torrent was made. Soon after ``--stop``
    no client is served any more.
    """
    lan = net.lan()
    us, they = Node(lan.host("us")), lan.host("they")
    us.add(model)
    torrents = share(us, model, net.folder / "torrents")
    us.serve()
    torrent = torrents[start is aria2_on_lan]
    folder = they.folder / "came"
    program = start(they, torrent, folder, False)
    until(lambda: arrived(folder, model), f"it has come: {program.name}")
    program.kill()
    us.run("share", "--stop", model.name)
    assert list((us.home / "shared").iterdir()) == []
    late = [Node(lan.host(f"late{number}")) for number in range(4)]
    assert any(node.start("pull", torrent, "--patience", "3").wait() == 5 for node in late)


@pytest.mark.parametrize("start", ALL)
def test_they_seed_to_us(net: Net, model: Model, start: Start) -> None:
    """They are found by the tracker of some node, and have the files under their own names."""
    lan = net.lan()
    other, us, they = Node(lan.host("other")), Node(lan.host("us")), lan.host("they")
    other.serve()
    tracker = f"http://{other.host.address}:8091/announce"
    author = Node(lan.host("author"))
    author.add(model)
    torrents = share(author, model, net.folder / "torrents", "--tracker", tracker)
    torrent = torrents[start is not libtorrent]
    folder = they.folder / "has"
    lay_out(torrent, folder, model)
    program = start(they, torrent, folder, True)
    us.run("pull", torrent, "--patience", "60")
    assert us.has_all(model), program.tail()


@pytest.mark.parametrize("start", [pytest.param(libtorrent, id="libtorrent")])
def test_a_magnet_link_will_do(net: Net, model: Model, start: Start) -> None:
    """Nothing but a link: what the torrent says is asked of the client too."""
    lan = net.lan()
    other, us, they = Node(lan.host("other")), Node(lan.host("us")), lan.host("they")
    other.serve()
    tracker = f"http://{other.host.address}:8091/announce"
    author = Node(lan.host("author"))
    author.add(model)
    out = net.folder / "torrents"
    torrents = share(author, model, out, "--tracker", tracker)
    said = author.run("share", model.name, "--out", out, "--tracker", tracker)
    magnet = next(d["magnet"] for d in said if "magnet" in d)
    folder = they.folder / "has"
    lay_out(torrents[False], folder, model)
    program = start(they, torrents[False], folder, True)
    us.run("pull", magnet, "--patience", "60")
    assert us.has_all(model), program.tail()
