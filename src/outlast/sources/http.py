"""HTTP as sources need it: streamed, un-decoded, through the user's proxies, with redirects that
never carry a token to another host.
"""

import base64
import contextlib
import functools
import logging
import re
import socket
import ssl
import threading
import time
import urllib.request
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, Self
from urllib.parse import unquote, urljoin

import urllib3
from urllib3.contrib.socks import SOCKSProxyManager
from urllib3.exceptions import (
    HTTPError,
    IncompleteRead,
    LocationParseError,
    ProtocolError,
    ReadTimeoutError,
)

from outlast.core.addresses import host_of, is_outside
from outlast.core.closing import Closing
from outlast.core.errors import (
    BadConfigError,
    Cancelled,
    MalformedError,
    PolicyError,
    UnreachableError,
)
from outlast.sources.in_time import (
    POOLS,
    SOCKS_POOLS,
    InwardError,
    OpenSockets,
    check_ended,
    peer_of,
    reading_in_time,
    telling,
)
from outlast.sources.settings import HttpSettings, origin
from outlast.sources.tuning import TUNING, Tuning

_log = logging.getLogger(__name__)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Response:
    """An answer whose body has not been read yet. `url` is the last one after redirects, `hops` has
    the headers of the redirects.
    """

    def __init__(
        self,
        raw: urllib3.BaseHTTPResponse,
        url: str,
        hops: tuple[Mapping[str, str], ...],
        tuning: Tuning = TUNING,
    ) -> None:
        self._raw = raw
        self._tuning = tuning
        self.url = url
        self.hops = hops
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Returns the connection to the pool if the body was read to its end; else drops it."""
        if not self._raw.closed and getattr(self._raw, "length_remaining", None) == 0:
            with contextlib.suppress(HTTPError, OSError):
                self._raw.read(1)  # the connection takes a body without a byte for unread, too
        if self._raw.closed or getattr(self._raw, "length_remaining", None) == 0:
            self._raw.release_conn()
        else:
            self._raw.close()

    @property
    def length(self) -> int | None:
        """The declared length of the body in bytes."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isdecimal() and len(text) < 19 else None

    def readinto(self, buffer: memoryview) -> int:
        """Fills the start of `buffer` with what has come; how many bytes, 0 at the end. A body cut
        short raises a transient error.
        """
        with _reporting(self.url):
            data = self._some(len(buffer), self._tuning.head_s)
        buffer[: len(data)] = data
        return len(data)

    def read_all(
        self,
        limit: int,
        within: float | None = None,
        large: Callable[[int, float], None] | None = None,
    ) -> bytes:
        """The whole body, which may not exceed `limit` bytes, nor take over `within` seconds. Some
        servers compress with gzip though asked not to: that is undone, within the same limit.
        `large` is told once, if more comes than of a small document: how many bytes that may be in
        memory, and the seconds that are left. It may wait, and may raise.
        """
        data = self._read_soon(limit + 1, within or self._tuning.answer_s, large)
        if len(data) > limit:
            raise MalformedError(f"{host_of(self.url)} sent more than {limit} bytes of metadata")
        if self.length is not None and len(data) < self.length:
            raise UnreachableError(f"{host_of(self.url)}: the connection was closed early")
        return self._decoded(data, limit) if self.encoding else data

    @property
    def encoding(self) -> str:
        """How the body is encoded; empty if it is not, as every request asks."""
        name = self.headers.get("Content-Encoding", "").strip().lower()[:40]
        return "" if name == "identity" else name

    def _decoded(self, data: bytes, limit: int) -> bytes:
        host = host_of(self.url)
        if self.encoding not in {"gzip", "x-gzip"}:
            raise MalformedError(
                f"{host} encodes its answer ({self.encoding!r}) though asked not to"
            )
        decoder = zlib.decompressobj(wbits=31)
        try:
            plain = decoder.decompress(data, limit + 1)
        except zlib.error:
            plain = b""
        if len(plain) > limit:
            raise MalformedError(f"{host} sent more than {limit} bytes of metadata")
        if not decoder.eof or decoder.unused_data:
            raise MalformedError(f"{host} says that its answer is gzip, which it is not")
        return plain

    def _some(self, limit: int, seconds: float) -> bytes:
        """Up to `limit` bytes that have come; b"" at the end."""
        with reading_in_time(self._raw, seconds):
            return self._raw.read1(limit, decode_content=False)

    def _read_soon(
        self, limit: int, seconds: float, large: Callable[[int, float], None] | None
    ) -> bytes:
        """Up to `limit` bytes, however slowly they drip in. A transient error after `seconds`, and
        before if fewer come in a second than the least.
        """
        began = time.monotonic()
        until = began + seconds
        data = bytearray()
        with _reporting(self.url):
            while len(data) < limit:
                left = min(max(0.0, until - time.monotonic()), self._tuning.head_s)
                try:
                    part = self._some(limit - len(data), left)
                except TimeoutError:
                    check_ended()
                    raise self._too_slow() from None
                if not part:
                    break
                data += part
                if large is not None and len(data) > self._tuning.small_document:
                    asked = time.monotonic()
                    large(self._most(limit), max(0.0, until - asked))
                    began += time.monotonic() - asked  # it was not the server that was slow
                    large = None
                if len(data) == self.length:
                    break  # slow or not, nothing is left to wait for
                now = time.monotonic()
                behind = (now - began) * self._tuning.least_rate - len(data)
                if now > until or behind > self._tuning.least_bytes:
                    raise self._too_slow()
        return bytes(data)

    def _most(self, limit: int) -> int:
        """Bytes that the body may have in memory."""
        if self.encoding or self.length is None:
            return limit
        return min(limit, self.length)

    def _too_slow(self) -> UnreachableError:
        return UnreachableError(f"{host_of(self.url)} answers too slowly", again=False)


