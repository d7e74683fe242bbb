"""The units that `outlast service install` writes: what they say comes back as it was meant,
systemd accepts them, and the sandbox is a good one.
"""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.cli.service import place
from outlast.cli.service.place import closed_to_others
from outlast.cli.service.quoting import argument, program, quoted, whole
from outlast.cli.service.units import MARK, Owner, Setup, serve_unit, sync_timer, sync_unit
from outlast.core.errors import PolicyError, UsageError
from tests.cli.call import Call, inside
from tests.service.reading import command, settings, specifiers, words

ODD = """ab %$"'\\;#{}[]()=:,-+!@&|<>*?~^`éß漢 /."""
SAID = st.text(ODD, max_size=20)
PATHS = st.text(ODD, min_size=1, max_size=20).map(
    lambda text: Path("/data", text.strip("/ ") or "x")
)
ENVIRON = {"CREDENTIALS_DIRECTORY": "/run/credentials/x", "HOME": "/wrong", "b": "wrong"}
MOST_EXPOSED = 1.3
"""On systemd's scale from 0 to 10, as the guide says."""

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@given(st.lists(SAID, max_size=6))
def test_words_come_back(said: list[str]) -> None:
    line = " ".join(["/bin/echo", *map(argument, said)])
    assert command(line, {"h": "wrong", "b": "wrong"}, ENVIRON) == ["/bin/echo", *said]
    found = [specifiers(word, {}) for word in words(" ".join(map(quoted, said)))]
    assert found == said


@given(PATHS)
def test_paths_come_back(path: Path) -> None:
    try:
        text = whole(path)
    except UsageError:
        assert str(path).endswith(("\\", " "))
    else:
        assert specifiers(text, {}) == str(path) == str(path).strip()


@given(PATHS)
def test_a_program_comes_back_or_is_refused(path: Path) -> None:
    try:
        text = program(path)
    except UsageError:
        assert set("$'\"\\") & set(str(path))
    else:
        assert not set("$'\"\\") & set(str(path))
        assert command(text, {}, {}) == [str(path)]


@pytest.mark.parametrize(
    "text", ["a\nb", "\r", "a\0", "\x1b[31m", "\u2028", "\udcff", "\x85", "\t"]
)
def test_what_no_line_holds_is_refused(text: str) -> None:
    for write in (argument, quoted, lambda text: whole(Path(text))):
        with pytest.raises(UsageError, match="cannot be printed"):
            write(text)


def system(name: str = "outlast", home: Path | None = None) -> Setup:
    owner = Owner("keeper", "archive") if home is not None else None
    return Setup(name, ["/opt/out last/bin/outlast"], user=False, home=home, owner=owner)


@given(st.lists(SAID, max_size=4), PATHS, st.none() | PATHS, st.booleans())
def test_a_whole_unit_comes_back(
    said: list[str], file: Path, home: Path | None, user: bool
) -> None:
    setup = (
        Setup("mirror", ["/bin/outlast"], user, home or Path("/x"), None)
        if user
        else system("mirror", home)
    )
    if not user and str(file).endswith(("\\", " ")):
        return  # refused, as is tested above
    unit = settings(serve_unit(setup, said, None if user else file))
    archive = "/var/lib/mirror" if home is None and not user else str(home or "/x")
    tokens = [] if user else ["--tokens=/run/credentials/x/tokens"]
    [line] = unit["Service.ExecStart"]
    assert command(line, {}, ENVIRON)[1:] == ["serve", f"--home={archive}", *said, *tokens]
    if not user:
        [credential] = unit["Service.LoadCredential"]
        name, _, path = credential.partition(":")
        assert (name, specifiers(path, {})) == ("tokens", str(file))
    if home is not None and not user:
        [writable] = unit["Service.ReadWritePaths"]
        assert [specifiers(word, {}) for word in words(writable)] == [str(home)]
    unit = settings(sync_unit(setup, said, file))
    [line] = unit["Service.ExecStart"]
    named = str(file) if user else "/run/credentials/x/models.txt"
    assert command(line, {}, ENVIRON)[1:] == ["sync", f"--home={archive}", *said, f"--file={named}"]


