"""Settings that the configuration file cannot have: the environment says them."""

from collections.abc import Mapping
from typing import Final

from outlast.cli.config.section import Meaning

OUTSIDE: Final[Mapping[str, Meaning]] = {
    "hub": Meaning(
        "URL of your hub: your token is for it.",
        default="the public hub",
        environment=("HF_ENDPOINT",),
        at="hub",
    ),
    "hub-token": Meaning(
        "Token of your hub.",
        more="Else it comes from the file that `HF_TOKEN_PATH` names, or from `$HF_HOME/token`",
        default="none",
        environment=("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
        at="hub_token",
        secret=True,
    ),
    "hub-cache": Meaning(
        "Hugging Face cache that adopt imports and link writes.",
        more="`$HF_HOME/hub` and `$XDG_CACHE_HOME/huggingface/hub` are where it is otherwise",
        default="~/.cache/huggingface/hub",
        environment=("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"),
        at="hub_cache",
    ),
    "ca-bundle": Meaning(
        "File with the certificate authorities to trust.",
        more="`SSL_CERT_FILE` names them too",
        default="the system's",
        environment=("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        at="ca_bundle",
    ),
    "proxies": Meaning(
        "Proxies to hubs and mirrors: http://, socks5:// or socks5h://.",
        default="none",
        environment=("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    ),
    "simd": Meaning(
        "Instructions that the codec uses: avx512, avx2 or portable.",
        default="the fastest that the processor has",
        environment=("OUTLAST_SIMD",),
        at="simd",
    ),
    "log": Meaning(
        "Diagnostics on stderr, why each decision is made: debug, or by package as "
        "p2p=debug,fetch=info.",
        default="off",
        flag="--debug",
        environment=("OUTLAST_LOG",),
    ),
    "config-file": Meaning(
        "The configuration file.",
        default="`outlast/config.toml` in the platform's folder for user configuration",
        environment=("OUTLAST_CONFIG",),
        follows="XDG_CONFIG_HOME",
    ),
}
