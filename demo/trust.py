"""Who vouches for a model, with no hub to ask: its publisher signs, two observers attest, a
catalogue lists. Then five copies that are not what they seem are refused, each with a reason.
"""

import csv
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from demo.story import StepFailedError, require, say
from outlast.core.digest import Digest
from outlast.features.trust.rules.data_files import packaged
from outlast.store.layout import Layout
from tests.gguf_cut import small_smollm2
from tests.hubsim import HubRepo, HubSim

_MODEL: Final = "acme/tiny"
_RENAMED: Final = "acme-labs/tiny"
_LISTED: Final = "umbrella-trading/tiny"
_CLAIMS: Final = {"intact", "published", "observed", "listed"}
_REFUSED, _WRONG = 7, 4
"""The exit statuses of what the operator or a rule forbids, and of what does not prove itself."""
_QUESTION: Final = ("What is the capital of France?", "--max-tokens", "4", "--temperature", "0")
_FLIPPED_AT: Final = -4096
"""In the weights: the header stays as it is, so that an engine would load them."""


class Node(Protocol):
    """How the story runs outlast on a node whose archive is in `home`."""

    def words(self, home: Path, /, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """A command, and the environment that it runs in."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One of the machines of the story, with keys and settings of its own, below `folder`."""

    folder: Path
    name: str
    node: Node

    @property
    def home(self) -> Path:
        return self.folder / self.name / "home"

    @property
    def settings(self) -> Path:
        return self.folder / self.name / "config.toml"

    def run(self, *arguments: str, status: int = 0, shown: bool = True) -> str:
        """Runs a command; what it printed, or its error where it is to end with a `status`."""
        words = (word.replace(f"{self.folder}/", "") for word in arguments)
        say(f"    {self.name}$ outlast {' '.join(words)}")
        line, environment = self.node.words(self.home, *arguments)
        environment["OUTLAST_CONFIG"] = str(self.settings)
        done = subprocess.run(
            line, env=environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        told = done.stderr if status else done.stdout
        if done.returncode != status:
            ended = f"outlast {arguments[0]} ended with status {done.returncode}"
            raise StepFailedError(f"{ended}, not {status}: {done.stderr.strip()}")
        lines = told.strip().splitlines()
        for text in (lines[-1:] if status else lines) if shown else ():
            say(f"    {text}")
        return lines[-1] if status else told

    def refused(self, *arguments: str, why: str, status: int = _REFUSED) -> None:
        """Runs a command that is to be refused in one line, in which `why` is said."""
        told = self.run(*arguments, status=status)
        require(why in told, f"refused, for it says {why!r}")


def trusted(folder: Path, node: Node) -> list[tuple[str, str]]:
    """The story; the rows of its table."""
    started = time.monotonic()
    root = folder / "trust"
    for name in ("publisher", "vienna", "oslo", "user"):
        (root / name).mkdir(parents=True)
        (root / name / "config.toml").touch()
    publisher, vienna, oslo, user = (
        Machine(root, name, node) for name in ("publisher", "vienna", "oslo", "user")
    )
    weights = small_smollm2(root)
    HubRepo(root / "hub", _MODEL).commit({weights.name: weights})
    with HubSim(root / "hub") as hub:
        commit = _vouched(publisher, [vienna, oslo], hub.url)
        _rules(user)
        _introduced(user, hub.url)
    _tampered(user, weights)
    _renamed(user, weights)
    _rolled_back(vienna, user)
    _revoked(publisher, user, commit)
    _party(user, weights)
    took = time.monotonic() - started
    return [("four claims told, five copies refused", f"in {took:.0f} s")]


def _vouched(publisher: Machine, observers: list[Machine], hub: str) -> str:
    """The publisher signs, the observers attest, one of them lists; the id of the commit."""
    say("    a publisher signs, two observers attest, one of them lists it:")
    commit = publisher.run("pull", _MODEL, "--from", hub, "--quiet").strip()
    publisher.run("key", "new", "acme", "--no-passphrase", "--quiet")
    publisher.run("sign", _MODEL, "--out", "signed.json", "--quiet")
    for observer in observers:
        observer.run("pull", _MODEL, "--from", hub, "--quiet")
        observer.run("key", "new", observer.name, "--no-passphrase", "--quiet")
        seen = ("--vantage", observer.name, "--out", f"{observer.name}.json")
        observer.run("observe", _MODEL, "--from", hub, *seen, "--quiet")
    lister = observers[0]
    lister.run("catalogue", "init", "shelf", "--keys", "shelf-keys", "--quiet")
    lister.run("catalogue", "add", "shelf", _MODEL, "--quiet")
    lister.run("catalogue", "publish", "shelf", "--keys", "shelf-keys", "--to", "www", "--quiet")
    return commit


def _rules(user: Machine) -> None:
    """What the user's organisation demands, in two of the examples that come with outlast."""
    (user.home / "trust").mkdir(parents=True)
    signed = packaged("examples/signed-or-observed-by-two.cedar")
    (user.home / "trust" / "rules.cedar").write_text(signed)
    parties = user.folder / "no-listed-parties.cedar"
    parties.write_text(packaged("examples/no-listed-parties.cedar"))
    listed = user.folder / "parties.csv"
    with listed.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("_id", "source", "type", "programs", "name", "alt_names"))
        made_up = ("1", "Entity List (EL)", "Entity", "EXAMPLE", "Umbrella Trading Co., Ltd.", "")
        writer.writerow(made_up)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    user.settings.write_text(f'[trust]\nrules = "{parties}"\nlists = ["us-csv={listed}@{today}"]\n')


def _introduced(user: Machine, hub: str) -> None:
    """The user pins the keys, follows the catalogue, pulls; all four claims hold, and it runs."""
    say("    a user pins three keys, follows the catalogue, and has rules:")
    for name, role, of in (
        ("acme", "publisher", "publisher"),
        ("vienna", "observer", "vienna"),
        ("oslo", "observer", "oslo"),
    ):
        key = user.folder / of / "keys" / f"{name}.pub"
        whose = "acme" if role == "publisher" else "*"
        user.run("key", "pin", whose, str(key), "--role", role, "--quiet")
    root = "www/metadata/1.root.json"
    user.run("catalogue", "follow", "www", "--root", root, "--quiet")
    user.run("pull", _MODEL, "--from", hub, "--quiet")
    files = ("signed.json", "vienna.json", "oslo.json")
    user.run("sign", *(word for name in files for word in ("--take", name)), "--quiet")
    told = user.run("verify", "--who", _MODEL)
    require(_held(told) == _CLAIMS, "all four claims hold, each by its own word")
    user.run("run", _MODEL, *_QUESTION)


def _held(told: str) -> set[str]:
    """The claims that hold, as `verify --who` prints them."""
    rows = (line.split() for line in told.splitlines() if line.startswith("  "))
    return {row[0] for row in rows if row[1] == "yes"}


def _tampered(user: Machine, weights: Path) -> None:
    """A mirror changed the weights, and made a commit of it that is right in itself."""
    say("    a mirror offers other weights under its name:")
    changed = bytearray(weights.read_bytes())
    changed[_FLIPPED_AT] ^= 1
    HubRepo(user.folder / "mirror", _MODEL).commit({weights.name: bytes(changed)})
    with HubSim(user.folder / "mirror") as mirror:
        user.run("pull", _MODEL, "--from", mirror.url, "--quiet")
    user.refused("run", _MODEL, *_QUESTION, why="did not sign it")


def _renamed(user: Machine, weights: Path) -> None:
    """The same bytes under a stranger's name, with the publisher's signature laid beside them."""
    say("    a stranger offers the same bytes under another name, with the signature beside them:")
    HubRepo(user.folder / "mirror", _RENAMED).commit({weights.name: weights})
    with HubSim(user.folder / "mirror") as mirror:
        user.run("pull", _RENAMED, "--from", mirror.url, "--quiet")
    layout, statement = Layout(user.home), (user.folder / "signed.json").read_bytes()
    beside = layout.attestations / _manifest(user, _RENAMED)
    beside.mkdir(exist_ok=True)
    (beside / f"{Digest.of(statement)}.dsse.json").write_bytes(statement)
    told = user.run("verify", "--who", _RENAMED)
    require("published" not in _held(told), "the signature does not count for another name")
    user.refused("run", _RENAMED, *_QUESTION, why="did not sign it")


def _manifest(user: Machine, model: str) -> str:
    """The sha256 of a model's manifest."""
    about = json.loads(user.run("show", model, "--json", shown=False).splitlines()[-1])
    return str(about["manifest"])


def _rolled_back(lister: Machine, user: Machine) -> None:
    """A server that gives out yesterday's catalogue, and hides what was listed since."""
    say("    the catalogue's server goes back to what it gave out before:")
    www = lister.folder / "www"
    os.rename(www, lister.folder / "yesterday")
    lister.run("catalogue", "publish", "shelf", "--keys", "shelf-keys", "--to", "www", "--quiet")
    user.run("catalogue", "sync")
    os.rename(www, lister.folder / "today")
    os.rename(lister.folder / "yesterday", www)
    user.refused("catalogue", "sync", why="rollback", status=_WRONG)


def _revoked(publisher: Machine, user: Machine, commit: str) -> None:
    """The publisher takes a revision back."""
    say("    the publisher revokes what it signed:")
    why = ("--reason", "the tokenizer has a backdoor", "--out", "revoked.json", "--quiet")
    publisher.run("revoke", _MODEL, *why)
    user.run("sign", "--take", "revoked.json", "--quiet")
    user.refused("run", f"{_MODEL}@{commit}", *_QUESTION, why="has revoked it")


def _party(user: Machine, weights: Path) -> None:
    """A model of a party that is on a list which the organisation goes by."""
    say("    a model of a party that is on the user's list of parties:")
    HubRepo(user.folder / "mirror", _LISTED).commit({weights.name: weights})
    with HubSim(user.folder / "mirror") as mirror:
        user.refused("pull", _LISTED, "--from", mirror.url, why="on a list")
