"""What docs/guide/python.md promises: its example runs, and its names are all that there are."""

import inspect
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import outlast
from outlast.api import public
from tests.cli.call import environment
from tests.hubsim import HubRepo, HubSim

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guide" / "python.md").read_text()
MODEL = "Qwen/Qwen3-0.6B"


def script() -> str:
    """The blocks of code, in their order."""
    return "\n\n".join(re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))


def weights() -> bytes:
    """A safetensors file with two tensors."""
    head = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "first": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
            "second": {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]},
        }
    ).encode()
    return struct.pack("<Q", len(head)) + head + bytes(24)


def test_the_example_runs(tmp_path: Path) -> None:
    files = {
        "config.json": b'{"num_hidden_layers": 28}',
        "model.safetensors": weights(),
        "model.onnx": b"\x08\x07" * 100,
    }
    HubRepo(tmp_path / "hub", MODEL).commit(files)
    with HubSim(tmp_path / "hub", token="hf_right") as hub:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script()],
            env=environment(tmp_path, HF_ENDPOINT=hub.url, HF_TOKEN="hf_right"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    out = done.stdout.splitlines()
    size = len(files["config.json"]) + len(files["model.safetensors"])
    assert re.fullmatch(rf"[0-9a-f]{{40}} {size} bytes, {size} fetched", out[0])
    assert out[1] == "layers: 28"
    assert out[2].startswith(f"{MODEL} {out[0][:12]} ('main',) {size} ")
    assert out[3:5] == ["['config.json', 'model.safetensors']", "['first', 'second']"]
    assert "model.onnx: " in done.stdout
    assert "1 files, 0 bytes to fetch; it fits: True" in out
    assert out[-4:] == [
        "3 files read: all right",
        "True True",
        "3 files are there",
        "repo-not-found 3",
    ]
    assert (tmp_path / "qwen" / "model.safetensors").read_bytes() == weights()


def test_the_example_is_typed(tmp_path: Path) -> None:
    """For a user who checks types strictly: every name has its type, none is Any."""
    example = tmp_path / "example.py"
    example.write_text(script() + "\n\nreveal_type(model)\nreveal_type(archive)\n")
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "mypy",
                "--strict",
                "--config-file=",
                "--follow-imports=silent",
            ),
            *(f"--cache-dir={tmp_path / 'cache'}", str(example)),
        ],
        env=environment(tmp_path, MYPYPATH=str(ROOT / "src")),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Revealed type is "outlast.api.values.PulledRevision"' in done.stdout
    assert 'Revealed type is "outlast.api.archive.Archive"' in done.stdout


def test_the_names() -> None:
    assert outlast.__all__ == sorted([*public.__all__, "__version__"])
    table = GUIDE.split("## The names")[1].split("**Threads")[0]
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", table))))
    assert set(outlast.__all__) - told == set()
    classes = set(re.findall(r"`([A-Z]\w+)`", table))
    assert classes <= set(outlast.__all__)
    methods = re.search(r"\| `Archive` \| ((?:`\w+` ?)+), `home`", table)
    assert methods is not None
    assert {*re.findall(r"\w+", methods[1]), "home"} == {
        name for name in dir(outlast.Archive) if not name.startswith("_")
    }


@pytest.mark.parametrize("name", sorted(set(outlast.__all__) - {"__version__"}))
def test_each_name_explains_itself(name: str) -> None:
    found = getattr(outlast, name)
    assert name in dir(outlast)
    assert inspect.getdoc(found)
    for part, member in vars(found).items():
        if inspect.isfunction(member) and not part.startswith("_"):
            assert inspect.getdoc(getattr(found, part)) or found is outlast.Cancel, part


def test_the_arguments() -> None:
    """A change of these needs a line in the changelog, below "Changed"."""
    promised = {
        "open": "home, *, create, configured",
        "pull": "target, *, include, exclude, from_, token, form, connections, limit_rate, swarm,"
        " strict, progress, cancel",
        "plan_pull": "target, *, include, exclude, from_, token, swarm, cancel",
        "add": "path, target, *, include, exclude, form, follow_links, strict, progress, cancel",
        "list": "*patterns, skip_damaged",
        "revision": "target",
        "open_file": "target, path, *, allow_unsafe",
        "verify": "*targets, quarantine, progress, cancel",
        "link": "target, *, folder, cache, budget, progress, cancel",
        "scrub": "*targets, full, mend, max_seconds, limit_rate, swarm, progress, cancel",
        "inventory": "",
        "export": "targets, to, *, plain, parity, part_size, media, since, bagit, encrypt,"
        " identity, restricted, progress, cancel",
        "import_bundle": "folders, *, identity, progress, cancel",
    }
    for name, arguments in promised.items():
        function = outlast.open if name == "open" else getattr(outlast.Archive, name)
        shown: list[str] = []
        bare = False
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name == "self":
                continue
            if parameter.kind is parameter.KEYWORD_ONLY and not bare:
                bare = True
                if not any(part.startswith("*") for part in shown):
                    shown.append("*")
            star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
            shown.append(star + parameter.name)
        assert ", ".join(shown) == arguments, name


def test_no_other_name() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = outlast.nothing_like_it  # type: ignore[attr-defined]


def test_the_import_is_cheap_and_the_use_draws_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"abc" * 1000)
    code = """
import sys
import outlast
print(*[name for name in sys.modules if name.startswith("outlast.")], sep=",")
with outlast.open("archive") as archive:
    archive.add("model.bin", "me/model")
    archive.list(), archive.verify(), archive.open_file("me/model", "model.bin").read()
    archive.link("me/model", folder="out")
    print(*[name for name in ("click", "rich", "libtorrent", "aiohttp") if name in sys.modules])
    try:
        archive.plan_pull("org/name")
    except outlast.TransientError:
        pass
print(*[name for name in ("click", "rich") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("\n\n\n", "")
