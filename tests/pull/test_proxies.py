"""Proxies of the environment, and TLS that is trusted or not."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.hubsim import HubSim
from tests.pull.kit import FILES, check_pulled, file_requests
from tests.pull.wires import Seen, http_proxy, make_certificate, socks_proxy, tls_front
from tests.warm.calls import outlast

DEAD = "http://127.0.0.1:9"


@pytest.fixture
def http() -> Iterator[Seen]:
    with http_proxy() as seen:
        yield seen


@pytest.fixture
def socks() -> Iterator[Seen]:
    with socks_proxy() as seen:
        yield seen


@pytest.fixture
def cdn_hub(root: Path) -> Iterator[HubSim]:
    with HubSim(root, mode="thread", cdn=True) as hub:
        yield hub


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    return make_certificate(tmp_path)


def places(hub: HubSim) -> set[str]:
    return {urlsplit(url).netloc for url in (hub.url, hub.cdn_url)}


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_an_http_proxy(cdn_hub: HubSim, http: Seen, tmp_path: Path, name: str, scheme: str) -> None:
    env = {"HF_ENDPOINT": cdn_hub.url, name: f"{scheme}127.0.0.1:{http.port}"}
    outlast("pull", "org/name", home=tmp_path, env=env).ok()
    check_pulled(tmp_path / "archive")
    assert set(http.asked) == places(cdn_hub)
    assert len(http.asked) == len(cdn_hub.requests())


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy(cdn_hub: HubSim, socks: Seen, tmp_path: Path, scheme: str) -> None:
    env = {"HF_ENDPOINT": cdn_hub.url, "all_proxy": f"{scheme}://127.0.0.1:{socks.port}"}
    outlast("pull", "org/name", home=tmp_path, env=env).ok()
    check_pulled(tmp_path / "archive")
    ports = {place.rpartition(":")[2] for place in places(cdn_hub)}
    assert {place.rpartition(":")[2] for place in socks.asked} == ports
    by_name = {place for place in socks.asked if place.startswith("localhost")}
    assert bool(by_name) == (scheme == "socks5h")


def test_no_proxy_names_what_is_reached_directly(
    cdn_hub: HubSim, http: Seen, tmp_path: Path
) -> None:
    proxy = f"http://127.0.0.1:{http.port}"
    env = {"HF_ENDPOINT": cdn_hub.url, "http_proxy": proxy, "no_proxy": "127.0.0.1, .example"}
    outlast("pull", "org/name", home=tmp_path, env=env).ok()
    assert set(http.asked) == {urlsplit(cdn_hub.cdn_url).netloc}
    http.asked.clear()
    env = {"HF_ENDPOINT": cdn_hub.url, "http_proxy": DEAD, "no_proxy": "*"}
    outlast("pull", "org/name@v1.0", home=tmp_path, env=env).ok()
    check_pulled(tmp_path / "archive")
    assert http.asked == []


def test_a_proxys_password(cdn_hub: HubSim, http: Seen, tmp_path: Path) -> None:
    env = {
        "HF_ENDPOINT": cdn_hub.url,
        "HF_TOKEN": "hf_any",
        "http_proxy": f"http://user:pa%20ss@127.0.0.1:{http.port}",
    }
    call = outlast("pull", "org/name", "--include", "config.json", home=tmp_path, env=env).ok()
    secret = base64.b64encode(b"user:pa ss")
    assert all(b"Basic " + secret in head for head in http.heads)
    assert "pa ss" not in call.err
    assert "pa%20ss" not in call.err


@pytest.mark.parametrize(
    "proxy",
    ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "http://user:secret@127.0.0.1:9"],
)
def test_a_proxy_that_is_down(hub: HubSim, tmp_path: Path, proxy: str) -> None:
    env = {"HF_ENDPOINT": hub.url, "http_proxy": proxy}
    call = outlast("pull", "org/name", home=tmp_path, env=env)
    call.failed("unreachable")
    assert "secret" not in call.err
    assert hub.requests() == []


@pytest.mark.parametrize("proxy", ["gopher://127.0.0.1:9", "http://[", "socks9://x", "http://x:y"])
def test_a_proxy_that_is_none(hub: HubSim, tmp_path: Path, proxy: str) -> None:
    env = {"HF_ENDPOINT": hub.url, "http_proxy": proxy}
    outlast("pull", "org/name", home=tmp_path, env=env).failed("bad-config")
    assert hub.requests() == []


def test_tls_with_a_certificate_of_ones_own(hub: HubSim, certificate: Path, tmp_path: Path) -> None:
    with tls_front(hub.url, certificate) as url:
        call = outlast("pull", "org/name", "--from", url, home=tmp_path)
        assert "TLS" in call.failed("unreachable")
        assert "SSL_CERT_FILE" in call.err
        assert file_requests(hub) == []
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            home = tmp_path / name
            env = {name: str(certificate)}
            outlast("pull", "org/name", "--from", url, home=home, env=env).ok()
            check_pulled(home / "archive")


def test_tls_through_proxies(
    hub: HubSim, certificate: Path, http: Seen, socks: Seen, tmp_path: Path
) -> None:
    trusted = {"SSL_CERT_FILE": str(certificate)}
    with tls_front(hub.url, certificate) as url:
        place = urlsplit(url).netloc
        env = {**trusted, "https_proxy": f"http://127.0.0.1:{http.port}", "HF_TOKEN": "hf_right"}
        env |= {"HF_ENDPOINT": url}
        outlast("pull", "org/name", home=tmp_path, env=env).ok()
        assert set(http.asked) == {place}
        assert all(head.startswith(b"CONNECT ") for head in http.heads)
        assert not any(b"hf_right" in head for head in http.heads)
        env = {**trusted, "https_proxy": f"socks5h://127.0.0.1:{socks.port}"}
        other = tmp_path / "other"
        outlast("pull", "org/name", "--from", url, home=other, env=env).ok()
        assert set(socks.asked) == {place}
    for home in (tmp_path, other):
        check_pulled(home / "archive")


def test_a_redirect_from_https_to_http_is_refused(
    hub: HubSim, certificate: Path, tmp_path: Path
) -> None:
    sha = hub.repo("org/name").head.sha
    target = f"{hub.url}/org/name/resolve/{sha}/config.json?again"
    hub.set_faults([{"action": "redirect", "to": target, "file": "config.json", "count": 1}])
    env = {"SSL_CERT_FILE": str(certificate)}
    with tls_front(hub.url, certificate) as url:
        arguments = ("pull", "org/name", "--from", url, "--include", "config.json")
        outlast(*arguments, home=tmp_path, env=env).failed("policy")
    assert len(file_requests(hub)) == 1
    assert FILES["config.json"] not in [p.read_bytes() for p in tmp_path.rglob("blobs/*/*")]
