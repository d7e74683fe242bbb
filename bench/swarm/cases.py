"""The rows of the table: ours and the peers, measured by turns."""

import shlex
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from bench.process import BenchError, timed
from bench.rows import OURS, Row, Target, absolute, missing, paired
from bench.stage import MEGA, MissingPeerError, size_text
from bench.swarm.engines import TCP_ONLY, Aria2, Libtorrent, Ossllms, Star, nginx, sent_by_nginx
from bench.swarm.ours import FromHub, Ours, first_byte
from bench.swarm.payload import Payload, bf16, plain
from bench.swarm.rig import NODES, Engine, Result, Rig

_RATE = 10 * MEGA
_STAR = "curl, nginx"
_LAN = "ours, from the LAN"
_CHOSEN = ((OURS, _LAN), ("ossllms", "ossllms"))
_TCP = "libtorrent, TCP"
_HASHED = "curl + fsync + openssl sha256"
_CAP_NOTE = (
    "the cap is of Ethernet frames: 4.4 % of it are headers; a file is there when its program ends"
)


def _plain(rig: Rig) -> Payload:
    return _once(rig, "plain", lambda folder: plain(folder, rig.size))


def _once(rig: Rig, name: str, make: Callable[[Path], Payload]) -> Payload:
    if name not in rig.payloads:
        rig.payloads[name] = make(rig.folder / name)
    return rig.payloads[name]


def measure(
    rig: Rig, contestants: Mapping[str, Callable[[], Result]], once: Collection[str] = ()
) -> tuple[dict[str, list[Result]], str]:
    """All by turns, in an order that is turned round every time; those in `once` the first time
    only. Who fails is left out from then on; the text says why.
    """
    results: dict[str, list[Result]] = {
        name: [] for name in contestants if not (rig.alone and name == OURS)
    }
    broken: dict[str, str] = {}
    for turn in range(rig.pairs):
        for name in list(results)[:: 1 if turn % 2 == 0 else -1]:
            if turn and name in once:
                continue
            try:
                results[name].append(contestants[name]())
            except (BenchError, MissingPeerError, OSError, AssertionError) as error:
                broken[name] = " ".join(str(error).split())[-300:]
                del results[name]
    return results, "; ".join(f"{name}: {why}" for name, why in broken.items())


def _against(
    what: str, samples: Mapping[str, Sequence[float]], peer: str, target: Target | None, note: str
) -> Row:
    """MB/s, ours against one peer."""
    if OURS in samples:
        return paired(what, "MB/s", samples, peer, target=target, note=note)
    return _absent(what, "MB/s", {peer: samples.get(peer, ())}, target, note)


def _rates(payload: Payload, results: Mapping[str, Sequence[Result]]) -> dict[str, list[float]]:
    """MB/s of one transfer."""
    size = payload.size / MEGA
    return {name: [size / one.seconds for one in runs] for name, runs in results.items()}


def _absent(
    what: str, unit: str, peers: Mapping[str, Sequence[float]], target: Target | None, note: str
) -> Row:
    beside = {k: float(f"{statistics.median(v):.4g}") if v else None for k, v in peers.items()}
    why = note or "ours was not run"
    return Row(what, unit, None, beside, None, str(target or ""), None, why)


def _beside(
    what: str, unit: str, samples: Mapping[str, Sequence[float]], target: Target, note: str
) -> Row:
    """Our own figure against a bound, the peers' beside it."""
    peers = {name: values for name, values in samples.items() if name != OURS}
    if OURS not in samples:
        return _absent(what, unit, peers, target, note)
    medians = {name: statistics.median(values) for name, values in peers.items()}
    return absolute(what, unit, samples[OURS], target=target, peers=medians, note=note)


def one_to_one(rig: Rig) -> list[Row]:
    """One seed, one node, nothing between them but what the machine can."""
    payload = _plain(rig)
    engines: tuple[Engine, ...] = (
        *(Ours(), Ours(_LAN, source="lan"), Aria2(), Ossllms()),
        *(Libtorrent(_TCP, TCP_ONLY), Libtorrent("libtorrent")),
    )
    results, note = measure(rig, _crowds(rig, engines, payload, 1))
    samples = _rates(payload, results)
    what = f"1 → 1 by BitTorrent, {size_text(rig.size)}"
    rows = [
        _against(what, samples, "aria2c", Target("≥", 1.0), note),
        _against(what, samples, "ossllms", Target("≥", 5.0), note),
        _against(what, samples, _TCP, None, note),
        _against(what, samples, "libtorrent", None, note),
    ]
    if _LAN in samples:
        by_choice = {name: samples[of] for name, of in _CHOSEN if of in samples}
        what = f"1 → 1 as pull chooses (HTTP), {size_text(rig.size)}"
        rows.append(_against(what, by_choice, "ossllms", Target("≥", 5.0), note))
    return rows


def _crowds(
    rig: Rig, engines: Sequence[Engine], payload: Payload, count: int
) -> dict[str, Callable[[], Result]]:
    def of(engine: Engine) -> Callable[[], Result]:
        return lambda: rig.crowd(engine, payload, count)

    return {engine.name: of(engine) for engine in engines}


def by_http(rig: Rig) -> list[Row]:
    """One healthy HTTP source, one node that may use anything."""
    payload = _plain(rig)
    star, hub = Star(), FromHub()

    def hashed() -> Result:
        with star.seeding(rig, payload):
            return _curl_and_check(rig, payload)

    results, note = measure(
        rig,
        {
            OURS: lambda: rig.crowd(hub, payload, 1),
            _STAR: lambda: rig.crowd(star, payload, 1),
            _HASHED: hashed,
        },
    )
    samples = _rates(payload, results)
    what = f"1 → 1, an HTTP source is there, {size_text(rig.size)}"
    theirs = "curl neither checks nor syncs what it wrote"
    return [
        _against(what, samples, _STAR, Target("≥", 0.8), note or theirs),
        _against(what, samples, _HASHED, None, note),
    ]


