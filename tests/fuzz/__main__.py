"""`python -m tests.fuzz MINUTES`: fuzzes the kernels' decoder and encoder by libFuzzer, and the
parsers and the reader by atheris, all three at once. Under build/fuzz/: the corpora, and in found/
what fails. A file of found/ belongs into tests/hostile/blocks or tests/hostile/parsers once it is
mended.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
WORK: Final = ROOT / "build" / "fuzz"
NATIVE: Final = WORK / "native"
ATHERIS: Final = "atheris==3.0.0"
_STATS: Final = re.compile(rb"cov: (\d+) ft: (\d+)|number_of_executed_units: (\d+)")
_PROBE: Final = 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }\n'


@dataclass(frozen=True)
class Fuzzer:
    """`command` comes before libFuzzer's options, `seeds` is a folder of inputs."""

    name: str
    command: list[str]
    seeds: str
    longest: int


def compiler() -> str:
    """A clang that has libFuzzer and the sanitizers."""
    found = os.environ.get("CLANG", "clang++")
    if not shutil.which(found):
        sys.exit(f"{found} is missing: install clang and libclang-rt-dev, or set CLANG")
    flags = ["-fsanitize=fuzzer,address,undefined", "-x", "c++", "-", "-o", str(WORK / "probe")]
    done = subprocess.run([found, *flags], input=_PROBE.encode(), capture_output=True, check=False)
    if done.returncode:
        sys.exit(
            f"{found} has no libFuzzer or no sanitizers: install libclang-rt-dev\n{done.stderr!r}"
        )
    return found


def build() -> None:
    """The fuzzers of native/fuzz, and an environment with atheris beside this one."""
    options = [f"-DCMAKE_CXX_COMPILER={compiler()}", "-DOUTLAST_OPTIMIZE=-O2"]
    sources = str(ROOT / "native" / "fuzz")
    configure = ["cmake", "-S", sources, "-B", str(NATIVE), "-G", "Ninja", *options]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", NATIVE], check=True, stdout=subprocess.DEVNULL)
    venv = WORK / "venv"
    if not (venv / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/python", "-m", "pip", "install", "-q", ATHERIS], check=True)
        ours = sysconfig.get_path("purelib")
        minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = venv / "lib" / minor / "site-packages"
        (packages / "outlast.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        (venv / ".ready").touch()


def start(fuzzer: Fuzzer, seconds: int) -> subprocess.Popen[bytes]:
    corpus = WORK / "corpus" / fuzzer.name
    corpus.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={fuzzer.longest}",
        "-len_control=0",
        "-timeout=5",
        "-report_slow_units=1",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={WORK}/found/{fuzzer.name}-",
        "-print_final_stats=1",
    ]
    seeds = [WORK / "seeds" / fuzzer.seeds, ROOT / "tests" / "hostile" / fuzzer.seeds]
    with (WORK / f"{fuzzer.name}.log").open("wb") as log:
        return subprocess.Popen(
            [*fuzzer.command, *options, corpus, *seeds], stdout=log, stderr=log, cwd=ROOT
        )


def report(name: str) -> str:
    coverage, executed = b"?", b"?"
    for edges, _, units in _STATS.findall((WORK / f"{name}.log").read_bytes()):
        coverage, executed = edges or coverage, units or executed
    return f"{name}: {executed.decode()} inputs, {coverage.decode()} edges"


def main() -> None:
    minutes = float(sys.argv[1])
    (WORK / "found").mkdir(parents=True, exist_ok=True)
    build()
    subprocess.run([sys.executable, "-m", "tests.fuzz.seeds", WORK / "seeds"], cwd=ROOT, check=True)
    python = str(WORK / "venv" / "bin" / "python")
    fuzzers = [
        Fuzzer("block", [str(NATIVE / "fuzz_block")], "blocks", 20_000),
        Fuzzer("roundtrip", [str(NATIVE / "fuzz_roundtrip")], "blocks", 8_192),
        Fuzzer("parsers", [python, "-m", "tests.fuzz.parsers"], "parsers", 16_384),
    ]
    running = [(fuzzer, start(fuzzer, int(60 * minutes))) for fuzzer in fuzzers]
    failed = [fuzzer.name for fuzzer, process in running if process.wait()]
    for fuzzer in fuzzers:
        print(report(fuzzer.name))
    found = sorted(path.name for path in (WORK / "found").iterdir())
    print(f"{len(found)} found in {WORK / 'found'}", *found, sep="\n  ")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; the logs are in {WORK}")


if __name__ == "__main__":
    main()
