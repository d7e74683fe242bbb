"""`outlast pull` from nginx on loopback, against curl and against `hf download`."""

import contextlib
import shutil
from pathlib import Path

from bench import profiling
from bench.hub import COMMIT, Model
from bench.process import timed
from bench.rows import OURS, Contestants, Row, Target, absolute, alternate, missing, paired
from bench.stage import MEGA, MissingPeerError, Stage, settle, size_text

_CURL = 'curl -sSf --noproxy "*" -o "$1" "$2" && sync "$1" && {hash} "$1"'
_SHA256SUM = "curl + fsync + sha256sum"
_OPENSSL = "curl + fsync + openssl sha256"
_HF = "hf download"
MEMORY = Target("≤", 200, absolute=True)
_FILES = 20


def one_file(stage: Stage) -> list[Row]:
    """One large file: speed and memory."""
    what = f"pull, 1 file of {size_text(stage.size)}"
    with stage.model("bench/one", 1, stage.size) as model:
        puller = Puller(stage, model)
        contestants: Contestants = {
            OURS: puller.ours,
            _SHA256SUM: lambda: puller.curl("sha256sum"),
            **puller.hf_download(),
        }
        if shutil.which("openssl"):
            contestants[_OPENSSL] = lambda: puller.curl("openssl sha256")
        samples = alternate(contestants, stage.pairs)
        rows = [
            paired(what, "MB/s", samples, _SHA256SUM, target=Target("≥", 0.8)),
            puller.against_hf(what, samples),
            absolute(f"{what}: peak memory", "MB", [max(puller.peaks) / MEGA], target=MEMORY),
        ]
        if _OPENSSL in samples:
            note = "openssl uses the CPU's SHA instructions; Debian's sha256sum does not"
            target = Target("≥", 0.9)
            rows.insert(1, paired(what, "MB/s", samples, _OPENSSL, target=target, note=note))
        return profiling.explained(rows, puller.profile)


def many_files(stage: Stage) -> list[Row]:
    """As many bytes, in twenty files."""
    size = stage.size // _FILES
    what = f"pull, {_FILES} files of {size_text(size)}"
    with stage.model("bench/many", _FILES, size) as model:
        puller = Puller(stage, model)
        samples = alternate({OURS: puller.ours, **puller.hf_download()}, stage.pairs)
        return profiling.explained([puller.against_hf(what, samples)], puller.profile)


class Puller:
    """Fetches a model in several ways; all return MB/s."""

    def __init__(self, stage: Stage, model: Model) -> None:
        self._stage = stage
        self._model = model
        self._home = stage.folder / "pulled"
        self.peaks: list[int] = []

    def _words(self) -> tuple[str | Path, ...]:
        where = ("--from", self._stage.hub.url, "--home", self._home, "--quiet")
        return ("pull", self._model.name, *where)

    def ours(self) -> float:
        settle()
        try:
            cost = self._stage.outlast(*self._words(), watch=True)
        finally:
            shutil.rmtree(self._home, ignore_errors=True)
        self.peaks.append(cost.peak)
        return self._rate(cost.wall)

    def profile(self) -> profiling.Profile:
        """Of one more pull."""
        settle()
        try:
            return profiling.of_command(self._stage, *self._words())
        finally:
            shutil.rmtree(self._home, ignore_errors=True)

    def curl(self, hasher: str) -> float:
        (file,) = self._model.files
        target = self._stage.folder / "curled"
        url = f"{self._stage.hub.url}/{self._model.name}/resolve/{COMMIT}/{file.path}"
        script = _CURL.format(hash=hasher)
        settle()
        try:
            cost = timed(["sh", "-c", script, "sh", target, url], self._stage.environment())
        finally:
            target.unlink(missing_ok=True)
        return self._rate(cost.wall)

    def hf_download(self) -> Contestants:
        """``hf download`` as a contestant, if it is here."""
        with contextlib.suppress(MissingPeerError):
            _ = self._stage.hf
            return {_HF: lambda: self._rate(self._stage.download(self._stage.hub.url, self._model))}
        return {}

    def against_hf(self, what: str, samples: dict[str, list[float]]) -> Row:
        target = Target("≥", 1.5)
        try:
            _ = self._stage.hf
        except MissingPeerError as error:
            return missing(what, "MB/s", target, str(error))
        note = "hf download neither verifies nor syncs what it wrote; pull does both"
        return paired(what, "MB/s", samples, _HF, target=target, note=note)

    def _rate(self, seconds: float) -> float:
        return self._model.size / MEGA / seconds
