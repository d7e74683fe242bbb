"""What a wheel brings, and for which Pythons it is."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from bench.__main__ import CASES, unmeasured

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CMAKE = (ROOT / "native" / "CMakeLists.txt").read_text()


def test_one_wheel_for_all_later_pythons() -> None:
    """The stable ABI takes three words in two files: any one alone is ignored in silence."""
    assert PROJECT["tool"]["scikit-build"]["wheel"]["py-api"] == "cp312"
    assert "${SKBUILD_SABI_COMPONENT}" in CMAKE
    assert re.search(r"nanobind_add_module\(_kernels STABLE_ABI ", CMAKE)


@pytest.mark.torture
@pytest.mark.skipif(not os.environ.get("OUTLAST_TORTURE"), reason="compiles the kernels anew")
def test_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    place = [f"--config-settings=build-dir={tmp_path / 'build'}", f"--wheel-dir={tmp_path}"]
    subprocess.run([*build, *place, ROOT], check=True, cwd=tmp_path)
    [wheel] = tmp_path.glob("outlast-*.whl")
    stable = sys.version_info >= (3, 12)
    assert ("-cp312-abi3-" if stable else "-cp311-cp311-") in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert [
        name for name in names if re.search(r"codec/_kernels(\.abi3|\.cpython-311.*)\.so$", name)
    ]
    inside = {name.removeprefix("outlast/docs/") for name in names if "/docs/" in name}
    docs = ROOT / "docs"
    pages = [*docs.glob("guide/*.md"), *docs.glob("format/*.md"), docs / "cli.md"]
    pages += [docs / "errors.md", docs / "json.md"]
    assert inside == {str(page.relative_to(docs)) for page in pages}


def test_a_bench_says_first_what_it_cannot_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.__main__.nginx_program", lambda: None)
    words = unmeasured(list(CASES))
    assert "nginx is not installed" in words
    assert all(CASES[name][0] in words for name in ("pull", "serve", "through", "hf"))
    assert CASES["add"][0] not in words.split("without it: ")[1].split(", ")
    assert unmeasured(["ls", "add"]) == ""
    monkeypatch.setattr("bench.__main__.nginx_program", lambda: "/usr/sbin/nginx")
    assert unmeasured(list(CASES)) == ""


def test_no_page_asks_a_package_index_for_outlast() -> None:
    """The name there may be that of a stranger's package: outlast is not on PyPI."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for path in [*pages, *(ROOT / "src").rglob("*.py")]:
        assert not re.search(r"pip install [^\n.]*\boutlast\b", path.read_text()), path
