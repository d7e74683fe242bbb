"""The text of the units: `serve` as a service, and `sync` with a timer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.cli.service.quoting import argument, program, quoted, whole

MARK: Final = "# Written by 'outlast service install'."
"""The first line of each unit of ours: what lacks it was written or changed by someone else."""

_SANDBOX: Final = """\
CapabilityBoundingSet=
AmbientCapabilities=
PrivateDevices=yes
PrivateMounts=yes
PrivateTmp=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
"""
"""What only the system's manager can do without the help of user namespaces."""
_FILTERS: Final = """\
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
"""
_UMASK: Final = "UMask=0027\n"


@dataclass(frozen=True, slots=True)
class Owner:
    """The user and group that an archive's folder belongs to."""

    user: str
    group: str


@dataclass(frozen=True, slots=True)
class Setup:
    """Where a service runs. `home` is its archive; None is the state folder that the system's
    manager makes for the service and its own, dynamic user. With a `home` there is its `owner`, or
    None in a manager of the user. `homes`: whether the program lies in a home folder.
    """

    name: str
    program: Sequence[str]
    user: bool
    home: Path | None = None
    owner: Owner | None = None
    homes: bool = False

    @property
    def archive(self) -> str:
        """The archive's folder, for ``--home``."""
        return f"/var/lib/{self.name}" if self.home is None else str(self.home)


def serve_unit(setup: Setup, words: Sequence[str], tokens: Path | None) -> str:
    """The service that runs `serve` with these words. `tokens` is a file that only root can read:
    the service gets a copy.
    """
    given = [argument(word) for word in words]
    if tokens is not None:
        given.append('"--tokens=${CREDENTIALS_DIRECTORY}/tokens"')
    return (
        f"{_header(setup.user)}"
        "[Unit]\n"
        "Description=outlast: serves archived models\n"
        f"{_network(setup)}{_mounts(setup)}\n"
        "[Service]\n"
        "Type=notify\n"
        f"ExecStart={_command(setup, 'serve', given)}\n"
        "Restart=on-failure\n"
        "RestartSec=5\n"
        "RestartPreventExitStatus=2\n"
        "TimeoutStartSec=10min\n"
        "LimitNOFILE=65536\n"
        f"{_credential('tokens', tokens)}"
        f"{_surroundings(setup)}\n"
        "[Install]\n"
        f"WantedBy={'default.target' if setup.user else 'multi-user.target'}\n"
    )


def sync_unit(setup: Setup, words: Sequence[str], keep_list: Path) -> str:
    """The service that runs `sync` once with this list."""
    file = str(keep_list)
    given = [argument(word) for word in words]
    if setup.user:
        given.append(argument(f"--file={file}"))
    else:
        given.append('"--file=${CREDENTIALS_DIRECTORY}/models.txt"')
    return (
        f"{_header(setup.user)}"
        "[Unit]\n"
        "Description=outlast: archives what a keep-list names\n"
        f"{_network(setup)}{_mounts(setup)}\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"ExecStart={_command(setup, 'sync', given)}\n"
        "Nice=10\n"
        "IOSchedulingClass=idle\n"
        "LimitNOFILE=65536\n"
        f"{_credential('models.txt', None if setup.user else keep_list)}"
        f"{_surroundings(setup)}"
    )


def sync_timer(every: str, *, user: bool) -> str:
    """The timer that starts it; `every` is a calendar expression of systemd."""
    return (
        f"{_header(user)}"
        "[Unit]\n"
        "Description=outlast: archives what a keep-list names, from time to time\n\n"
        "[Timer]\n"
        f"OnCalendar={every}\n"
        "RandomizedDelaySec=30min\n"
        "Persistent=yes\n\n"
        "[Install]\n"
        "WantedBy=timers.target\n"
    )


def _header(user: bool) -> str:
    edit = "systemctl --user edit" if user else "systemctl edit"
    return f"{MARK} A setting goes into a file beside it: '{edit}' makes one.\n"


def _command(setup: Setup, name: str, words: Sequence[str]) -> str:
    first, *more = setup.program
    own = [*more, name, f"--home={setup.archive}"]
    return " ".join([program(Path(first)), *map(argument, own), *words])


def _network(setup: Setup) -> str:
    """A manager of the user knows no network target."""
    return "" if setup.user else "Wants=network-online.target\nAfter=network-online.target\n"


def _mounts(setup: Setup) -> str:
    return "" if setup.home is None else f"RequiresMountsFor={quoted(str(setup.home))}\n"


def _credential(name: str, path: Path | None) -> str:
    return "" if path is None else f"LoadCredential={name}:{whole(path)}\n"


def _surroundings(setup: Setup) -> str:
    """The environment, the user, and what the process may do."""
    environment = f"EnvironmentFile=-%E/outlast/{setup.name}.env\n"
    if setup.user:
        return f"{environment}{_UMASK}{_FILTERS}"
    protect_home = f"ProtectHome={'read-only' if setup.homes else 'yes'}\n"
    return (
        f"{environment}Environment=XDG_CONFIG_HOME=%E\n"
        f"{_identity(setup)}{_UMASK}{protect_home}{_SANDBOX}{_FILTERS}"
    )


def _identity(setup: Setup) -> str:
    if setup.owner is None or setup.home is None:
        return (
            f"User={setup.name}\nDynamicUser=yes\n"
            f"StateDirectory={setup.name}\nStateDirectoryMode=0750\n"
        )
    return (
        f"User={setup.owner.user}\nGroup={setup.owner.group}\n"
        f"ReadWritePaths={quoted(str(setup.home))}\n"
    )
