"""`manage.py catalog add SOURCE` and `manage.py catalog list`: checkpoints from a terminal."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from attune.catalog.adoption import adopt_checkpoint
from attune.catalog.errors import CatalogError
from attune.catalog.models import Checkpoint
from attune.catalog.selectors import checkpoints, rotation_shares


class Command(BaseCommand):
    """Adding is safe to repeat; a checkpoint enters rotation by another decision."""

    help = "Add a checkpoint from the Hugging Face hub or a folder, or list those there are."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser(
            "add", help="verify and register hub:facebook/musicgen-small or a checkpoint folder"
        )
        add.add_argument("source", metavar="hub:OWNER/NAME|FOLDER")
        add.add_argument("--name", help="the source's own unless given")
        actions.add_parser("list", help="one checkpoint a line, the oldest first")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self.list_checkpoints()
        else:
            self.add(options["source"], options["name"])

    def add(self, source: str, name: str | None) -> None:
        """Register a checkpoint and say what comes next."""
        try:
            checkpoint = adopt_checkpoint(source=source, name=name, echo=self.echo)
        except CatalogError as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(
            f"checkpoint {checkpoint.name!r} ({checkpoint.family}) is registered; the console's "
            "rotation page lets it make clips"
        )

    def echo(self, part: bytes) -> None:
        """Pass on what the download and the check say."""
        self.stderr.write(part.decode(errors="replace"), ending="")

    def list_checkpoints(self) -> None:
        """Print a line of tab-separated fields for each checkpoint."""
        shares = rotation_shares()
        self.stdout.write("name\tkind\tfamily\tparent\trotation\thash")
        for checkpoint in checkpoints():
            self.stdout.write("\t".join(_fields(checkpoint, shares.get(checkpoint.pk, []))))


def _fields(checkpoint: Checkpoint, shares: list[str]) -> list[str]:
    """What a line of the list holds; a dash where there is nothing."""
    return [
        checkpoint.name,
        checkpoint.kind,
        checkpoint.family,
        checkpoint.parent.name if checkpoint.parent else "-",
        "retired" if checkpoint.is_retired else ", ".join(shares) or "-",
        checkpoint.content_hash[:12],
    ]
