"""The commands: what they print, and how they end."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.call import Call, inside

COMMIT_DIGITS = 40


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled, tmp_path / "home" / "archive")
    return tmp_path / "home"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


def last(call: Call) -> dict[str, object]:
    found: dict[str, object] = json.loads(call.ok().out.splitlines()[-1])
    return found


def test_across_the_gap_and_back_for_more(home: Path, there: Path, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    said = inside("export", "org/base", "--to", usb, home=home).ok()
    assert len(said.out.strip()) == 64
    taken = inside("import", usb, home=there).ok()
    assert taken.out.startswith("org/base@")
    inventory = inside("inventory", home=there).ok().out
    (tmp_path / "inventory.json").write_text(inventory)
    (tmp_path / "models.txt").write_text("org/base\norg/tuned\n")
    more = inside(
        *("export", "-f", tmp_path / "models.txt", "--to", tmp_path / "usb2", "--json"),
        *("--since", tmp_path / "inventory.json"),
        home=home,
    )
    done = last(more)
    assert (done["type"], done["payloads"], done["models"]) == ("exported", 1, 2)
    result = last(inside("import", tmp_path / "usb2", "--json", home=there))
    assert (result["type"], result["refused"], result["already"]) == ("imported", [], 1)
    assert len(result["new"]) == 1  # type: ignore[arg-type]
    verified = inside("verify", home=there).ok()
    assert verified.code == 0


def test_a_dry_run_writes_nothing(home: Path, tmp_path: Path) -> None:
    said = inside("export", "org/base", "--to", tmp_path / "usb", "--dry-run", home=home).ok()
    assert said.out.startswith("would export 1 revision: 4 blobs")
    assert not (tmp_path / "usb").exists()


def test_what_cannot_be_asked_is_refused(home: Path, tmp_path: Path) -> None:
    words = ("export", "org/base", "--media", "67.5MB", "--part-size", "100kB")
    message = inside(*words, "--to", tmp_path / "usb", home=home).failed("usage")
    assert "no terminal to ask" in message
    assert "no room" in inside(
        *("export", "org/base", "--media", "1MB", "--to", tmp_path / "usb"), home=home
    ).failed("usage")
    assert "nothing to export" in inside("export", "--to", tmp_path / "usb", home=home).failed(
        "usage"
    )
    inside("export", "org/none", "--to", tmp_path / "usb", home=home).failed("not-found")
    inside("export", "org/base", "--parity", "80%", "--to", "usb", home=home).failed("bad-config")
    inside("import", tmp_path / "nowhere", home=home).failed("not-found")
    assert not (tmp_path / "usb").exists()


def test_what_was_refused_shows_in_the_exit_status(home: Path, there: Path, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    inside(
        "export", "org/base", "--parity", "0", "--part-size", "100kB", "--to", usb, home=home
    ).ok()
    (usb / "parts" / "00009.olb").unlink()
    call = inside("import", usb, home=there)
    assert call.code == 4
    assert "refused: org/base: " in call.err
    assert "Traceback" not in call.err


def test_pull_from_a_bundle(home: Path, there: Path, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    inside("export", "org/base", "org/tuned", "--to", usb, home=home).ok()
    inside("pull", "org/tuned", "--from", f"bundle:{usb}", home=there).ok()
    assert "org/tuned" in inside("ls", home=there).ok().out
    inside("verify", home=there).ok()
