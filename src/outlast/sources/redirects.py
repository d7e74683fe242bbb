"""Where a source's files were found: signed URLs of another host, which hold for some time."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from outlast.core.addresses import host_of
from outlast.sources.http import Getter, Response
from outlast.sources.settings import origin
from outlast.sources.statuses import EXPIRED
from outlast.sources.tuning import TUNING, Tuning

_log = logging.getLogger(__name__)


class Redirects:
    """Asks for files where the source redirected to last time, as long as that holds. Thread-safe.
    What a URL that was signed for one token leads to is not for another: each has its own.
    """

    def __init__(self, http: Getter, tuning: Tuning = TUNING) -> None:
        self._http = http
        self._tuning = tuning
        self._lock = threading.Lock()
        self._signed: OrderedDict[str, str] = OrderedDict()

    def get(self, url: str, headers: Mapping[str, str], ask: Callable[[], Response]) -> Response:
        """GETs `url` from where it led to last time; `ask` asks the source itself."""
        with self._lock:
            signed = self._signed.get(url)
        if signed is not None:
            response = self._http.get(signed, headers=headers)
            if response.status not in EXPIRED | {416}:  # 416: an edge that has another file
                return response
            response.close()
            _log.debug("%s: a signed URL has expired (HTTP %d)", host_of(url), response.status)
            self.forget(url)
        response = ask()
        if response.status in {200, 206} and origin(response.url) != origin(url):
            with self._lock:
                self._signed[url] = response.url
                while len(self._signed) > self._tuning.signed_urls:
                    self._signed.popitem(last=False)
        return response

    def forget(self, url: str) -> None:
        """Asks the source itself for `url` next time."""
        with self._lock:
            self._signed.pop(url, None)
