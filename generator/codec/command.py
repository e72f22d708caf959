"""Subcommands `train-codec` and `tokenise`."""

import argparse


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommands of the codec."""
