"""Every option that concerns the network does on the network what it says.

The tables name, for each such option of the program, the test that looks at the wire. An option
that is in neither table fails here: a new one needs its test.
"""

import ast
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import click
import pytest

from docs.lines import all_commands
from outlast.app import hand_on
from outlast.cli.main import outlast as program
from outlast.core.control import Control
from outlast.features import FEATURES
from tests.cli.call import until
from tests.hubsim import HubRepo, HubSim
from tests.ports import free_port
from tests.pull.kit import MIB
from tests.serve.node import Node
from tests.serve.wire import once
from tests.warm.calls import finish, outlast, start

ROOT = Path(__file__).parents[2]
HERE = "tests/cli/test_network_options.py"
SEEN: Final = {
    ("pull", "--from"): "tests/pull/test_command.py::test_several_sources_are_told_apart",
    ("pull", "--patience"): "tests/swarm/test_net_clients.py::test_they_find_us_on_the_lan",
    ("pull", "--with-base"): ("tests/features/tune/test_travel.py::test_by_pull_with_its_base"),
    ("pull", "--limit-rate"): f"{HERE}::test_a_pull_is_no_faster_than_its_rate",
    ("pull", "--connections"): f"{HERE}::test_a_pull_has_no_more_connections_than_allowed",
    ("pull", "--no-swarm"): "tests/swarm/test_net_dark.py::test_another_site_by_static_peer",
    ("pull", "--linger"): f"{HERE}::test_who_lingers_stays_while_it_is_wanted_and_no_longer",
    ("sync", "--from"): "tests/pull/test_keep.py::test_options_are_for_all_lines",
    ("sync", "--limit-rate"): f"{HERE}::test_a_pull_is_no_faster_than_its_rate",
    ("sync", "--connections"): f"{HERE}::test_a_pull_has_no_more_connections_than_allowed",
    ("sync", "--no-swarm"): f"{HERE}::test_a_pull_without_the_swarm_has_no_port",
    ("sync", "--linger"): f"{HERE}::test_who_lingers_stays_while_it_is_wanted_and_no_longer",
    ("catalogue add", "--source"): (
        "tests/features/trust/catalogue/test_use.py"
        "::test_a_pull_asks_the_catalogue_where_the_hub_does_not_answer"
    ),
    ("catalogue announce", "--at"): (
        "tests/features/trust/catalogue/test_by_dht.py::test_a_follower_finds_the_newest_state"
    ),
    ("catalogue sync", "--from"): (
        "tests/features/trust/catalogue/test_by_bundle.py::test_from_a_medium_this_once"
    ),
    ("evidence", "--timestamp"): (
        "tests/features/trust/evidence/test_evidence_command.py"
        "::test_a_timestamp_is_checked_by_us_and_by_openssl"
    ),
    ("search", "--from"): "tests/cli/test_search.py::test_what_is_no_node",
    ("search", "--base"): (
        "tests/features/tune/test_search.py::test_what_was_made_from_it_is_found"
    ),
    ("share", "--tracker"): "tests/swarm/test_net_clients.py::test_they_fetch_from_the_swarm",
    ("share", "--web-seed"): "tests/swarm/test_net_clients.py::test_they_fetch_from_us",
    ("share", "--no-seed"): (
        "tests/swarm/test_shares.py::test_without_seeding_nothing_is_registered"
    ),
    ("share", "--stop"): "tests/swarm/test_net_clients.py::test_they_find_us_on_the_lan",
    ("serve", "--listen"): f"{HERE}::test_a_server_listens_where_it_was_told",
    (
        "serve",
        "--upstream",
    ): "tests/serve/test_mirror_fetch.py::test_a_file_comes_through_and_stays",
    ("serve", "--tokens"): "tests/serve/test_serve_documents.py::test_those_with_a_token_may_read",
    ("serve", "--host"): "tests/serve/test_hosts.py::test_names_that_the_operator_gave",
    ("serve", "--open-restricted"): (
        "tests/serve/test_restricted.py::test_unless_the_operator_opens_it"
    ),
    ("serve", "--offline-access"): (
        "tests/serve/test_restricted.py::test_for_as_long_as_the_operator_says"
    ),
    ("serve", "--ttl"): "tests/serve/test_mirror_fetch.py::test_without_a_while_every_request_asks",
    ("serve", "--limit-rate"): f"{HERE}::test_a_mirror_fetches_no_faster_than_its_rate",
    ("serve", "--max-connections"): (
        "tests/serve/test_serve_limits.py::test_one_too_many_is_told_to_come_back"
    ),
    ("serve", "--stall"): "tests/serve/test_serve_limits.py::test_who_does_not_read_is_parted_from",
    ("serve", "--no-swarm"): f"{HERE}::test_a_server_without_the_swarm_has_one_port",
    ("locate", "--from"): "tests/cli/test_locate.py::test_a_table",
    ("locate", "--timeout"): "tests/ops/holders/test_locate.py::test_none_is_waited_for_long",
    ("mirror", "--refresh"): "tests/features/watch/test_mirror_status.py::test_it_asks_anew",
    ("mirror", "--most"): "tests/features/watch/test_mirror_status.py::test_it_asks_anew",
    ("watch", "--from"): "tests/features/watch/test_watch_command.py::test_another_hub_is_watched",
    ("withdraw", "--stop-serving"): (
        "tests/features/watch/test_withdraw.py::test_clients_are_told_why"
    ),
    ("verify", "--store"): (
        "tests/bucket/test_second_home.py::test_damage_is_found_and_never_archived"
    ),
    ("copy", "--store"): (
        "tests/bucket/test_second_home.py::test_the_copy_is_an_archive_and_nothing_is_sent_twice"
    ),
    ("ls", "--store"): "tests/features/durability/test_scrub_store.py::test_ls_of_a_store",
    ("scrub", "--store"): ("tests/features/durability/test_scrub_store.py::test_scrub_of_a_store"),
    ("export", "--with-engine"): (
        "tests/features/bundle/test_program.py::test_without_a_network_it_says_so"
    ),
    ("export", "--wheels"): "tests/features/bundle/test_program.py::test_it_installs_and_runs",
    ("observe", "--from"): (
        "tests/features/trust/commands/test_commands.py::test_observe_signs_what_the_hub_lists"
    ),
    ("scrub", "--no-mend"): (
        "tests/features/durability/test_scrub_command.py::test_no_source_is_asked_by_no_mend"
    ),
    ("scrub", "--limit-rate"): (  # of the disk
        "tests/features/durability/test_scrub_command.py::test_a_part_at_a_time"
    ),
    ("keep", "--shrink"): (
        "tests/features/durability/copies/test_net_keep.py"
        "::test_copies_are_challenged_and_shrink_when_told"
    ),
    ("audit endpoint", "--model"): (
        "tests/features/audit/test_hostile_endpoint.py::test_what_is_asked_says_all_parameters"
    ),
    ("audit endpoint", "--max-requests"): (
        "tests/features/audit/test_audit_command.py::test_too_small_a_budget_is_no_verdict"
    ),
    ("audit endpoint", "--max-tokens"): (
        "tests/features/audit/test_audit_command.py::test_too_small_a_budget_is_no_verdict"
    ),
    ("audit endpoint", "--max-cost"): (
        "tests/features/audit/test_audit_command.py::test_too_small_a_budget_is_no_verdict"
    ),
    ("audit endpoint", "--key-env"): (
        "tests/features/audit/test_hostile_endpoint.py::test_what_is_asked_says_all_parameters"
    ),
    ("audit endpoint", "--prompts"): (
        "tests/features/audit/test_audit_command.py::test_too_small_a_budget_is_no_verdict"
    ),
    ("audit contract", "--model"): (
        "tests/features/audit/test_contract.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit contract", "--max-requests"): (
        "tests/features/audit/test_contract.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit contract", "--max-tokens"): (
        "tests/features/audit/test_contract.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit contract", "--max-cost"): (
        "tests/features/audit/test_contract.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit contract", "--key-env"): (
        "tests/features/audit/test_contract.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit speed", "--model"): (
        "tests/features/audit/test_speed.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit speed", "--tokens"): (
        "tests/features/audit/test_speed.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit speed", "--requests"): (
        "tests/features/audit/test_speed.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit speed", "--concurrency"): (
        "tests/features/audit/test_speed.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit speed", "--max-requests"): (
        "tests/features/audit/test_speed.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit speed", "--max-tokens"): (
        "tests/features/audit/test_speed.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit speed", "--max-cost"): (
        "tests/features/audit/test_speed.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit speed", "--key-env"): (
        "tests/features/audit/test_speed.py::test_what_the_command_sends_is_bounded"
    ),
    ("audit watch", "--model"): (
        "tests/features/audit/test_hostile_endpoint.py::test_what_is_asked_says_all_parameters"
    ),
    ("audit watch", "--max-requests"): (
        "tests/features/audit/test_audit_command.py::test_four_bits_raise_an_alarm_that_stays"
    ),
    ("audit watch", "--max-tokens"): (
        "tests/features/audit/test_audit_command.py::test_too_small_a_budget_is_no_verdict"
    ),
    ("audit watch", "--max-cost"): (
        "tests/features/audit/test_audit_command.py::test_too_small_a_budget_is_no_verdict"
    ),
    ("audit watch", "--key-env"): (
        "tests/features/audit/test_audit_command.py::test_the_commands_of_the_guide"
    ),
    ("audit watch", "--prompts"): (
        "tests/features/audit/test_audit_command.py::test_a_killed_watch_loses_no_audit_before"
    ),
    ("gateway keys", "--model"): (
        "tests/features/gateway/accounts/test_budgets.py::test_a_key_uses_the_models_that_it_may"
    ),
    ("launch", "--url"): (
        "tests/features/gateway/launch/test_launch.py::test_a_tool_is_told_where_the_model_is"
    ),
    ("launch", "--local"): (
        "tests/features/gateway/launch/test_launch.py::test_with_an_archived_model"
    ),
    ("launch", "--model"): (
        "tests/features/gateway/launch/test_launch.py::test_a_tool_is_told_where_the_model_is"
    ),
    ("launch", "--key-file"): (
        "tests/features/gateway/launch/test_launch.py::test_print_env_is_for_a_shell_and_has_no_key"
    ),
    ("gateway", "--listen"): (
        "tests/features/gateway/test_gateway_command.py"
        "::test_a_new_file_holds_from_the_next_request"
    ),
    ("gateway", "--host"): (
        "tests/features/gateway/test_gateway_command.py::test_names_that_the_operator_gave"
    ),
    ("gateway", "--processes"): (
        "tests/features/gateway/test_several_processes.py::test_they_are_one_gateway"
    ),
    ("gateway", "--no-substitute"): (
        "tests/features/gateway/test_falls_over.py::test_no_substitutes"
    ),
    ("run", "--api"): "tests/cli/test_logs.py::test_an_api_keeps_its_key_to_itself",
    ("run", "--api-key-file"): "tests/cli/test_logs.py::test_an_api_keeps_its_key_to_itself",
}
LOCAL: Final = {
    *(
        "--any-base",
        "--catalogue",
        "--adapter",
        "--converter",
        "--gguf",
        "--type",
        "--svg",
        "--data",
        "--rank",
        "--alpha",
        "--target",
        "--dropout",
        "--rate",
        "--epochs",
        "--steps",
        "--batch",
        "--length",
        "--cut",
        "--held-out",
        "--checkpoint",
        "--device",
        "--check",
        "--sealed",
        "--template-diff",
        "--unsigned",
        "--rules",
        "--action",
        "--output",
        "--sign",
        "--home",
        "--json",
        "-q",
        "--debug",
        "--include",
        "--exclude",
        "--form",
        "--base",
        "--no-base",
        "--as",
        "--dry-run",
    ),
    *(
        "--sort",
        "--reverse",
        "--partial",
        "--portable",
        "--init",
        "--roots",
        "--verify",
        "--openssf",
        "--cosign",
        "--force",
        "--follow-links",
        "--only",
        "--copy",
        "--quarantine",
        "--cache",
        "--folder",
        "--budget",
        "--routes",
        "--out",
        "--blobs",
        "--v1",
    ),
    *(
        "--restricted",
        "--watch",
        "--system",
        "--max-tokens",
        "--temperature",
        "--top-p",
        "--seed",
        "--file",
        "--engine",
    ),
    *("--context", "--threads", "--gpu-layers", "--recheck", "--verbose", "--rebuild"),
    *(
        "-f",
        "--remove",
        "--user",
        "--name",
        "--sync",
        "--every",
        "--print",
        "--force",
        "--unit-dir",
        "--strict",
        "--now",
        "--undo",
        "--accept",
        "--discard",
        "--alone",
        "--embeddings",
        "--mend",
        "--once",
        "--priority",
        "--reason",
        "--since",
        "--all",
        "--keep",
        "--to",
        "--plain",
        "--parity",
        "--part-size",
        "--media",
        "--bagit",
        "--full",
        "--max-duration",
        "--encrypt",
        "--identity",
        "--list",
        "--lists",
        "--allow-unsafe",
        "--delete",
        "--as-of",
        "--csv",
        "--python",
        "--platform",
        "--wheel",
        "--keys",
        "--folder",
        "--root-keys",
        "--recovery-keys",
        "--threshold",
        "--passphrase-file",
        "--key",
        "--same-keys",
        "--into",
        "--remove",
        "--cosign",
        "--root",
        # of audits
        "--against",
        "--alpha",
        "--by",
        "--calibration",
        "--beside",
        "--page",
        "--price",
        "--report",
        "--write",
        "--sign",
        "--state",
        "--every",
        "--unsigned",
        "--test",
        "--tokens",
        "--valid-days",
        # of the gateway's accounts
        "--concurrency",
        "--days",
        "--print-env",
        "--until",
        # of trust
        "--accept-revoked",
        "--allow-code",
        "--also",
        "--code",
        "--issuer",
        "--expires",
        "--first-use",
        "--for",
        "--key",
        "--next-of",
        "--no-passphrase",
        "--passphrase-file",
        "--recovery",
        "--ref",
        "--role",
        "--take",
        "--vantage",
        "--who",
    ),
}
"""Options that no other machine can notice."""
RATE: Final = 4_000_000
SIZE: Final = 9 * MIB


