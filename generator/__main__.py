"""Command line of the generator: one subcommand per step of the recipe."""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from generator.errors import GeneratorError

# Every module named here has `add_commands(subparsers)`; each subcommand sets `run`.
COMMAND_MODULES = (
    "generator.corpus.command",
    "generator.codec.command",
    "generator.codec.coding",
    "generator.text.command",
    "generator.lm.command",
    "generator.lm.comparison_command",
    "generator.representation.command",
    "generator.command",
    "generator.musicgen.command",
    "generator.evaluation",
    "generator.seams",
    "generator.bench.command",
)


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser with the subcommands of every command module."""
    parser = argparse.ArgumentParser(prog="python -m generator", description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name in COMMAND_MODULES:
        import_module(name).add_commands(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    parsed = build_parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except (GeneratorError, OSError) as exc:
        print(f"error: {' '.join(str(exc).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