def _curl_and_check(rig: Rig, payload: Payload) -> Result:
    folder = rig.folder / "hashed"
    folder.mkdir(exist_ok=True)
    task = Star().task(rig, payload, folder)
    assert task.file is not None
    file = shlex.quote(str(task.file))
    script = f"{shlex.join(map(str, task.command))} && sync {file} && openssl sha256 {file}"
    try:
        with rig.nodes[0].inside():
            cost = timed(["sh", "-c", script], task.env or {})
    finally:
        task.file.unlink(missing_ok=True)
    return Result(cost.wall, 0, payload.size, cost.cpu)


def crowd(rig: Rig) -> list[Row]:
    """One seed at 10 MB/s and eight nodes that come at once."""
    payload = _plain(rig)
    engines: tuple[Engine, ...] = (
        *(Ours(), Star(), Aria2(), Ossllms()),
        *(Libtorrent(_TCP, TCP_ONLY), Libtorrent("libtorrent")),
    )
    with rig.capped(rig.seed, _RATE):
        # The star is as slow as its link, every time.
        results, note = measure(rig, _crowds(rig, engines, payload, NODES), once={_STAR})
    ideal = payload.size / _RATE
    what = f"1 seed at 10 MB/s → {NODES} nodes, {size_text(rig.size)}"
    times = {name: [one.seconds / ideal for one in runs] for name, runs in results.items()}
    sent = {name: [one.sent / payload.size for one in runs] for name, runs in results.items()}
    rates = {name: [1 / one.seconds for one in runs] for name, runs in results.items()}
    rows = [
        _beside(f"{what}: time", "of the ideal", times, Target("≤", 1.15), note or _CAP_NOTE),
        _beside(f"{what}: sent by the seed", "copies", sent, Target("≤", 1.15), note),
    ]
    if OURS in rates and "ossllms" in rates:
        speed = f"{what}: speed"
        rows.append(paired(speed, "1/s", rates, "ossllms", target=Target("≥", 5.0), note=note))
    return rows


def capsules(rig: Rig) -> list[Row]:
    """The same with bf16 weights, which the seed holds as a capsule."""
    payload = _once(rig, "bf16", lambda folder: bf16(folder, rig.size))
    engines: tuple[Engine, ...] = (Ours(form="capsule"), Libtorrent(_TCP, TCP_ONLY))
    with rig.capped(rig.seed, _RATE):
        results, note = measure(rig, _crowds(rig, engines, payload, NODES))
    ideal = payload.size / _RATE
    times = {name: [one.seconds / ideal for one in runs] for name, runs in results.items()}
    size = size_text(round(payload.size / MEGA) * MEGA)
    what = f"the same, capsules of {size} of bf16 weights"
    return [_beside(what, "of plain's ideal", times, Target("≤", 0.8), note)]


def origin(rig: Rig) -> list[Row]:
    """Eight nodes that all have the hub as a source, and each other."""
    payload = _plain(rig)
    hub = FromHub()

    def ours() -> Result:
        with hub.seeding(rig, payload):
            assert hub.hub is not None
            before = hub.hub.sent()
            result = rig.fetch(hub, payload, rig.nodes)
            return Result(result.seconds, hub.hub.sent() - before, result.received, result.cpu)

    def star() -> Result:
        with nginx(rig, payload.path.parent) as folder:
            result = rig.fetch(Star(), payload, rig.nodes)
            return Result(result.seconds, sent_by_nginx(folder), result.received, result.cpu)

    def web_seeds() -> Result:
        engine = Libtorrent("libtorrent, web seeds", TCP_ONLY, web_seeds=True)
        with engine.seeding(rig, payload):
            result = rig.fetch(engine, payload, rig.nodes)
            sent = sent_by_nginx(rig.folder / "nginx")
            return Result(result.seconds, sent, result.received, result.cpu)

    contestants = {OURS: ours, _STAR: star, "libtorrent, web seeds": web_seeds}
    with rig.capped(rig.origin, 4 * _RATE), rig.capped(rig.seed, 4 * _RATE):
        results, note = measure(rig, contestants)
    copies = {name: [one.sent / payload.size for one in runs] for name, runs in results.items()}
    what = f"bytes of the origin (at 40 MB/s), {NODES} nodes, {size_text(rig.size)}"
    return [_beside(what, "copies", copies, Target("≤", 1.05), note)]


def dark(rig: Rig) -> list[Row]:
    """The hub is gone and a neighbour is there: how long until its bytes come."""
    if rig.alone:
        return []
    payload = _plain(rig)
    hubs = {
        "the hub refuses": f"http://{rig.origin.address}:9",
        "the hub is silent": f"http://10.{rig.lan.number}.0.99",
        "the hub has no address": "https://hub.invalid",
    }
    rows = []
    for how, hub in hubs.items():
        what = f"hub dark, LAN peer present: first byte ({how})"
        target = Target("<", 5.0)
        try:
            with Ours().seeding(rig, payload):
                seconds = [
                    first_byte(rig.nodes[0], rig.folder / f"dark-{turn}", hub)
                    for turn in range(rig.pairs)
                ]
        except BenchError as error:
            rows.append(missing(what, "s", target, str(error)))
            continue
        rows.append(absolute(what, "s", seconds, target=target))
    return rows
