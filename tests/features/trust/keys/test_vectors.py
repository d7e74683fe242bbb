"""Signatures by other programs: those that lie beside, which were made once, and new ones by the
programs that are installed here, in both directions.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA512
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import SSlibKey

from outlast.core.errors import BadKeyError, MalformedError
from outlast.features.trust.foreign.elliptic import is_signed
from outlast.features.trust.keys import minisign, sshsig, wire
from outlast.features.trust.keys.public import KeyKind, PublicKey, parse_line, parse_public_key
from outlast.features.trust.keys.secret import KeyFolder
from outlast.features.trust.keys.signing import Signer, open_signer
from outlast.features.trust.keys.verifying import verify
from outlast.features.trust.records.dsse import PAYLOAD_TYPE, DsseEnvelope, Signature

VECTORS = Path(__file__).parents[1] / "vectors"
MESSAGE = (VECTORS / "message").read_bytes()
KINDS = ("ed25519", "ecdsa", "ecdsa384", "ecdsa521", "rsa")


def number(value: int) -> bytes:
    """A positive number behind its length, as SSH writes it."""
    return wire.text(wire.number_bytes(value))


def armored(data: bytes) -> str:
    """A signature as `ssh-keygen -Y verify` reads it."""
    text = base64.encodebytes(data).decode()
    return f"-----BEGIN SSH SIGNATURE-----\n{text}-----END SSH SIGNATURE-----\n"


def key(name: str) -> PublicKey:
    return parse_public_key((VECTORS / name).read_text())


def ssh(name: str) -> bytes:
    return sshsig.unarmored((VECTORS / name).read_text())


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def run(
    *command: str | Path, data: bytes | None = None, env: dict[str, str] | None = None
) -> bytes:
    done = subprocess.run(
        [str(word) for word in command],
        input=data,
        capture_output=True,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def no_passphrase(name: str) -> bytes:
    raise AssertionError(f"{name} has no passphrase")


def refuse_all_changes(public: PublicKey, signature: bytes) -> None:
    """It counts for this message and this key alone, and with each of its bytes."""
    assert verify(public, MESSAGE, signature)
    assert not verify(public, MESSAGE + b"\n", signature)
    assert not verify(public, MESSAGE, signature[:-2])
    assert not verify(public, MESSAGE, signature + b"\n\n")
    others = [key(f"ssh-{kind}.pub") for kind in KINDS] + [key("minisign.pub"), key("openssl.pem")]
    assert [other for other in others if verify(other, MESSAGE, signature)] == [public]


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_of_ssh_keygen(kind: str) -> None:
    refuse_all_changes(key(f"ssh-{kind}.pub"), ssh(f"ssh-{kind}.sig"))


def test_a_signature_of_ssh_keygen_over_sha256() -> None:
    refuse_all_changes(key("ssh-rsa.pub"), ssh("ssh-rsa-sha256.sig"))


def test_one_that_was_made_for_something_else_does_not_count() -> None:
    assert not verify(key("ssh-ed25519.pub"), MESSAGE, ssh("ssh-ed25519-namespace-git.sig"))


@pytest.mark.parametrize("kind", ["prehashed", "legacy"])
def test_a_signature_of_minisign(kind: str) -> None:
    signature = (VECTORS / f"minisign-{kind}.minisig").read_bytes()
    refuse_all_changes(key("minisign.pub"), signature)
    changed = signature.replace(b"a trusted comment", b"a changed comment")
    assert changed != signature
    assert not verify(key("minisign.pub"), MESSAGE, changed)


def test_a_signature_of_openssl() -> None:
    refuse_all_changes(key("openssl.pem"), (VECTORS / "openssl.sig").read_bytes())


@pytest.mark.parametrize("name", ["ssh-ed25519.sig", "ssh-ecdsa.sig", "ssh-rsa.sig"])
def test_each_changed_bit_of_a_signature_of_ssh_is_noticed(name: str) -> None:
    signature, public = ssh(name), key(name.replace(".sig", ".pub"))
    for at in range(len(signature)):
        changed = bytearray(signature)
        changed[at] ^= 1 << at % 8
        assert not verify(public, MESSAGE, bytes(changed)), at


def sha1_signature(secret: rsa.RSAPrivateKey, *, hash_name: bytes, algorithm: bytes) -> bytes:
    """As an old client made them: RSA over SHA-1."""
    public = PublicKey.of(
        wire.text(b"ssh-rsa")
        + number(secret.public_key().public_numbers().e)
        + number(secret.public_key().public_numbers().n)
    )
    digest = hashlib.new(hash_name.decode(), MESSAGE).digest()
    parts = (sshsig.NAMESPACE, b"", hash_name, digest)
    signed = sshsig.MAGIC + b"".join(map(wire.text, parts))
    how = SHA1() if algorithm == b"ssh-rsa" else SHA512()  # noqa: S303 - what is refused
    inner = wire.text(algorithm) + wire.text(secret.sign(signed, padding.PKCS1v15(), how))
    head = sshsig.MAGIC + (1).to_bytes(4, "big")
    rest = (public.blob, sshsig.NAMESPACE, b"", hash_name, inner)
    return head + b"".join(map(wire.text, rest))


@pytest.mark.parametrize(
    ("hash_name", "algorithm", "counts"),
    [
        (b"sha512", b"rsa-sha2-512", True),  # so what follows is refused for its hash alone
        (b"sha512", b"ssh-rsa", False),
        (b"sha1", b"rsa-sha2-512", False),
    ],
)
def test_sha1_is_refused(hash_name: bytes, algorithm: bytes, *, counts: bool) -> None:
    secret = rsa.generate_private_key(65537, 2048)
    signature = sha1_signature(secret, hash_name=hash_name, algorithm=algorithm)
    numbers = secret.public_key().public_numbers()
    public = PublicKey.of(wire.text(b"ssh-rsa") + number(numbers.e) + number(numbers.n))
    assert verify(public, MESSAGE, signature) is counts


def test_a_key_has_the_fingerprint_that_ssh_keygen_prints() -> None:
    need("ssh-keygen")
    for kind in KINDS:
        said = run("ssh-keygen", "-l", "-f", VECTORS / f"ssh-{kind}.pub").split()
        assert said[1].decode() == key(f"ssh-{kind}.pub").fingerprint


def test_a_key_is_one_key_in_whatever_form_it_comes(tmp_path: Path) -> None:
    found = KeyFolder(tmp_path / "keys").new("work", None)
    need("openssl")
    pem = run("openssl", "pkey", "-in", found.path, "-pubout").decode()
    assert parse_public_key(pem) == parse_public_key(found.public.line) == found.public
    assert parse_line(found.public.line) == found.public


@pytest.mark.parametrize("kind", KINDS)
def test_ssh_keygen_signs_and_verifies(kind: str, tmp_path: Path) -> None:
    need("ssh-keygen")
    path = tmp_path / "id"
    bits = ("-b", {"rsa": "2048"}.get(kind, kind.removeprefix("ecdsa")))
    what = kind.rstrip("0123456789") if kind != "ed25519" else kind
    run(
        "ssh-keygen",
        "-q",
        "-t",
        what,
        *(bits if bits[1].isdigit() else ()),
        "-N",
        "",
        "-C",
        f"me of {kind}",
        "-f",
        path,
    )
    signer = open_signer(str(path), KeyFolder(tmp_path / "keys"), no_passphrase)
    assert signer.key.comment == f"me of {kind}"
    signature = signer.sign(MESSAGE)
    assert verify(signer.key, MESSAGE, signature)
    (tmp_path / "sig").write_text(armored(signature))
    (tmp_path / "allowed").write_text(f"me {signer.key.line}\n")
    verifying = ("ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "me")
    space = sshsig.NAMESPACE.decode()
    said = run(*verifying, "-n", space, "-s", tmp_path / "sig", data=MESSAGE)
    assert b"Good" in said


def test_a_key_that_only_an_agent_has_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("ssh-agent")
    path, socket = tmp_path / "id", tmp_path / "agent"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert agent.poll() is None
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        run("ssh-add", "-q", path)
        path.unlink()
        signer = open_signer(f"{path}.pub", KeyFolder(tmp_path / "keys"), no_passphrase)
        assert verify(signer.key, MESSAGE, signer.sign(MESSAGE))
    finally:
        agent.terminate()
        agent.wait()


def test_ssh_keygen_that_cannot_sign_is_one_line(tmp_path: Path) -> None:
    need("ssh-keygen")
    path = tmp_path / "id"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
    path.write_bytes(path.read_bytes()[:100] + b"\n-----END OPENSSH PRIVATE KEY-----\n")
    path.chmod(0o600)
    signer = open_signer(str(path), KeyFolder(tmp_path / "keys"), no_passphrase)
    with pytest.raises(BadKeyError, match="ssh-keygen did not sign"):
        signer.sign(MESSAGE)


def minisign_key(folder: Path) -> Signer:
    path = folder / "minisign.key"
    shutil.copy(VECTORS / "minisign.key", path)
    path.chmod(0o600)
    return open_signer(str(path), KeyFolder(folder / "keys"), no_passphrase)


def test_what_we_sign_with_a_key_of_minisign_minisign_verifies(tmp_path: Path) -> None:
    signer = minisign_key(tmp_path)
    assert signer.key == key("minisign.pub")
    signature = signer.sign(MESSAGE)
    refuse_all_changes(signer.key, signature)
    need("minisign")
    (tmp_path / "sig").write_bytes(signature)
    files = ("-p", VECTORS / "minisign.pub", "-m", VECTORS / "message", "-x", tmp_path / "sig")
    assert b"verified" in run("minisign", "-V", *files)


@pytest.mark.torture  # scrypt takes a second and a gigabyte, by its nature
def test_an_encrypted_key_of_minisign_is_read_by_minisign(tmp_path: Path) -> None:
    need("minisign")
    secret, public = tmp_path / "m.key", tmp_path / "m.key.pub"
    run("minisign", "-G", "-s", secret, "-p", public, data=b"open\nopen\n")
    secret.chmod(0o600)
    signer = open_signer(str(secret), KeyFolder(tmp_path / "keys"), no_passphrase)
    assert minisign.is_encrypted(secret.read_text())
    with pytest.raises(BadKeyError, match="encrypted"):
        minisign.read_secret(secret.read_text())
    script = (
        "import sys; from pathlib import Path;"
        "from outlast.features.trust.keys.secret import KeyFolder;"
        "from outlast.features.trust.keys.signing import open_signer;"
        "s = open_signer(sys.argv[1], KeyFolder(Path('.')), lambda name: b'');"
        "sys.stdout.buffer.write(s.sign(Path(sys.argv[2]).read_bytes()))"
    )
    signature = run(sys.executable, "-c", script, secret, VECTORS / "message", data=b"open\n")
    assert verify(signer.key, MESSAGE, signature)


def test_a_damaged_key_of_minisign_is_refused() -> None:
    text = (VECTORS / "minisign.key").read_text()
    first, encoded = text.strip().splitlines()
    data = bytearray(base64.b64decode(encoded))
    data[70] ^= 1
    with pytest.raises(BadKeyError):
        minisign.read_secret(f"{first}\n{base64.b64encode(data).decode()}\n")


def test_openssl_verifies_what_a_key_of_ours_signs(tmp_path: Path) -> None:
    need("openssl")
    folder = KeyFolder(tmp_path / "keys")
    own = folder.new("work", b"a passphrase")
    signature = open_signer("work", folder, lambda _: b"a passphrase").sign(MESSAGE)
    (tmp_path / "sig").write_bytes(signature)
    pem = run("openssl", "pkey", "-in", own.path, "-passin", "pass:a passphrase", "-pubout")
    (tmp_path / "pub.pem").write_bytes(pem)
    files = ("-in", VECTORS / "message", "-sigfile", tmp_path / "sig")
    said = run(
        "openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", tmp_path / "pub.pem", *files
    )
    assert b"Success" in said
    with pytest.raises(BadKeyError, match="passphrase"):
        open_signer("work", folder, lambda _: b"another").sign(MESSAGE)


def test_a_key_file_of_openssl_signs(tmp_path: Path) -> None:
    need("openssl")
    path = tmp_path / "o.pem"
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", path)
    path.chmod(0o600)
    signer = open_signer(str(path), KeyFolder(tmp_path / "keys"), no_passphrase)
    assert verify(signer.key, MESSAGE, signer.sign(MESSAGE))


def test_an_envelope_of_ours_is_one_of_securesystemslib(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys")
    own = folder.new("work", None)
    draft = DsseEnvelope(b'{"vector":"1"}', ())
    assert draft.message == MESSAGE
    signature = open_signer("work", folder, no_passphrase).sign(draft.message)
    data = DsseEnvelope.of(draft.payload, [Signature(own.public.fingerprint, signature)]).to_bytes()
    other = OtherEnvelope.from_dict(json.loads(data))
    assert other.pae() == draft.message
    theirs = SSlibKey(
        own.public.fingerprint, "ed25519", "ed25519", {"public": own.public.raw.hex()}
    )
    assert list(other.verify([theirs], 1)) == [own.public.fingerprint]
    other.payload += b" "
    with pytest.raises(Exception, match="threshold"):
        other.verify([theirs], 1)


def test_an_envelope_of_securesystemslib_is_one_of_ours() -> None:
    signer = CryptoSigner.generate_ed25519()
    public = PublicKey.of_ed25519(bytes.fromhex(signer.public_key.keyval["public"]))
    signer.public_key.keyid = public.fingerprint
    other = OtherEnvelope(b'{"vector":"1"}', PAYLOAD_TYPE, {})
    other.sign(signer)
    found = DsseEnvelope.read(rfc8785.dumps(other.to_dict()))
    assert found.message == other.pae() == MESSAGE
    (signature,) = found.signatures
    assert signature.key_id == public.fingerprint
    assert verify(public, found.message, signature.data)


@pytest.mark.parametrize(
    "line",
    [
        "ssh-dss AAAAB3NzaC1kc3M=",
        "ssh-ed25519 "
        + base64.b64encode(wire.text(b"ssh-ed25519") + wire.text(b"1" * 31)).decode(),
        "ssh-ed25519 "
        + base64.b64encode(wire.text(b"ssh-ed25519") + wire.text(b"1" * 32) + b"!").decode(),
        "ssh-rsa "
        + base64.b64encode(
            wire.text(b"ssh-rsa") + number(65537) + number((1 << 1023) + 1)
        ).decode(),
        "ssh-rsa "
        + base64.b64encode(wire.text(b"ssh-rsa") + number(1) + number((1 << 2047) + 1)).decode(),
        "",
        "RWQ",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        "ssh-ed25519 é",
    ],
)
def test_what_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(BadKeyError):
        parse_public_key(line)
    with pytest.raises(MalformedError):
        parse_line(line)


@pytest.mark.parametrize(("bits", "kind"), [("384", KeyKind.ECDSA_384), ("521", KeyKind.ECDSA_521)])
def test_a_signature_of_openssl_on_larger_curves(bits: str, kind: KeyKind) -> None:
    """What OpenSSF model signatures have: DER, over the digest that the curve says."""
    public = key(f"openssl-p{bits}.pem")
    assert public.kind is kind
    assert parse_line(public.line) == public
    loaded = public.loaded()
    assert isinstance(loaded, EllipticCurvePublicKey)
    signature = (VECTORS / f"openssl-p{bits}.sig").read_bytes()
    assert is_signed(loaded, MESSAGE, signature)
    assert not is_signed(loaded, MESSAGE + b"\n", signature)


@pytest.mark.parametrize(
    ("name", "curve", "size"),
    [("ecdsa", b"nistp256", 32), ("ecdsa384", b"nistp384", 48), ("ecdsa521", b"nistp521", 66)],
)
def test_a_point_that_is_on_no_curve_signs_nothing(name: str, curve: bytes, size: int) -> None:
    blob = wire.text(b"ecdsa-sha2-" + curve) + wire.text(curve)
    public = PublicKey.of(blob + wire.text(b"\x04" + b"\1" * 2 * size))
    assert public.kind.is_elliptic
    with pytest.raises(MalformedError):
        PublicKey.of(blob + wire.text(b"\x04" + b"\1" * 2 * (size - 1)))
    with pytest.raises(MalformedError):
        PublicKey.of(wire.text(b"ecdsa-sha2-" + curve) + wire.text(b"nistp224") + blob[-9:])
    good = ssh(f"ssh-{name}.sig")
    theirs = wire.text(key(f"ssh-{name}.pub").blob)
    assert theirs in good
    assert not verify(public, MESSAGE, good.replace(theirs, wire.text(public.blob)))