class Getter(Protocol):
    """What GETs URLs: a client, or what changes the requests on their way to one."""

    def get(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        timeout: float | None = None,
    ) -> Response:
        """As :meth:`HttpClient.get`."""


class HttpClient(Closing):
    """A pool of connections. Thread-safe. Who needs its threads to end closes it."""

    def __init__(
        self,
        settings: HttpSettings,
        observe: Callable[[str], None] | None = None,
        tuning: Tuning = TUNING,
    ) -> None:
        """`observe` is called with the host and port of every request that is sent."""
        self.settings = settings
        self._tuning = tuning
        self._observe = observe
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, bool, bool], urllib3.PoolManager] = {}
        self._outward: OrderedDict[tuple[str, str, int], None] = OrderedDict()
        """Origins that a host on the internet redirected to: they are asked there alone."""
        self._sockets = OpenSockets()
        self._closed = False
        # A bundle that cannot be read is reported at once. The system's takes long to load, and
        # peers speak plain HTTP.
        bundle = settings.ca_bundle
        self._context = _tls(bundle) if bundle is not None else None

    def close(self) -> None:
        """Ends all connections, also those whose answers other threads wait for: these get errors.
        Requests raise :class:`Cancelled` from now on.
        """
        with self._lock:
            self._closed = True
            pools = list(self._pools.values())
        self._sockets.close()
        for pool in pools:
            pool.clear()

    def get(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        timeout: float | None = None,
    ) -> Response:
        """GETs `url`, following redirects; with the `method` HEAD, for the headers alone. `token`
        goes to the origin of `url` and nowhere else. `timeout` bounds each wait, in seconds.
        """
        hops: list[Mapping[str, str]] = []
        seen: set[str] = set()
        start, own = url, origin(url)
        while True:
            sent = {"Accept-Encoding": "identity", **(headers or {})}
            if token and origin(url) == own:
                sent["Authorization"] = _authorization(token)
            raw = self._send(method, url, sent, timeout)
            location = raw.headers.get("Location")
            if raw.status not in _REDIRECTS or not location:
                return Response(raw, url, tuple(hops), self._tuning)
            peer = peer_of(raw)
            raw.close()
            hops.append(raw.headers)
            seen.add(url)
            url = self.led_to(url, location)
            if peer and is_outside(peer):
                self._keep_outward(url)
            if url in seen or len(hops) > self._tuning.redirects:
                raise UnreachableError(f"{host_of(start)} redirects in a loop or too often")

    def ask(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        token: str | None = None,
        timeout: float | None = None,
    ) -> Response:
        """GETs `url`, or POSTs `body` to it, as JSON unless `headers` say another type;
        redirects are not followed.
        """
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        if token:
            sent["Authorization"] = _authorization(token)
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        raw = self._send("GET" if body is None else "POST", url, sent, timeout, body)
        return Response(raw, url, (), self._tuning)

    def led_to(self, url: str, location: str) -> str:
        """Where `url`, as its answer says, leads to. Raises :class:`PolicyError` where that is
        weaker (https to http), or inside this network and `url` is not.
        """
        try:
            target = urljoin(url, location)
        except ValueError:
            raise MalformedError(f"{host_of(url)} redirects to an invalid URL") from None
        scheme, host, _ = origin(target)
        before, source_host, _ = origin(url)
        if before == "https" and scheme == "http":
            raise PolicyError(f"{source_host} redirects from https to http ({host}): refused")
        if host != source_host and self._proxy_for(target) is None:
            _refuse_inward(source_host, host)
        return target

    def _keep_outward(self, url: str) -> None:
        """From now on the origin of `url` is asked on the internet alone."""
        with self._lock:
            self._outward[origin(url)] = None
            while len(self._outward) > self._tuning.signed_urls:
                self._outward.popitem(last=False)

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        timeout: float | None,
        body: bytes | None = None,
    ) -> urllib3.BaseHTTPResponse:
        check_ended()
        limits = urllib3.Timeout(
            connect=min(timeout or self.settings.connect_timeout, self.settings.connect_timeout),
            read=timeout or self.settings.read_timeout,
        )
        if self._observe is not None:
            self._observe(host_of(url))
        with _reporting(url):
            send = functools.partial(
                self._pool(url).request,
                method,
                url,
                body=body,
                headers={"User-Agent": self.settings.user_agent, **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=limits,
            )
            try:
                return _logged(send(), method, url)
            except ProtocolError as error:
                # The server may have closed a connection of the pool just before this request.
                if not isinstance(error.args[-1], ConnectionError):
                    raise
                _log.debug("%s closed a kept connection: one more try", host_of(url))
                return _logged(send(), method, url)

    def _proxy_for(self, url: str) -> str | None:
        scheme, host, port = origin(url)
        proxies = dict(self.settings.proxies)
        bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]
        if bypass(f"{host}:{port}", proxies) or bypass(host, proxies):
            return None
        return proxies.get(scheme) or proxies.get("all")

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = self._proxy_for(url) or ""
        secure = origin(url)[0] == "https" or proxy.lower().startswith("https:")
        with self._lock:
            if self._closed:
                raise Cancelled("the connections are closed")
            outward = not proxy and origin(url) in self._outward
            key = proxy, secure, outward
            if key not in self._pools:
                self._pools[key] = self._make_pool(proxy, secure=secure, outward=outward)
            return self._pools[key]

    def _make_pool(self, proxy: str, *, secure: bool, outward: bool) -> urllib3.PoolManager:
        maxsize = self.settings.connections
        if secure:
            self._context = self._context or _tls(None)
        context = self._context if secure else None
        if not proxy:
            direct = urllib3.PoolManager(maxsize=maxsize, ssl_context=context)
            direct.pool_classes_by_scheme = telling(POOLS, self._sockets, outward=outward)
            return direct
        try:
            if proxy.startswith("socks"):
                socks = SOCKSProxyManager(proxy, maxsize=maxsize, ssl_context=context)
                socks.pool_classes_by_scheme = telling(SOCKS_POOLS, self._sockets)
                return socks
            url = proxy if "://" in proxy else f"http://{proxy}"
            parts = urllib3.util.parse_url(url)
            secret = None
            if parts.auth:
                secret = urllib3.make_headers(proxy_basic_auth=unquote(parts.auth))
            manager = urllib3.ProxyManager(
                url, proxy_headers=secret, maxsize=maxsize, ssl_context=context
            )
        except (HTTPError, ValueError) as error:
            shown = host_of(proxy if "://" in proxy else f"http://{proxy}")
            raise BadConfigError(f"cannot use the proxy {shown!r}: {error}") from error
        manager.pool_classes_by_scheme = telling(POOLS, self._sockets)
        return manager


