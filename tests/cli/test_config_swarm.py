"""The sections [swarm] and [share]: every key, and every way to get one wrong."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.cli.config.environ import swarm_of
from outlast.cli.config.file import Config, load_config, parse_rate, parse_size
from outlast.cli.config.sections import read_file
from outlast.cli.config.values import check_tracker, check_url, parse_address
from outlast.core.errors import BadConfigError
from outlast.node.policy import SharePolicy
from outlast.swarm.schedule import Rates, Window, rates_at
from outlast.swarm.settings import SwarmSettings
from tests.store.build import check_error

Load = Callable[..., Config]

ALL = """
[swarm]
enabled = false
port = 6881
peer-port = 9000
peers = ["node.example:8091", "192.0.2.7:1", "[2001:db8::7]:65535"]
trackers = ["https://tracker.example/announce?key=secret", "udp://tracker.example:6969"]
dht = true
dht-routers = ["router.example:6881"]
dht-port = 6882
link-hosts = ["192.168.1.7", "fd00:1::/64"]
utp = true
upnp = true
up = "1.5M"
down = 500000
lan-up = "10MiB/s"
lan-down = "0"
schedule = [
    {days = "mon-fri", hours = "08:00-18:00", up = "2M", down = "5M"},
    {days = "sat,sun", hours = "22:30-06:00", down = "1M"},
    {up = "100k"},
]

