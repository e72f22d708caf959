"""`manage.py consent NAME FILE`: a new version of a consent text."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from attune.raters.errors import ConsentError
from attune.ratings.arrival_services import replace_consent_text
from attune.ratings.models import Study


class Command(BaseCommand):
    """Versions are never changed: the same words make none, other words make the next one."""

    help = (
        "Store a text (first line: its title) as the next version of NAME. Studies that ask for "
        "an older version ask for this one from now on, and their raters agree anew."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="short name, such as listening")
        parser.add_argument("file", type=Path, help="plain text; empty lines part paragraphs")
        parser.add_argument("--language", default="en", help="language of the text (en)")
        parser.add_argument("--study", help="ask for it in this study, by slug")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            title, _, text = options["file"].read_text(encoding="utf-8").strip().partition("\n")
            written, n_studies = replace_consent_text(
                name=options["name"], title=title, text=text, language=options["language"]
            )
        except (OSError, UnicodeDecodeError, ConsentError) as exc:
            raise CommandError(str(exc)) from exc
        if options["study"]:
            n_found = Study.objects.filter(slug=options["study"]).update(consent=written)
            if not n_found:
                raise CommandError(f"no study {options['study']!r}")
            n_studies += n_found
        self.stdout.write(f"{written} ({written.text_sha256[:12]}), asked by {n_studies} studies")
