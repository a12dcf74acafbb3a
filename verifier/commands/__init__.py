"""One module per command, imported only when that command runs.

A command module has `HELP: str`, `add_arguments(parser) -> None` and `run(arguments) -> int` (the exit
code). `add_arguments` must be cheap: torch, numpy and matplotlib are imported inside `run`.
`verifier.cli.COMMANDS` lists the commands.
"""
