"""Fills the tallies from the answers there are, and leaves rehearsals as they were asked."""

from collections import Counter, defaultdict

from django.db import migrations
from django.db.models import Count


def fill(apps, _):
    """Simulated raters know one taste and no damage: their studies check nobody."""
    study = apps.get_model("ratings", "Study")
    rating = apps.get_model("ratings", "Rating")
    tally = apps.get_model("ratings", "OpponentTally")
    study.objects.filter(population="rehearsal").update(gold_share=0.0, repeat_share=0.0)
    counts = defaultdict(Counter)
    rows = (
        rating.objects.filter(pair__purpose="judging", assignment__is_repeat=False)
        .values_list(
            "pair__study__population",
            "pair__first_checkpoint_id",
            "pair__second_checkpoint_id",
            "assignment__is_swapped",
            "choice",
        )
        .annotate(n=Count("pk"))
        .order_by()
    )
    for population, first, second, is_swapped, choice, n in rows:
        if first == second or choice == "BOTH_BAD":
            continue
        key = (population, min(first, second), max(first, second))
        if choice == "TIE":
            counts[key]["n_ties"] += n
            continue
        is_of_first = (choice == "A") != is_swapped
        counts[key]["n_first" if is_of_first == (first < second) else "n_second"] += n
    tally.objects.bulk_create(
        tally(
            population=population,
            first_checkpoint_id=first,
            second_checkpoint_id=second,
            **counted,
        )
        for (population, first, second), counted in counts.items()
    )


class Migration(migrations.Migration):
    dependencies = [("ratings", "0004_trust")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
