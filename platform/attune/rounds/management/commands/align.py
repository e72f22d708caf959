"""`manage.py align`: starts a round as the site does, and may wait for its end."""

import time
from collections.abc import Iterator
from typing import Any, assert_never

from django.core.management.base import BaseCommand, CommandError, CommandParser

from attune.catalog.models import Checkpoint
from attune.ratings.models import Study
from attune.rounds.config import parse_config
from attune.rounds.errors import RoundError
from attune.rounds.models import Round, RoundMethod, RoundMetric, RoundState, Verdict
from attune.rounds.selectors import find_default_base, has_entered_rotation
from attune.rounds.services import create_round

REFUSED, FAILED, CANCELLED, STAYED_OUT, INTERRUPTED = 1, 3, 4, 5, 130
POLL_S = 1.0
REMIND_S = 30.0


class Command(BaseCommand):
    """Starts a round; with --wait the exit code is the outcome.

    0 started, or with --wait: the checkpoint entered rotation. 1 refused, 3 failed,
    4 cancelled, 5 the gate kept the checkpoint out, 130 the waiting was interrupted.
    """

    help = "Align a checkpoint to the ratings of a study."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", required=True, metavar="SLUG")
        parser.add_argument(
            "--base",
            metavar="NAME",
            help="The checkpoint to start from; by default the one in rotation with the most "
            "usable preferences.",
        )
        parser.add_argument("--method", default=RoundMethod.DPO, choices=RoundMethod.values)
        parser.add_argument("--name", help="The round's and the new checkpoint's name.")
        parser.add_argument(
            "--set",
            dest="settings_given",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="A setting of the training; may be repeated.",
        )
        parser.add_argument("--wait", action="store_true", help="Show progress until it ends.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            round = self._start(options)
        except RoundError as exc:
            raise CommandError(f"refused: {exc}", returncode=REFUSED) from exc
        counts = round.counts
        self.stdout.write(
            f"round {round.name}: {counts['train']} preferences to train on, "
            f"{counts['held_out']} held out, base {round.base_checkpoint.name}, "
            f"dataset {round.dataset_sha256[:12]}"
        )
        if not options["wait"]:
            return
        try:
            for line in follow(round):
                self.stdout.write(line)
                self.stdout.flush()
        except KeyboardInterrupt:
            raise CommandError(
                f"no longer waiting; round {round.name} goes on and can be cancelled on its page",
                returncode=INTERRUPTED,
            ) from None
        self._report(round)

    def _start(self, options: dict[str, Any]) -> Round:
        study = Study.objects.filter(slug=options["study"]).first()
        if study is None:
            known = ", ".join(Study.objects.order_by("slug").values_list("slug", flat=True))
            raise CommandError(f"no study {options['study']!r}; there are: {known or 'none'}")
        base = self._find_base(study, options["base"])
        return create_round(
            study=study,
            base_checkpoint=base,
            method=options["method"],
            config=parse_config(options["settings_given"]),
            name=options["name"],
        )

    def _find_base(self, study: Study, name: str | None) -> Checkpoint:
        if name is None:
            base = find_default_base(study)
            if base is None:
                raise CommandError(f"no checkpoint is in the rotation for {study.population}")
            return base
        found = Checkpoint.objects.filter(name=name).first()
        if found is None:
            known = ", ".join(Checkpoint.objects.order_by("name").values_list("name", flat=True))
            raise CommandError(f"no checkpoint {name!r}; there are: {known or 'none'}")
        return found

    def _report(self, round: Round) -> None:
        """Writes how the round ended and raises for every end but a place in rotation."""
        round.refresh_from_db()
        if round.produced_checkpoint is not None:
            self.stdout.write(f"checkpoint {round.produced_checkpoint.name}")
        for evaluation in round.evaluations.order_by("pk"):
            is_passed = evaluation.verdict == Verdict.PASSED
            word = "passed" if is_passed else evaluation.get_verdict_display().upper()
            self.stdout.write(f"  {word}  {evaluation.check_name}: {evaluation.sentence}")
        state = RoundState(round.state)
        match state:
            case RoundState.DONE if has_entered_rotation(round):
                self.stdout.write(self.style.SUCCESS(round.outcome))
            case RoundState.DONE:
                raise CommandError(round.outcome, returncode=STAYED_OUT)
            case RoundState.CANCELLED:
                raise CommandError(round.outcome, returncode=CANCELLED)
            case RoundState.FAILED:
                raise CommandError(f"round failed: {round.error}", returncode=FAILED)
            case RoundState.FROZEN | RoundState.TRAINING | RoundState.EVALUATING:
                raise AssertionError(f"round {round.name} is {state} after its end")
            case _:
                assert_never(state)


def follow(round: Round, *, poll_s: float = POLL_S) -> Iterator[str]:
    """A line per change of state and per logged step, until the round has ended."""
    shown: dict[int, Any] = {}
    state, quiet_since = "", time.monotonic()
    while True:
        round.refresh_from_db()
        lines = []
        if round.state != state:
            state = round.state
            lines.append(describe_state(RoundState(state)))
        # A later line may add values to a step that was shown already.
        for metric in round.metrics.order_by("step"):
            if shown.get(metric.step) != metric.values:
                shown[metric.step] = metric.values
                lines.append(describe_metric(metric))
        if lines:
            yield from lines
            quiet_since = time.monotonic()
        elif state == RoundState.FROZEN and time.monotonic() - quiet_since > REMIND_S:
            yield "still waiting for a worker; is one running?"
            quiet_since = time.monotonic()
        if state not in (RoundState.FROZEN, RoundState.TRAINING, RoundState.EVALUATING):
            return
        time.sleep(poll_s)


def describe_state(state: RoundState) -> str:
    """What the round is doing, for people."""
    match state:
        case RoundState.FROZEN:
            return "waiting for a worker"
        case RoundState.TRAINING:
            return "training"
        case RoundState.EVALUATING:
            return "trained; the gate is measuring"
        case RoundState.DONE | RoundState.FAILED | RoundState.CANCELLED:
            return f"round {state.label}"
        case _:
            assert_never(state)


def describe_metric(metric: RoundMetric) -> str:
    """`step 12/60  loss 0.6521  margin 0.0012  accuracy 0.5625`, with what was logged."""
    words = [f"step {metric.step}/{metric.n_steps}"]
    for name in ("loss", "margin", "accuracy", "held_out_accuracy", "held_out_chosen_nll"):
        value = metric.values.get(name)
        if value is not None:
            words.append(f"{name.replace('_', '-')} {value:.4g}")
    eta_s = metric.values.get("eta_s")
    if eta_s is not None:
        words.append(f"about {eta_s:.0f} s left")
    return "  ".join(words)