def _logged(answer: urllib3.BaseHTTPResponse, method: str, url: str) -> urllib3.BaseHTTPResponse:
    _log.debug("%s %s: HTTP %d", method, host_of(url), answer.status)
    return answer


def _authorization(token: str) -> str:
    """A token with a colon, which no bearer token has (RFC 6750, 2.1), is ``NAME:PASSWORD``."""
    if ":" not in token:
        return f"Bearer {token}"
    return "Basic " + base64.b64encode(token.encode()).decode()


def _tls(ca_bundle: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        raise BadConfigError(f"cannot read the CA bundle {ca_bundle}: {error}") from error


@contextlib.contextmanager
def _reporting(url: str) -> Iterator[None]:
    try:
        yield
    except LocationParseError as error:
        raise MalformedError(f"not a URL: {url[:200]!r}") from error
    except InwardError as error:
        raise _inward(f"a host on the internet redirects to {host_of(url)}") from error
    except (HTTPError, OSError) as error:
        check_ended()
        raise _failure(url, error) from error


def _failure(url: str, error: Exception) -> UnreachableError:
    """What a request that failed below HTTP means."""
    if isinstance(error, ReadTimeoutError):
        return UnreachableError(f"{host_of(url)} stopped answering", may_be_limit=True)
    if isinstance(error, urllib3.exceptions.SSLError):
        return UnreachableError(
            f"{host_of(url)}: no trusted TLS connection: {error}",
            hint="set SSL_CERT_FILE if your network uses its own certificates",
        )
    return UnreachableError(f"{host_of(url)}: {_plain(error)}", may_be_limit=True)


def _plain(error: BaseException) -> str:
    """Why a request failed, in a few words: the innermost reason."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, IncompleteRead):
            return "the connection was closed early"
        if isinstance(cause, TimeoutError) and cause.__cause__ is not None:
            return str(cause)  # we ended it: what that caused is no reason
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        reason = getattr(cause, "reason", None)
        inner = [a for a in cause.args if isinstance(a, BaseException)]
        if isinstance(reason, BaseException):
            inner.insert(0, reason)
        cause = inner[0] if inner else cause.__cause__
    return re.sub(r"<.*? at 0x[0-9a-f]+>:? ?", "", str(error)) or type(error).__name__


def _is_outside(host: str) -> bool:
    """Whether all addresses of a name are of the internet."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnreachableError(f"{host}: {error}") from error
    return all(is_outside(str(entry[4][0])) for entry in found)


def _refuse_inward(source: str, target: str) -> None:
    """A host on the public internet may not send us to addresses inside our own network. What names
    lead to may change: the connection is looked at again when it is made (`_keep_outward`).
    """
    if _is_outside(source) and not _is_outside(target):
        raise _inward(f"{source} redirects to {target}")


def _inward(problem: str) -> PolicyError:
    return PolicyError(
        f"{problem}, inside this network: refused",
        hint="if this network wants a login, log in with a browser, and run the same command "
        "again; else name another source with --from",
    )
