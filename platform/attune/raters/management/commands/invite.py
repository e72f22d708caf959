"""`manage.py invite ROLE ...`: links that each let one person in, once."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from attune.raters.models import Role
from attune.raters.services import create_invitation

LIFETIME_DAYS = 7


class Command(BaseCommand):
    """Prints nothing but the links, one a line in the order of the roles."""

    help = "Print a single-use link for each role named; it makes an account in that role."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("roles", metavar="ROLE", nargs="+", choices=Role.values)
        parser.add_argument("--base-url", default="", help="site address to put before the path")
        parser.add_argument(
            "--days", type=float, default=LIFETIME_DAYS, help=f"lifetime ({LIFETIME_DAYS})"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["days"] <= 0:
            raise CommandError(f"--days {options['days']:g}: expected more than 0")
        lifetime = timedelta(days=options["days"])
        for role in options["roles"]:
            _, token = create_invitation(role=role, lifetime=lifetime, now=timezone.now())
            self.stdout.write(f"{options['base_url'].rstrip('/')}/join/{token}")