def options() -> list[tuple[str, str]]:
    """Every option of every command: the command, and the option as users write it."""
    root = click.Context(program, info_name="outlast", obj=FEATURES)
    return [
        (name, one.opts[0])
        for name, command in all_commands(root)
        for one in command.params
        if isinstance(one, click.Option)
    ]


def test_every_option_is_known() -> None:
    unknown = [one for one in options() if one not in SEEN and one[1] not in LOCAL]
    assert unknown == [], "is it seen on the network? Then it needs a test, and a row in SEEN"
    assert SEEN.keys() <= set(options())


@pytest.mark.parametrize("option", SEEN, ids=" ".join)
def test_its_test_exists(option: tuple[str, str]) -> None:
    path, _, name = SEEN[option].partition("::")
    tree = ast.parse((ROOT / path).read_bytes())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files: dict[str, Any] = {f"{number}.bin": bytes([number]) * (SIZE // 3) for number in range(3)}
    files["large.safetensors"] = bytes(range(256)) * (2 * SIZE // 256)
    HubRepo(tmp_path / "hub", "org/name").commit(files)
    return tmp_path / "hub"


def asking(command: str, tmp_path: Path, globs: str = "") -> list[str]:
    """The words that pull org/name: as a target, or from a list."""
    if command == "pull":
        return ["pull", "org/name", *([f"--include={globs}"] if globs else [])]
    (tmp_path / "models.txt").write_text(f"org/name {f'include={globs}' if globs else ''}\n")
    return [command, "-f", str(tmp_path / "models.txt")]


@pytest.mark.parametrize(("most", "command"), [(1, "pull"), (2, "pull"), (3, "pull"), (2, "sync")])
def test_a_pull_has_no_more_connections_than_allowed(
    root: Path, tmp_path: Path, most: int, command: str
) -> None:
    """Nor fewer, where there is work for them. Metadata counts too."""
    with HubSim(root, mode="thread") as hub:
        hub.set_faults([{"action": "slow", "rate": 24 * MIB, "what": "resolve"}])
        arguments = ("--from", hub.url, "--connections", str(most), "--no-swarm")
        outlast(*asking(command, tmp_path), *arguments, home=tmp_path).ok()
        assert max(one.beside for one in hub.requests()) == most - 1


@pytest.mark.parametrize("command", ["pull", "sync"])
def test_a_pull_is_no_faster_than_its_rate(root: Path, tmp_path: Path, command: str) -> None:
    """A second's worth may come at once. A slow machine only takes longer."""
    with HubSim(root, mode="thread") as hub:
        words = [*asking(command, tmp_path, "*.bin"), "--limit-rate", str(RATE), "--no-swarm"]
        began = time.monotonic()
        outlast(*words, "--from", hub.url, home=tmp_path).ok()
        assert time.monotonic() - began >= (SIZE - RATE) / RATE


def test_a_mirror_fetches_no_faster_than_its_rate(root: Path, tmp_path: Path) -> None:
    size = 2 * SIZE
    with (
        HubSim(root, mode="thread") as hub,
        Node(tmp_path / "home", "--upstream", hub.url, "--limit-rate", str(2 * RATE)) as node,
    ):
        began = time.monotonic()
        reply = once(node.url, "/org/name/resolve/main/large.safetensors")
        assert len(reply.body) == size
        assert time.monotonic() - began >= (size - 2 * RATE) / (2 * RATE)


def test_a_server_listens_where_it_was_told(tmp_path: Path) -> None:
    port = free_port()
    with Node(tmp_path / "home", "--listen", f"127.0.0.1:{port}") as node:
        assert node.url == f"http://127.0.0.1:{port}"
        assert once(node.url, "/healthz").status == 200


def listening(process: int) -> int:
    """The TCP ports that a process listens on."""
    links = []
    for path in Path(f"/proc/{process}/fd").iterdir():
        try:
            links.append(str(path.readlink()))
        except FileNotFoundError:
            continue
    held = {link[8:-1] for link in links if link.startswith("socket:[")}
    count = 0
    for name in ("tcp", "tcp6"):
        rows = Path(f"/proc/{process}/net/{name}").read_text().splitlines()[1:]
        count += sum(row.split()[3] == "0A" and row.split()[9] in held for row in rows)
    return count


def test_a_server_without_the_swarm_has_one_port(tmp_path: Path) -> None:
    """Whatever the environment says."""
    with Node(tmp_path / "home", "--no-swarm", env={"OUTLAST_SWARM": "1"}) as node:
        assert node.process is not None
        assert listening(node.process.pid) == 1


@pytest.mark.parametrize("command", ["pull", "sync"])
def test_a_pull_without_the_swarm_has_no_port(root: Path, tmp_path: Path, command: str) -> None:
    """Whatever the environment says."""
    with HubSim(root, mode="thread") as hub:
        hub.set_faults([{"action": "hold", "what": "resolve"}])
        words = [*asking(command, tmp_path), "--from", hub.url, "--no-swarm"]
        process = start(*words, home=tmp_path, env={"OUTLAST_SWARM": "1"})
        until(lambda: hub.fault_hits()[0][1], "it downloads")
        assert listening(process.pid) == 0
        process.send_signal(signal.SIGINT)
        assert finish(process).code == 130


def test_who_lingers_stays_while_it_is_wanted_and_no_longer() -> None:
    """The node's count of neighbours that want something is the test's own; the rest is real."""
    changed = threading.Condition()
    wanted = SimpleNamespace(awaited=2, changed=changed)
    told: list[int] = []

    def served(count: int) -> None:
        told.append(count)
        wanted.awaited = 0

    hand_on(wanted, Control(), 600, served)  # type: ignore[arg-type]
    assert told == [2]
    wanted.awaited = 1
    began = time.monotonic()
    hand_on(wanted, Control(), 0.5, told.append)  # type: ignore[arg-type]
    assert time.monotonic() - began >= 0.5
    assert told == [2, 1]
    wanted.awaited = 0
    hand_on(wanted, Control(), 600, told.append)  # type: ignore[arg-type]
    assert told == [2, 1]
