"""Which requests belong to a mount."""

import pytest
from aiohttp import web

from outlast.server.http.exchange import Exchange
from outlast.server.http.mount import Mount, Mounts


async def _answer(exchange: Exchange) -> web.StreamResponse:
    raise NotImplementedError(exchange)


def mount(prefix: str) -> Mount:
    return Mount(prefix, "name", _answer)


UI, OCI = mount("/ui"), mount("/v2")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ui", UI),
        ("/ui/", UI),
        ("/ui?a=/v2", UI),
        ("/ui/a/b/c/d", UI),
        ("/v2/org/name/manifests/main", OCI),
        ("/", None),
        ("", None),
        ("ui", None),
        ("//ui", None),
        ("/uix", None),
        ("/%75i", None),
        ("/a/ui", None),
        ("/api/ui", None),
        ("/ui/resolve/main/file", None),
        ("/ui/model/resolve/main/file", None),
        ("/ui/model/resolve/main", UI),
        ("/ui/a/b/resolve/main/file", UI),
    ],
)
def test_the_mount_of_a_path(path: str, expected: Mount | None) -> None:
    assert Mounts([UI, OCI]).find(path) is expected


def test_without_mounts_all_is_the_hubs() -> None:
    assert Mounts().find("/ui") is None


@pytest.mark.parametrize("prefix", ["", "/", "ui", "/ui/", "/a/b", "/api", "/models", "/metrics"])
def test_what_is_no_prefix(prefix: str) -> None:
    with pytest.raises(ValueError, match="not a prefix"):
        mount(prefix)


def test_two_mounts_at_one_prefix() -> None:
    with pytest.raises(ValueError, match="two mounts"):
        Mounts([UI, mount("/ui")])