[share]
include = ["org/*", "gpt2"]
exclude = "org/secret"
restricted = true
largest = "50GB"
"""


MANY = '"a:1",' * 1001


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str = "", **environ: str) -> Config:
        file = tmp_path / "config.toml"
        file.write_text(text)
        return load_config({"OUTLAST_CONFIG": str(file)} | environ)

    return load


def test_nothing_said(load: Load) -> None:
    assert load().swarm == SwarmSettings()
    assert load().share == SharePolicy()
    assert load("[swarm]\n[share]").swarm == SwarmSettings()


def test_everything_said(load: Load) -> None:
    config = load(ALL)
    weekdays, weekend = frozenset(range(5)), frozenset({5, 6})
    assert config.swarm == SwarmSettings(
        enabled=False,
        port=6881,
        peer_port=9000,
        peers=(("node.example", 8091), ("192.0.2.7", 1), ("2001:db8::7", 65535)),
        trackers=("https://tracker.example/announce?key=secret", "udp://tracker.example:6969"),
        dht=True,
        dht_port=6882,
        dht_routers=(("router.example", 6881),),
        link_hosts=("192.168.1.7/32", "fd00:1::/64"),
        utp=True,
        upnp=True,
        rates=Rates(1_500_000, 500_000, 10 << 20, 0),
        schedule=(
            Window(weekdays, 8 * 60, 18 * 60, 2_000_000, 5_000_000),
            Window(weekend, 22 * 60 + 30, 6 * 60, 1_500_000, 1_000_000),
            Window(weekdays | weekend, 0, 24 * 60, 100_000, 500_000),
        ),
    )
    assert config.share == SharePolicy(("org/*", "gpt2"), ("org/secret",), True, 50 * 10**9)


def test_a_window_that_passes_midnight(load: Load) -> None:
    swarm = load('[swarm]\nschedule = [{days = "fri", hours = "22:00-06:30", up = "1k"}]').swarm
    friday, saturday = datetime(2026, 1, 2, 23, 0), datetime(2026, 1, 3, 6, 29)  # noqa: DTZ001
    for moment, up in ((friday, 1000), (saturday, 1000), (saturday.replace(minute=30), 0)):
        assert rates_at(swarm.rates, swarm.schedule, moment).up == up


def test_private_mode_turns_off_all_that_announces(load: Load) -> None:
    for config in (load(ALL, OUTLAST_PRIVATE="1"), load(ALL.replace("utp", "private = true\nutp"))):
        swarm = config.swarm
        assert (swarm.private, swarm.dht, swarm.upnp, swarm.trackers) == (True, False, False, ())
        assert len(swarm.peers) == 3
    assert load("[swarm]\nprivate = true", OUTLAST_PRIVATE="0").swarm == SwarmSettings()


def test_the_environment_goes_before_the_file(load: Load) -> None:
    swarm = load(
        ALL,
        OUTLAST_SWARM="1",
        OUTLAST_PEERS="a:1, [::1]:2,,a:1",
        OUTLAST_SWARM_PORT="0",
        OUTLAST_PEER_PORT="65535",
        OUTLAST_DHT_PORT="9",
    ).swarm
    assert swarm.enabled
    assert swarm.peers == (("a", 1), ("::1", 2))
    assert (swarm.port, swarm.peer_port, swarm.dht_port) == (0, 65535, 9)
    assert not load("", OUTLAST_SWARM="0").swarm.enabled
    names = ("SWARM", "PEERS", "PRIVATE", "SWARM_PORT", "PEER_PORT", "DHT_PORT")
    assert load(ALL, **{f"OUTLAST_{name}": "" for name in names}) == load(ALL)


@pytest.mark.parametrize(
    "environ",
    [
        {"OUTLAST_SWARM": "yes"},
        {"OUTLAST_SWARM": "01"},
        {"OUTLAST_PRIVATE": "\udcff"},
        {"OUTLAST_PEERS": "node.example"},
        {"OUTLAST_PEERS": "a:1,b"},
        {"OUTLAST_SWARM_PORT": "65536"},
        {"OUTLAST_SWARM_PORT": "-1"},
        {"OUTLAST_PEER_PORT": "\u0663"},
        {"OUTLAST_PEER_PORT": "9" * 5000},
        {"OUTLAST_PEER_PORT": "http"},
    ],
)
def test_a_wrong_environment(load: Load, environ: dict[str, str]) -> None:
    with pytest.raises(BadConfigError) as caught:
        load("", **environ)
    check_error(caught.value)
    assert next(iter(environ)) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("swarm = true", "'swarm'"),
        ("share = []", "'share'"),
        ("[[swarm]]", "'swarm'"),
        ("[swarm]\nprot = 1", "'prot'"),
        ("[share]\nlimit = 1", "'limit'"),
        ("[swarm]\nenabled = 1", "'enabled'"),
        ('[swarm]\ndht = "yes"', "'dht'"),
        ("[swarm]\nport = true", "'port'"),
        ('[swarm]\nport = "80"', "'port'"),
        ("[swarm]\nport = 1.0", "'port'"),
        ("[swarm]\npeer-port = 65536", "'peer-port'"),
        (f"[swarm]\nport = 0x{'f' * 5000}", "'port'"),
        ("[swarm]\npeers = [1]", "'peers'"),
        ('[swarm]\npeers = {a = "b:1"}', "'peers'"),
        ('[swarm]\npeers = ["a:1", "b"]', "'peers'"),
        ('[swarm]\npeers = ["\\u0000:1"]', "'peers'"),
        (f"[swarm]\npeers = [{MANY}]", "'peers'"),
        ("[swarm]\nport = 7\ndht-port = 7", "dht-port"),
        ('[swarm]\ndht-routers = ["0.0.0.0:1"]', "'dht-routers'"),
        ('[swarm]\nlink-hosts = ["tracker.example"]', "'link-hosts'"),
        ('[swarm]\nlink-hosts = ["10.1.2.3/8"]', "'link-hosts'"),
        ('[swarm]\ntrackers = ["ftp://a/b"]', "'trackers'"),
        ('[swarm]\nup = "fast"', "'up'"),
        ("[swarm]\nup = -1", "'up'"),
        ("[swarm]\nup = true", "'up'"),
        ("[swarm]\nup = nan", "'up'"),
        ("[swarm]\nlan-down = inf", "'lan-down'"),
        (f"[swarm]\ndown = 0x{'f' * 5000}", "'down'"),
        ("[swarm]\nlan-up = [1]", "'lan-up'"),
        ("[swarm]\nschedule = 1", "'schedule'"),
        ("[swarm]\nschedule = [1]", "'schedule'"),
        (f"[swarm]\nschedule = [{'{up = 1},' * 1001}]", "'schedule'"),
        ("[swarm]\nschedule = [{}]", "'up'"),
        ('[swarm]\nschedule = [{up = "1", when = "now"}]', "'when'"),
        ('[swarm]\nschedule = [{up = "x"}]', "'up'"),
        ('[share]\ninclude = [""]', "'include'"),
        ('[share]\nexclude = ["a\\nb"]', "'exclude'"),
        (f'[share]\nexclude = "{"*" * 301}"', "'exclude'"),
        ("[share]\ninclude = true", "'include'"),
        ('[share]\nlargest = "much"', "'largest'"),
        ("[share]\nlargest = -1", "'largest'"),
        ("[share]\nlargest = 1979-05-27", "'largest'"),
        ("[share]\nrestricted = 0", "'restricted'"),
        (f"limit-rate = 0x{'f' * 5000}", "rate"),
        (f"working-copies = 0x{'f' * 5000}", "size"),
    ],
)
def test_a_wrong_setting_is_named(load: Load, line: str, said: str) -> None:
    with pytest.raises(BadConfigError) as caught:
        load(line)
    check_error(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("daily", range(7)),
        ("Mon-Fri", range(5)),
        (" sat , sun ", (5, 6)),
        ("sun", (6,)),
        ("fri-mon", (4, 5, 6, 0)),
        ("mon-mon", (0,)),
        ("mon-tue,thu,thu", (0, 1, 3)),
    ],
)
def test_days(load: Load, days: str, expected: range | tuple[int, ...]) -> None:
    (window,) = load(f'[swarm]\nschedule = [{{days = "{days}", up = "1"}}]').swarm.schedule
    assert window.days == frozenset(expected)


@pytest.mark.parametrize(
    "days",
    [
        *("", "monday", "mon-", "-mon", "mon--tue", "mon;tue", "mon,", "1-5", "daily,mon"),
        "x" * 9999,
    ],
)
def test_what_are_no_days(load: Load, days: str) -> None:
    with pytest.raises(BadConfigError, match="not days") as caught:
        load(f'[swarm]\nschedule = [{{days = "{days}", up = "1"}}]')
    check_error(caught.value)


@pytest.mark.parametrize(
    ("hours", "start", "end"),
    [
        ("08:00-18:00", 480, 1080),
        ("8:00 - 18:05", 480, 1085),
        ("22:00-06:30", 1320, 390),
        ("00:00-24:00", 0, 1440),
        ("12:00-00:00", 720, 0),
    ],
)
def test_hours(load: Load, hours: str, start: int, end: int) -> None:
    (window,) = load(f'[swarm]\nschedule = [{{hours = "{hours}", up = "1"}}]').swarm.schedule
    assert (window.start, window.end) == (start, end)


@pytest.mark.parametrize(
    "hours",
    [
        *("", "8-18", "08:00", "24:00-08:00", "08:60-09:00", "08:00-24:01", "08:00-18:00:00"),
        *("08:00-09:0\u0663", "-08:00-09:00"),
    ],
)
def test_what_are_no_hours(load: Load, hours: str) -> None:
    with pytest.raises(BadConfigError, match="not hours") as caught:
        load(f'[swarm]\nschedule = [{{hours = "{hours}", up = "1"}}]')
    check_error(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host:1", ("host", 1)),
        (" a.b-c_d.example:65535 ", ("a.b-c_d.example", 65535)),
        ("host.:80", ("host.", 80)),
        ("127.0.0.1:08091", ("127.0.0.1", 8091)),
        ("[::1]:1", ("::1", 1)),
        ("[2001:DB8:0::1]:1", ("2001:db8::1", 1)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "host", "host:", "host:0", "host:65536", "host:-1", "host:+1", "host:1_0"),
        *(":80", "host:\u0663", "host:000001", "ho st:1", "höst:1", "host/x:1", "user@host:1"),
        *("a..b:1", "-a:1", "::1:8091", "[::1]", "[::1]x:1", "[host]:1", "[127.0.0.1]:1"),
        *("[]:1", "[::1:1", "::1]:1", "1.2.3:1", "1.2.3.4.5:1", "256.1.1.1:1", "0.0.0.0:1"),
        *("[::]:1", "224.0.0.1:1", "[ff02::1]:1", "[fe80::1%\n]:1", "a\n:1", "http://host:1"),
        *("a" * 254 + ":1", f"[fe80::1%{'e' * 200}]:1"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BadConfigError) as caught:
        parse_address(text)
    check_error(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "https://", "ftp://a/b", "https://a:0/b", "https://a:99999/b", "https://[::1/b"),
        *("https://user:pass@a/b", "https://a/b c", "https://a/b#c", "https://a/\n", "https://é/b"),
        "https://a/" + "b" * 2048,
    ],
)
def test_what_is_no_tracker(url: str) -> None:
    with pytest.raises(BadConfigError) as caught:
        check_tracker(url)
    check_error(caught.value)


def test_an_error_does_not_show_a_secret() -> None:
    with pytest.raises(BadConfigError) as caught:
        check_tracker("ftp://a/announce?key=sesame")
    assert "sesame" not in str(caught.value)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.sampled_from(["a:1", "[::1]:1", "https://a/b", "mon-fri", "8:00-9:00", "1M", "daily"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)  # fmt: skip
WINDOW = st.dictionaries(st.sampled_from(["days", "hours", "up", "down", "x"]), VALUES)
KEYS = [
    *("enabled", "port", "peer-port", "peers", "trackers", "dht", "dht-routers", "dht-port"),
    *("link-hosts", "utp"),
    "private",
    *("upnp", "up", "down", "lan-up", "lan-down", "schedule", "include", "exclude", "restricted"),
    *("largest", "x"),
]
NAMES = [f"OUTLAST_{name}" for name in ("SWARM", "PEERS", "PRIVATE", "SWARM_PORT", "PEER_PORT")]


@given(
    st.sampled_from(["swarm", "share"]),
    st.dictionaries(st.sampled_from(KEYS), VALUES | st.lists(WINDOW), max_size=2) | VALUES,
    st.dictionaries(st.sampled_from(NAMES), st.text() | st.sampled_from("01"), max_size=1),
)
def test_whatever_it_says_is_taken_or_refused(
    section: str, table: object, environ: Mapping[str, str]
) -> None:
    try:
        said = read_file({section: table})
        hash((swarm_of(said.swarm, environ), said.share))
    except BadConfigError as error:
        check_error(error)


@given(st.text() | st.from_regex(r"[0-9.]{1,5}:[0-9]{1,6}|\[[0-9a-f:.%]*\]:[0-9]+", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_address, check_tracker, check_url, parse_rate, parse_size):
        try:
            parse(text)
        except BadConfigError as error:
            check_error(error)
