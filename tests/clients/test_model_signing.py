"""OpenSSF's model-signing checks what outlast signs, and outlast checks what it signs."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.call import inside
from tests.clients import envs
from tests.features.trust.foreign.private_sigstore import ISSUER, SIGNER
from tests.features.trust.foreign.sigstore_server import current_sigstore, serving
from tests.features.trust.foreign.test_openssf import FILES, REPO, archived, said

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]


def signing(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = envs.ensure("model-signing").with_name("model_signing")
    line = [str(program), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The files of the model, laid out as a folder."""
    folder = tmp_path / "m"
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@pytest.fixture(params=["P-256", "P-384", "P-521"])
def key(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "ec.pem"
    path.touch(mode=0o600)
    curve = ("-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{request.param}")
    subprocess.run(["openssl", "genpkey", *curve, "-out", path], check=True, capture_output=True)
    public = ("-in", path, "-pubout", "-out", path.with_suffix(".pub"))
    subprocess.run(["openssl", "pkey", *public], check=True, capture_output=True)
    return path


def test_it_checks_ours(tmp_path: Path, model: Path, key: Path) -> None:
    archived(tmp_path, FILES)
    out = model / "model.sig"
    inside("sign", "--openssf", "--key", key, str(REPO), "--output", out, home=tmp_path).ok()
    check = ("verify", "key", "--public_key", key.with_suffix(".pub"), "--signature", out, model)
    done = signing(*check)
    assert done.returncode == 0, done.stdout + done.stderr
    (model / "config.json").write_bytes(b"[]")
    assert signing(*check).returncode != 0


def test_ours_checks_it(tmp_path: Path, model: Path, key: Path) -> None:
    out = tmp_path / "model.sig"
    done = signing("sign", "key", "--private_key", key, "--signature", out, model)
    assert done.returncode == 0, done.stderr
    archived(tmp_path, {**FILES, "model.sig": out.read_bytes()})
    call = inside("key", "pin", "acme", key.with_suffix(".pub"), home=tmp_path)
    # Keys of other curves than P-256 are not pinned.
    assert said(tmp_path)["standing"] == ("not checked" if call.code else "signed")


def test_ours_checks_what_it_signs_by_sigstore(tmp_path: Path, model: Path) -> None:
    sigstore, out = current_sigstore(), tmp_path / "model.sig"
    with serving(sigstore, tmp_path) as (config, token):
        trusted = ("--trust_config", config, "--signature", out)
        done = signing("sign", "sigstore", *trusted, "--identity_token", token, model)
        assert done.returncode == 0, done.stderr
        whose = ("--identity", SIGNER, "--identity_provider", ISSUER)
        assert signing("verify", "sigstore", *trusted, *whose, model).returncode == 0
    root, settings = tmp_path / "trusted_root.json", tmp_path / "outlast.toml"
    root.write_text(json.dumps(sigstore.trusted_root()))
    settings.write_text(f'[trust]\nsigstore-root = "{root}"\n')
    archived(tmp_path, {**FILES, "model.sig": out.read_bytes()})
    pin = ("key", "pin", "acme", "--identity", SIGNER, "--issuer", ISSUER)
    inside(*pin, home=tmp_path).ok()
    found = said(tmp_path, env={"OUTLAST_CONFIG": str(settings)})
    assert (found["standing"], SIGNER in found["who"]) == ("signed", True)