def print_units(home: Path, *arguments: str) -> dict[str, str]:
    if "--sync" in arguments:
        (home / arguments[arguments.index("--sync") + 1]).write_text("org/name\n")
    call = inside("service", "install", "--print", "--json", *arguments, home=home).ok()
    return {Path(d["path"]).name: d["text"] for d in call.of_type("unit")}


def test_no_secret_is_in_a_unit(tmp_path: Path) -> None:
    """Units are readable by all."""
    (tmp_path / "tokens").write_text("ann hemlig-token\n")
    env = {"HF_TOKEN": "hf_hemlig"}
    for user in ([], ["--user"]):
        arguments = ("service", "install", "--print", *user, "--", "--tokens", "tokens")
        text = inside(*arguments, home=tmp_path, env=env).ok().out
        assert "hemlig" not in text
        assert "LoadCredential" in text or user
        assert str(tmp_path / "tokens") in text


@needs_analyze
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--name", "mirror-2"],
        ["--", "--listen", "[::]:8090", "--tokens", "/etc/out last/to%ken$s;.txt", "--debug"],
        ["--sync", "models.txt"],
        [
            "--sync",
            "my 100% models.txt",
            "--every",
            "Mon..Fri 03:00",
            "--",
            "--remove",
        ],
        ["--user"],
        [
            "--user",
            "--sync",
            "models.txt",
            "--every",
            "hourly",
            "--",
            "--from",
            "https://a.example",
        ],
    ],
    ids=" ".join,
)
def test_systemd_accepts_them(tmp_path: Path, arguments: list[str]) -> None:
    for name, text in print_units(tmp_path, *arguments).items():
        (tmp_path / name).write_text(text)
    # A manager of the user needs a folder for its sockets.
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:", "XDG_RUNTIME_DIR": str(tmp_path)}
    kind = "--user" if "--user" in arguments else "--system"
    for path in [*tmp_path.glob("*.service"), *tmp_path.glob("*.timer")]:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", kind, path],
            env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), path


