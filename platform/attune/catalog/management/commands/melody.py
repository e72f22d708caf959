"""`manage.py melody add FILE` and `manage.py melody list`: recordings whose tunes clips follow."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from attune.catalog.errors import CatalogError
from attune.catalog.melody_selectors import melodies
from attune.catalog.melody_services import add_melody


class Command(BaseCommand):
    """Adding is safe to repeat: the same content is one recording."""

    help = "Add a reference recording whose tune clips follow, or list those there are."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="check and store a WAV, FLAC, OGG or MP3 file")
        add.add_argument("file", type=Path, metavar="FILE")
        add.add_argument("--name", default="", help="the file's own unless given")
        actions.add_parser("list", help="one recording a line, the newest first")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self.list_melodies()
        else:
            self.add(options["file"], options["name"])

    def add(self, file: Path, name: str) -> None:
        """Store a recording and say how to use it."""
        try:
            with file.open("rb") as stream:
                melody, is_new = add_melody(
                    file=stream, n_bytes=file.stat().st_size, name=name, file_name=file.name
                )
        except OSError as exc:
            raise CommandError(f"{file} cannot be read: {exc.strerror}") from exc
        except CatalogError as exc:
            raise CommandError(f"{file}: {exc}") from exc
        told = "is stored" if is_new else "was stored before"
        self.stdout.write(
            f"recording {melody.name!r} ({melody.get_format_display()}, "
            f"{melody.duration_s:.1f} s) {told}; prompts name it on the console's prompts page"
        )

    def list_melodies(self) -> None:
        """Print a line of tab-separated fields for each recording."""
        self.stdout.write("name\tformat\tduration_s\tsample_rate_hz\tprompts\thash")
        for melody in melodies():
            fields = (
                *(melody.name, melody.format, f"{melody.duration_s:.1f}", melody.sample_rate_hz),
                melody.n_prompts,  # type: ignore[attr-defined]
                melody.sha256[:12],
            )
            self.stdout.write("\t".join(map(str, fields)))
