"""The `outlast` command. Commands are imported when they are called, so that help is quick."""

import atexit
import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from outlast import __version__
from outlast.cli.feature import Command, Listed, commands, load
from outlast.cli.options.debug import debug_option
from outlast.core.errors import Cancelled, OutlastError, UsageError

COMMANDS: dict[str, Command] = {
    "pull": Command(
        "outlast.cli.pull:pull", "Archive a model from a hub, a mirror or other nodes."
    ),
    "sync": Command(
        "outlast.cli.lists.sync:sync", "Archive what a keep-list names; say what else is here."
    ),
    "add": Command("outlast.cli.add:add", "Archive a local folder or file."),
    "adopt": Command("outlast.cli.add:adopt", "Import a Hugging Face cache into the archive."),
    "ls": Command("outlast.cli.revisions.ls:ls", "List archived revisions."),
    "show": Command("outlast.cli.revisions.show:show", "Show one revision: files, sizes, digests."),
    "verify": Command(
        "outlast.cli.revisions.verify:verify", "Re-hash archived files and report damage."
    ),
    "copy": Command(
        "outlast.cli.second_home.copy:copy", "Copy archived revisions to a bucket or a folder."
    ),
    "pack": Command("outlast.cli.pack:pack", "Compress archived files losslessly."),
    "unpack": Command("outlast.cli.pack:unpack", "Turn capsules back into plain files."),
    "rm": Command("outlast.cli.remove:rm", "Remove a model, a revision or a ref."),
    "gc": Command("outlast.cli.remove:gc", "Delete bytes that no revision needs."),
    "link": Command(
        "outlast.cli.link:link", "Expose a revision as a HF cache or folder (hard links)."
    ),
    "quarantine": Command(
        "outlast.cli.quarantine:quarantine",
        "Show which files no program gets (pickles); allow some.",
    ),
    "search": Command("outlast.cli.search:search", "Find models on other nodes of the network."),
    "locate": Command(
        "outlast.cli.locate:find_holders", "Show who has which files of a model now."
    ),
    "share": Command("outlast.cli.share:share", "Print a magnet link and write torrent files."),
    "serve": Command(
        "outlast.cli.serve:serve", "Serve the archive as a hub or as a mirror that checks files."
    ),
    "service": Command(
        "outlast.cli.service.command:service", "Run serve, or sync, as a service of systemd."
    ),
    "status": Command(
        "outlast.cli.status:status", "Show what running nodes do: transfers, peers, rates."
    ),
    "run": Command("outlast.cli.run:run", "Chat with a model, or serve it as an OpenAI-style API."),
    "accept": Command(
        "outlast.cli.accept:accept", "Let run use models by your word, or list those."
    ),
    "config": Command(
        "outlast.cli.config.command:config", "Show the settings, or write a configuration file."
    ),
    "doctor": Command(
        "outlast.cli.doctor:doctor",
        "Find problems of this machine or archive, with a fix for each.",
    ),
    "guide": Command("outlast.cli.guide:guide", "Print a guide, or list the topics."),
    "completion": Command("outlast.cli.completion:completion", "Print a shell completion script."),
}

_BROKEN_PIPE = 141
_SHOWN = 200
_COLLECT_AFTER = 10_000
"""New objects until the interpreter looks for garbage among them (its own default is 700)."""
_EPILOG = """\b
Examples:
  outlast pull Qwen/Qwen3-0.6B             archive a model from the hub
  outlast serve                            serve it; clients: HF_ENDPOINT=http://127.0.0.1:8090
  outlast run Qwen/Qwen3-0.6B-GGUF "Hi!"   run it
  outlast pull Qwen/Qwen3-0.6B --debug     say why each decision is made
  OUTLAST_LOG=p2p=debug,fetch=info outlast serve    only for the p2p and fetch parts

\b
Exit status:
  0 done · 1 failed · 2 usage · 3 not found · 4 integrity · 5 transient (run again)
  7 policy · 8 storage · 9 engine · 130 interrupted; 6 is not used
"""


