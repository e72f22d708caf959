"""`manage.py invite ROLE ...`: links that let people in, each once unless it is open."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from attune.raters.errors import RaterError
from attune.raters.models import Role
from attune.raters.services import create_invitation

LIFETIME_DAYS = 7


class Command(BaseCommand):
    """Prints nothing but the links, one a line in the order of the roles."""

    help = (
        "Print a link for each role named; it makes an account in that role, once. "
        "With --open one link lets in any number of raters."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("roles", metavar="ROLE", nargs="+", choices=Role.values)
        parser.add_argument("--base-url", default="", help="site address to put before the path")
        parser.add_argument(
            "--days", type=float, default=LIFETIME_DAYS, help=f"lifetime ({LIFETIME_DAYS})"
        )
        parser.add_argument("--count", type=int, default=1, help="how many for each role (1)")
        parser.add_argument("--label", default="", help="a note for the console's list")
        parser.add_argument("--open", action="store_true", help="let in more than one rater")
        parser.add_argument("--places", type=int, help="how many an open link lets in (any number)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["days"] <= 0:
            raise CommandError(f"--days {options['days']:g}: expected more than 0")
        if options["count"] < 1:
            raise CommandError(f"--count {options['count']}: expected at least 1")
        lifetime = timedelta(days=options["days"])
        for role in options["roles"]:
            for _ in range(options["count"]):
                try:
                    _invitation, token = create_invitation(
                        role=role,
                        lifetime=lifetime,
                        now=timezone.now(),
                        label=options["label"],
                        is_open=options["open"],
                        places=options["places"],
                    )
                except RaterError as exc:
                    raise CommandError(str(exc)) from exc
                self.stdout.write(f"{options['base_url'].rstrip('/')}/join/{token}")
