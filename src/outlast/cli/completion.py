"""``outlast completion``."""

import click
from click.shell_completion import get_completion_class


@click.command(
    epilog="""\b
Examples:
  eval "$(outlast completion bash)"                      in ~/.bashrc
  eval "$(outlast completion zsh)"                       in ~/.zshrc
  outlast completion fish > ~/.config/fish/completions/outlast.fish

\b
Exit status:
  0 done · 2 unknown shell
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL, for commands, options and names of archived models."""
    from outlast.cli.main import outlast  # noqa: PLC0415 - main imports us

    found = get_completion_class(shell)
    if found is not None:
        print(found(outlast, {}, "outlast", "_OUTLAST_COMPLETE").source())
