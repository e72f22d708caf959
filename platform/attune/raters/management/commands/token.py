"""`manage.py token ROLE`: new accounts for scripts, one bearer token a line."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from attune.raters.models import Role
from attune.raters.services import create_api_token, create_member, create_rater


class Command(BaseCommand):
    """Prints nothing but tokens, so that a script can read them."""

    help = "Make new accounts in a role and print one API token a line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", choices=Role.values)
        parser.add_argument(
            "--simulated", action="store_true", help="raters of a rehearsal, never of people"
        )
        parser.add_argument("--count", type=int, default=1, help="how many accounts (1)")

    def handle(self, *args: Any, **options: Any) -> None:
        role, is_simulated, n_accounts = options["role"], options["simulated"], options["count"]
        if is_simulated and role != Role.RATER:
            raise CommandError(f"--simulated goes with the role rater, not with {role}")
        if n_accounts < 1:
            raise CommandError(f"--count {n_accounts}: expected at least 1")
        for _ in range(n_accounts):
            if role == Role.RATER:
                user = create_rater(is_simulated=is_simulated).user
            else:
                user = create_member(role=role)
            self.stdout.write(create_api_token(user=user))