class Lazy(click.Group):
    """A group whose commands live in modules of their own, or of features (`Context.obj`)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_commands(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = _commands(ctx).get(cmd_name)
        if found is None:
            return None
        command: click.Command = load(found.target)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            raise UsageError(f"No such command {name[:_SHOWN]!r}.", hint=_nearest(name, known))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if error.hint == UsageError.default_hint and ctx.invoked_subcommand:
                error.hint = f"see '{ctx.command_path} {ctx.invoked_subcommand} --help'"
            raise
        except BrokenPipeError:  # before click makes an exit status of 1 of it
            _leave_broken_pipe()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, found.text) for name, found in _commands(ctx).items()])


def _nearest(name: str, known: Sequence[str]) -> str:
    """A hint to the command that was meant; empty where none looks like it."""
    import difflib  # noqa: PLC0415 - help does without

    near = difflib.get_close_matches(name[:_SHOWN], known, 1)
    return f"did you mean 'outlast {near[0]}'?" if near else ""


def _commands(ctx: click.Context) -> dict[str, Command]:
    """Those of the core, then those of the features; the core's cannot be replaced."""
    return COMMANDS | {
        name: found for name, found in commands(ctx.obj or ()).items() if name not in COMMANDS
    }


@click.group(
    cls=Lazy,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="outlast")
@debug_option
def outlast() -> None:
    """Keep open-weight AI models available, verified and runnable, even after a hub drops them."""


def _leave_broken_pipe() -> NoReturn:
    """Who read our output has gone: ends as a program does that SIGPIPE kills."""
    _drop_output()
    sys.exit(_BROKEN_PIPE)


def _drop_output() -> None:
    """What is still buffered has nowhere to go; the interpreter would try to the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the caller closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open to the end
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            # A name that the terminal's encoding lacks is shown by its number, and is no error.
            stream.reconfigure(errors="backslashreplace")


def _collect_seldom() -> None:
    """Modules make many objects that stay to the end: to look through them for garbage while they
    are loaded, and once more at the end, takes a fifth of the time of a short command.
    """
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)


def _report(error: OutlastError) -> int:
    """Prints an expected error in one line; returns the exit status."""
    hint = f" (hint: {error.hint})" if error.hint else ""
    sys.stderr.write(f"outlast: error[{error.code}]: {error}{hint}\n")
    if "--json" in sys.argv:
        from outlast.cli.documents.errors import ErrorDocument  # noqa: PLC0415 - help does without
        from outlast.cli.screen.render import print_document  # noqa: PLC0415

        print_document(ErrorDocument(code=error.code, message=str(error), hint=error.hint))
    return error.exit_code


def _usage_error(error: click.ClickException) -> UsageError:
    """An error of the argument parser, in our words."""
    ctx = getattr(error, "ctx", None)
    hint = f"see '{ctx.command_path} --help'" if ctx is not None else ""
    message = error.format_message().replace("\n\t", " ")  # it lists choices in lines of their own
    return UsageError(message, hint=hint)


def main(arguments: list[str] | None = None, features: Sequence[Listed] = ()) -> NoReturn:
    """Entry point: maps every expected error to one line and an exit status, once."""
    _collect_seldom()
    _open_streams()
    try:
        result = outlast.main(
            arguments, prog_name="outlast", standalone_mode=False, obj=tuple(features)
        )
        sys.stdout.flush()
    except OutlastError as error:
        sys.exit(_report(error))
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        sys.exit(UsageError.exit_code)
    except click.ClickException as error:
        sys.exit(_report(_usage_error(error)))
    except (click.Abort, KeyboardInterrupt):
        # No session ran yet, or any more: those say it themselves.
        sys.exit(_report(Cancelled("interrupted", hint="run the same command again")))
    except BrokenPipeError:
        _leave_broken_pipe()
    except OSError as error:  # as of a full disk that our output goes to
        from outlast.store.disk import storage_error  # noqa: PLC0415 - help does without

        status = _report(storage_error(error, "the output"))
        _drop_output()
        sys.exit(status)
    sys.exit(result if isinstance(result, int) else 0)