@needs_analyze
@pytest.mark.parametrize("arguments", [[], ["--sync", "models.txt"]], ids=["serve", "sync"])
def test_the_sandbox_is_a_good_one(tmp_path: Path, arguments: list[str]) -> None:
    units = print_units(tmp_path, *arguments)
    [text] = [text for name, text in units.items() if name.endswith("service")]
    unit = tmp_path / "outlast.service"
    unit.write_text(text.replace("ProtectHome=read-only", "ProtectHome=yes"))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for outlast.service: ([0-9.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= MOST_EXPOSED, done.stdout


def test_who_runs_a_service_on_a_folder(tmp_path: Path) -> None:
    """The folder's owner does, and root never."""
    folder = tmp_path / "data"
    ask = ("service", "install", "--print", "--home", str(folder))
    assert "install -d" in inside(*ask, home=tmp_path).err
    inside(*ask, home=tmp_path).failed("not-found")
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a folder to another user")
    inside(*ask, home=tmp_path).failed("policy")
    daemon = pwd.getpwnam("daemon")
    os.chown(folder, daemon.pw_uid, daemon.pw_gid)
    unit = settings(inside(*ask, home=tmp_path).ok().out)
    assert unit["Service.User"] == ["daemon"]
    assert unit["Service.ReadWritePaths"] == [str(folder)]
    assert "Service.DynamicUser" not in unit
    assert "Service.StateDirectory" not in unit


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--", "--lisen", "0.0.0.0:80"], "usage"),
        (["--", "--listen", "a:b:c"], "bad-name"),
        (["--", "--upstream", "ftp://x"], "bad-config"),
        (["--", "--host", "no host"], "bad-config"),
        (["--", "--ttl", "-3"], "usage"),
        (["--", "--limit-rate", "fast"], "bad-config"),
        (["--", "--home", "/x"], "usage"),
        (["--", "serve"], "usage"),
        (["serve"], "usage"),
        (["--sync", "models.txt", "--", "--listen", "0.0.0.0:80"], "usage"),
        (["--sync", "models.txt", "--", "--dry-run"], "usage"),
        (["--sync", "models.txt", "--", "-f", "other.txt"], "usage"),
        (["--sync", "models.txt", "--every", "now and then"], "usage"),
        (["--sync", "models.txt", "--every", "daily\nExecStart=/bin/sh"], "usage"),
        (["--name", "../../x"], "usage"),
        (["--name", "a b"], "usage"),
        (["--name", "Outlast"], "usage"),
        (["--", "--tokens", "a\nb"], "usage"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_what_is_mistyped_fails_at_once(tmp_path: Path, arguments: list[str], code: str) -> None:
    inside("service", "install", "--print", *arguments, home=tmp_path).failed(code)


@pytest.mark.parametrize(
    "words",
    [
        "install --every hourly",
        "install --every daily",
        "install --dry-run",
        "install --print --now",
        "install --print --force",
        "uninstall --every hourly",
        "uninstall --sync models.txt",
        "uninstall --print",
        "uninstall --home data",
        "uninstall -- --ttl 3",
    ],
)
def test_an_option_that_would_do_nothing_is_refused(tmp_path: Path, words: str) -> None:
    action, *more = words.split()
    call = inside("service", action, "--user", "--unit-dir", "units", *more, home=tmp_path)
    call.failed("usage")
    assert not (tmp_path / "units").exists()


def test_an_action_that_is_missing_is_asked_for_in_one_line(tmp_path: Path) -> None:
    message = inside("service", home=tmp_path).failed("usage")
    assert "Choose from: install, uninstall" in message


@pytest.mark.parametrize(
    ("words", "whose"),
    [
        ("--upstream https://a.example", "serve"),
        ("--upstream=https://a.example", "serve"),
        ("--sync models.txt --remove", "sync (with --sync)"),
        ("--limit-rate 3M", "serve and of sync (with --sync)"),
    ],
)
def test_the_words_before_options_of_serve_are_not_forgotten(
    tmp_path: Path, words: str, whose: str
) -> None:
    call = inside("service", "install", "--print", *words.split(), home=tmp_path)
    assert f"is an option of {whose}" in call.failed("usage")
    assert "after a --" in call.err
    call = inside("service", "install", "--print", "--nothing", home=tmp_path)
    assert "No such option" in call.failed("usage")


@pytest.fixture
def service(tmp_path: Path) -> Callable[..., Call]:
    """A call for the user's manager, with a folder of its own."""

    def call(*arguments: str | Path) -> Call:
        action, *more = arguments
        return inside("service", action, "--user", *more, home=tmp_path)

    return call


def test_install_and_uninstall(service: Callable[..., Call], tmp_path: Path) -> None:
    folder = tmp_path / "config" / "systemd" / "user"
    call = service("install", "--", "--ttl", "3")
    path = folder / "outlast.service"
    assert call.ok().out == f"{path}\n"
    assert (
        "now: systemctl --user daemon-reload && systemctl --user enable --now outlast.service"
        in (call.err)
    )
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_text().startswith(MARK)
    again = service("install", "--json", "--", "--ttl", "3").ok().result
    assert again["units"] == [{"path": str(path), "new": False}]
    before = path.read_text()
    assert "--force" in service("install").err
    service("install").failed("usage")
    assert path.read_text() == before
    service("install", "--force").ok()
    assert "--ttl" not in path.read_text()
    assert [file.name for file in folder.iterdir()] == ["outlast.service"]
    (tmp_path / "models.txt").write_text("org/name\n")
    service("install", "--sync", "models.txt").ok()
    (folder / "timers.target.wants").mkdir()
    link = folder / "timers.target.wants" / "outlast-sync.timer"
    link.symlink_to(folder / "outlast-sync.timer")
    dry = service("uninstall", "--dry-run").ok()
    assert len(list(folder.glob("*.*"))) == 4
    done = service("uninstall").ok()
    assert done.out == dry.out
    assert len(done.out.splitlines()) == 4
    assert not list(folder.glob("*.service")) + list(folder.glob("*.timer"))
    assert not link.is_symlink()
    service("uninstall").failed("not-found")


def test_no_link_to_units_elsewhere_stays(service: Callable[..., Call], tmp_path: Path) -> None:
    """systemd makes links to enabled units in its own folder, wherever the units are."""
    folder, elsewhere = tmp_path / "config" / "systemd" / "user", tmp_path / "units"
    service("install", "--unit-dir", elsewhere).ok()
    unit = elsewhere / "outlast.service"
    links = [folder / place / unit.name for place in (".", "a.target.wants", "a.target.requires")]
    for link in links:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(unit)
    other = folder / "b.target.wants" / unit.name
    other.parent.mkdir()
    other.symlink_to("/usr/lib/systemd/user/outlast.service")
    done = service("uninstall", "--unit-dir", elsewhere).ok()
    assert {*map(Path, done.out.splitlines())} == {unit, *links}
    assert not any(link.is_symlink() for link in links)
    assert other.is_symlink()
    assert "systemctl --user stop outlast.service && systemctl --user daemon-reload" in done.err


def test_what_others_wrote_stays(service: Callable[..., Call], tmp_path: Path) -> None:
    folder = tmp_path / "config" / "systemd" / "user"
    folder.mkdir(parents=True)
    path = folder / "outlast.service"
    path.write_bytes(b"[Service]\nExecStart=/bin/true\n\xff")
    before = path.read_bytes()
    assert "was not written by outlast" in service("install").failed("usage")
    assert "was not written by outlast" in service("uninstall").failed("usage")
    assert path.read_bytes() == before
    service("uninstall", "--force").ok()
    assert not path.exists()


def test_files_that_a_service_needs_are_looked_at(
    service: Callable[..., Call], tmp_path: Path
) -> None:
    service("install", "--", "--tokens", "none.txt").failed("bad-config")
    service("install", "--sync", "none.txt").failed("not-found")
    service("install", "--print", "--sync", "none.txt").failed("not-found")
    (tmp_path / "bad.txt").write_text("not a model name\n")
    service("install", "--sync", "bad.txt").failed("bad-list")
    service("install", "--print", "--sync", "bad.txt").failed("bad-list")
    assert not (tmp_path / "config").exists()


@pytest.mark.skipif(closed_to_others() is None, reason="all users can run this program")
def test_a_program_that_the_service_cannot_run_is_refused(tmp_path: Path) -> None:
    call = inside("service", "install", "--unit-dir", "units", home=tmp_path)
    assert str(closed_to_others()) in call.failed("policy")
    assert not (tmp_path / "units").exists()


def test_the_interpreter_that_a_service_cannot_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program lies where all can read it; a link in it leads elsewhere."""
    python = tmp_path / "closed" / "python3"
    python.parent.mkdir(mode=0o700)
    python.touch(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    monkeypatch.setattr(place, "program_files", lambda: [Path("/usr/bin/env"), python])
    with pytest.raises(PolicyError, match=f"leads to its interpreter, {python}") as caught:
        place.require_open()
    assert "/usr/bin/python3 -m venv" in caught.value.hint


def test_without_systemctl(tmp_path: Path) -> None:
    """The units are written; what would have been called is not there."""
    words = ("service", "install", "--user", "--now")
    inside(*words, home=tmp_path, env={"PATH": str(tmp_path)}).failed("not-found")
    assert (tmp_path / "config" / "systemd" / "user" / "outlast.service").exists()


@pytest.mark.parametrize("arguments", [[], ["--sync", "models.txt"]], ids=["serve", "sync"])
def test_a_unit_names_the_manager_that_edits_it(tmp_path: Path, arguments: list[str]) -> None:
    for text in print_units(tmp_path, *arguments).values():
        assert "'systemctl edit'" in text.splitlines()[0]
    for text in print_units(tmp_path, "--user", *arguments).values():
        assert "'systemctl --user edit'" in text.splitlines()[0]


def test_the_timer_says_when() -> None:
    unit = settings(sync_timer("Sun 03:00", user=False))
    assert unit["Timer.OnCalendar"] == ["Sun 03:00"]
    assert unit["Timer.Persistent"] == ["yes"]
