"""`manage.py revoke`: ends API tokens, read from standard input, one a line."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from attune.raters.selectors import find_user_by_api_token
from attune.raters.services import revoke_api_tokens


class Command(BaseCommand):
    """Tokens come by standard input, since arguments are seen by every user of a machine."""

    help = "End the API tokens given on standard input, one a line."

    def handle(self, *args: Any, **options: Any) -> None:
        tokens = sys.stdin.read().split()
        if not tokens:
            raise CommandError("no token on standard input: give one a line")
        n_ended = 0
        for token in tokens:
            user = find_user_by_api_token(token)
            if user is not None:
                n_ended += revoke_api_tokens(user=user, now=timezone.now())
        self.stdout.write(f"{n_ended} of {len(tokens)} tokens ended")
