"""`manage.py rounds ...`: everything about rounds that the site shows and does, in a terminal."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from attune.catalog.models import Checkpoint
from attune.catalog.selectors import find_checkpoint
from attune.ratings.models import Study
from attune.rounds.choices import RoundMethod
from attune.rounds.comparison import Row, compare_rounds, lineage
from attune.rounds.config import parse_config
from attune.rounds.errors import RoundError
from attune.rounds.evidence import RoundFilter
from attune.rounds.exports import ExportFormat, describe_dataset, export_dataset, export_file_name
from attune.rounds.management.commands.align import describe_metric
from attune.rounds.models import RaterGroup, Round, RoundSchedule
from attune.rounds.plans import Plan
from attune.rounds.preflight import Preflight, examine_plan
from attune.rounds.resuming import get_resumption
from attune.rounds.run_files import log_tail
from attune.rounds.schedule import get_due, set_schedule
from attune.rounds.selectors import find_default_base, get_round_detail, latest_metrics
from attune.rounds.selectors import rounds as all_rounds
from attune.rounds.services import cancel_round, create_mix, create_round, resume_round

REFUSED = 1
SHOWN_ROUNDS = 30


class Command(BaseCommand):
    """Reading changes nothing. `start` returns at once; `align --wait` follows a round to its end.

    Exit code 1: what was asked for was refused, and standard error says why.
    """

    help = "List, show, examine, start, cancel, resume, export, compare, mix and schedule rounds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="one round a line, the newest first")
        listing.add_argument("--study", metavar="SLUG")
        listing.add_argument("--limit", type=int, default=SHOWN_ROUNDS)
        show = actions.add_parser("show", help="a round with its figures, gate and log")
        show.add_argument("round", metavar="NAME")
        preflight = actions.add_parser("preflight", help="what a round would use and cost")
        start = actions.add_parser("start", help="freeze and queue a round")
        for planned in (preflight, start):
            _add_plan_arguments(planned)
        start.add_argument("--name", help="The round's and the new checkpoint's name.")
        cancel = actions.add_parser("cancel", help="stop a round; what it saved stays")
        cancel.add_argument("round", metavar="NAME")
        resume = actions.add_parser(
            "resume", help="let a cancelled or failed round go on from its last save"
        )
        resume.add_argument("round", metavar="NAME")
        export = actions.add_parser("export", help="write a round's frozen dataset to a file")
        export.add_argument("round", metavar="NAME")
        export.add_argument(
            "--format", choices=[format.value for format in ExportFormat], default="jsonl"
        )
        export.add_argument("--out", type=Path, metavar="FILE", help="by default a file here")
        compare = actions.add_parser("compare", help="two to eight rounds side by side")
        compare.add_argument("rounds", nargs="+", metavar="NAME")
        compare.add_argument("--all", action="store_true", help="equal settings too")
        actions.add_parser("lineage", help="where every checkpoint came from")
        mix = actions.add_parser("mix", help="interpolate adapters of one base")
        mix.add_argument("--study", required=True, metavar="SLUG")
        mix.add_argument("--name")
        mix.add_argument("parts", nargs="+", metavar="CHECKPOINT=WEIGHT")
        schedule = actions.add_parser("schedule", help="start rounds by themselves, or not")
        schedule.add_argument("--study", required=True, metavar="SLUG")
        schedule.add_argument("--every", type=int, metavar="N", help="new preferences a round")
        schedule.add_argument("--off", action="store_true")
        schedule.add_argument("--method", default=RoundMethod.DPO.value)
        schedule.add_argument(
            "--set", dest="settings_given", action="append", default=[], metavar="KEY=VALUE"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for line in getattr(self, f"do_{options['action']}")(options):
                self.stdout.write(line)
        except RoundError as exc:
            raise CommandError(f"refused: {exc}", returncode=REFUSED) from exc

    def do_list(self, options: dict[str, Any]) -> Iterable[str]:
        """One round a line."""
        study = get_study(options["study"]) if options["study"] else None
        page = list(all_rounds(study=study)[: options["limit"]])
        latest = latest_metrics(page)
        yield "name\tmethod\tstate\tstudy\tbase\tcheckpoint\ttrain\tstep"
        for round in page:
            metric = latest.get(round.pk)
            produced = round.produced_checkpoint.name if round.produced_checkpoint else "-"
            step = f"{metric.step}/{metric.n_steps}" if metric else "-"
            fields = (round.name, round.method, round.state, round.study.slug)
            rest = (round.base_checkpoint.name, produced, round.counts.get("train", "-"), step)
            yield "\t".join(map(str, (*fields, *rest)))

    def do_show(self, options: dict[str, Any]) -> Iterable[str]:
        """A round with all that is known of it."""
        round = get_round(options["round"])
        detail = get_round_detail(round)
        yield f"round {round.name}: {round.get_method_display()}, {round.get_state_display()}"
        for name, value in describe_dataset(round).items():
            yield f"  {name}: {_told(value)}"
        yield f"  config: {_told(round.config)}"
        by = round.created_by.get_username() if round.created_by else "the site or a terminal"
        yield f"  started by: {by}{'; ' if round.started_because else ''}{round.started_because}"
        if round.device:
            yield f"  device: {round.device}"
        if detail.peak_memory_mb is not None:
            yield f"  most memory: {detail.peak_memory_mb:.0f} MB"
        if detail.latest_metric is not None:
            yield f"  {describe_metric(detail.latest_metric)}"
        yield f"  samples: {len(detail.samples)}"
        for evaluation in detail.evaluations:
            yield f"  {evaluation.verdict}  {evaluation.check_name}: {evaluation.sentence}"
        if round.outcome:
            yield f"  {round.outcome}"
        error = round.error or (round.job.error if round.job else "")
        if error:
            yield f"  error: {error}"
        for event in detail.events:
            yield f"  {event.happened_at:%Y-%m-%d %H:%M}  {event.kind}: {event.sentence}"
        if (found := get_resumption(round)).point is not None:
            yield f"  can be resumed: {found.refusal or found.point.sentence}"
        if tail := log_tail(round):
            yield tail

    def do_preflight(self, options: dict[str, Any]) -> Iterable[str]:
        """What a round would use, what it would cost and what is against it."""
        found = examine_plan(get_plan(options))
        yield from describe_preflight(found)
        if not found.can_start:
            raise RoundError("; ".join(found.refusals))

    def do_start(self, options: dict[str, Any]) -> Iterable[str]:
        """Freezes and queues a round."""
        plan = get_plan(options)
        round = create_round(
            study=plan.study,
            base_checkpoint=plan.base_checkpoint,
            method=plan.method,
            config=plan.config,
            name=options["name"],
            filter=plan.filter,
            reward_model=plan.reward_model,
            judge_model=plan.judge_model,
            started_because="manage.py rounds start",
        )
        yield (
            f"round {round.name}: {round.counts['train']} preferences to train on, "
            f"{round.counts['held_out']} held out, base {round.base_checkpoint.name}, "
            f"dataset {round.dataset_sha256[:12]}"
        )

    def do_cancel(self, options: dict[str, Any]) -> Iterable[str]:
        """Stops a round."""
        round = cancel_round(round=get_round(options["round"]), actor=None)
        yield f"round {round.name} is {round.get_state_display()}; what it saved stays"

    def do_resume(self, options: dict[str, Any]) -> Iterable[str]:
        """Queues an ended round again."""
        round = resume_round(round=get_round(options["round"]), actor=None)
        yield f"round {round.name}: {round.events.latest('pk').sentence}"

    def do_export(self, options: dict[str, Any]) -> Iterable[str]:
        """Writes a dataset; `--out -` sends its bytes to standard output."""
        round = get_round(options["round"])
        format = ExportFormat(options["format"])
        content = export_dataset(round, format)
        out = options["out"] or Path(export_file_name(round, format))
        if str(out) == "-":
            sys.stdout.buffer.write(content)
            return
        out.write_bytes(content)
        yield f"{out}: {len(content)} bytes, dataset {round.dataset_sha256}"

    def do_compare(self, options: dict[str, Any]) -> Iterable[str]:
        """Rounds side by side."""
        found = compare_rounds([get_round(name).pk for name in options["rounds"]])
        yield "\t".join(("", *(round.name for round in found.rounds)))
        settings = found.settings if options["all"] else found.different_settings
        for row in (*settings, *found.figures, *found.checks):
            yield _row_line(row)

    def do_lineage(self, options: dict[str, Any]) -> Iterable[str]:
        """A checkpoint a line, with what it came from."""
        found = lineage()
        names = {node.id: node.name for node in found.nodes}
        for node in found.nodes:
            sources = [
                f"{edge.kind} {names[edge.source]}"
                + (f" x {edge.weight:g}" if edge.weight is not None else "")
                for edge in found.edges
                if edge.target == node.id
            ]
            told = ", ".join((*sources, *node.roles)) or "-"
            yield f"{'  ' * node.depth}{node.name}\t{node.method or node.kind}\t{told}"

    def do_mix(self, options: dict[str, Any]) -> Iterable[str]:
        """Queues a mix of adapters."""
        parts = []
        for word in options["parts"]:
            name, _, text = word.rpartition("=")
            try:
                weight = float(text)
            except ValueError as exc:
                raise CommandError(f"expected CHECKPOINT=WEIGHT, got {word!r}") from exc
            parts.append((get_checkpoint(name), weight))
        round = create_mix(study=get_study(options["study"]), parts=parts, name=options["name"])
        yield f"round {round.name}: a mix of {len(parts)} adapters of {round.base_checkpoint.name}"

    def do_schedule(self, options: dict[str, Any]) -> Iterable[str]:
        """Sets a schedule, or tells the one there is."""
        study = get_study(options["study"])
        schedule = RoundSchedule.objects.filter(study=study).select_related("study").first()
        if options["off"] and schedule is not None:
            schedule = set_schedule(
                study=study,
                is_on=False,
                every_n_preferences=schedule.every_n_preferences,
                method=schedule.method,
                config=schedule.config,
            )
        elif options["every"] is not None:
            method = get_method(options["method"])
            schedule = set_schedule(
                study=study,
                is_on=True,
                every_n_preferences=options["every"],
                method=method,
                config=parse_config(options["settings_given"], method),
            )
        if schedule is None:
            yield f"study {study.slug} has no schedule"
            return
        due = get_due(schedule)
        base = due.base_checkpoint.name if due.base_checkpoint else "no checkpoint"
        yield (
            f"study {study.slug}: {'on' if schedule.is_on else 'off'}, a {schedule.method} round "
            f"every {schedule.every_n_preferences} preferences; {due.n_new} new on {base}"
        )
        if schedule.last_refusal:
            yield f"  last refusal: {schedule.last_refusal}"


def _add_plan_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--study", required=True, metavar="SLUG")
    parser.add_argument("--base", metavar="CHECKPOINT")
    parser.add_argument(
        "--method",
        default=RoundMethod.DPO.value,
        choices=[m.value for m in RoundMethod if m is not RoundMethod.MIX],
    )
    parser.add_argument("--group", metavar="NAME", help="Learn from these raters alone.")
    parser.add_argument(
        "--tag", dest="tags", action="append", default=[], help="Prompts with one of these tags."
    )
    parser.add_argument("--reward-model", metavar="CHECKPOINT")
    parser.add_argument("--judge-model", metavar="CHECKPOINT")
    parser.add_argument(
        "--set", dest="settings_given", action="append", default=[], metavar="KEY=VALUE"
    )


def get_plan(options: dict[str, Any]) -> Plan:
    """The round that a command line describes."""
    study = get_study(options["study"])
    base = get_checkpoint(options["base"]) if options["base"] else find_default_base(study)
    if base is None:
        raise CommandError(f"no checkpoint is in the rotation for {study.population}")
    group = None
    if options["group"]:
        group = RaterGroup.objects.filter(name=options["group"]).first()
        if group is None:
            known = ", ".join(RaterGroup.objects.order_by("name").values_list("name", flat=True))
            raise CommandError(f"no rater group {options['group']!r}; there are: {known or 'none'}")
    method = get_method(options["method"])
    reward, judge = options["reward_model"], options["judge_model"]
    return Plan(
        study=study,
        base_checkpoint=base,
        method=method,
        config=parse_config(options["settings_given"], method),
        filter=RoundFilter(rater_group=group, prompt_tags=tuple(options["tags"])),
        reward_model=get_checkpoint(reward) if reward else None,
        judge_model=get_checkpoint(judge) if judge else None,
    )


def get_method(name: str) -> RoundMethod:
    """The method of that name."""
    if name not in RoundMethod.values:
        raise CommandError(f"no method {name!r}; there are: {', '.join(RoundMethod.values)}")
    return RoundMethod(name)


def get_study(slug: str) -> Study:
    """The study of that slug; CommandError says which exist."""
    study = Study.objects.filter(slug=slug).first()
    if study is None:
        known = ", ".join(Study.objects.order_by("slug").values_list("slug", flat=True))
        raise CommandError(f"no study {slug!r}; there are: {known or 'none'}")
    return study


def get_checkpoint(name: str) -> Checkpoint:
    """The checkpoint of that name; CommandError says which exist."""
    found = find_checkpoint(name)
    if found is None:
        known = ", ".join(Checkpoint.objects.order_by("name").values_list("name", flat=True))
        raise CommandError(f"no checkpoint {name!r}; there are: {known or 'none'}")
    return found


def get_round(name: str) -> Round:
    """The round of that name; CommandError says which are the newest."""
    found = all_rounds().filter(name=name).first()
    if found is None:
        known = ", ".join(round.name for round in all_rounds()[:10])
        raise CommandError(f"no round {name!r}; the newest are: {known or 'none'}")
    return found


def describe_preflight(found: Preflight) -> Iterable[str]:
    """The lines of a preflight, for people."""
    counts, leakage, estimate = found.counts, found.leakage, found.estimate
    yield f"{found.method} on {found.base_checkpoint.name}, study {found.study.slug}"
    yield (
        f"  preferences: {found.n_usable} usable ({found.n_needed} needed), {counts['train']} to "
        f"train on, {counts['held_out']} held out"
    )
    yield f"  for the gate: {found.held_out.n} held out, {found.held_out.n_needed} needed"
    yield (
        f"  pairs without a winner: {counts['tie_pairs']} ties, {counts['both_bad_pairs']} both "
        f"bad, {counts['contradicting_pairs']} contradicting"
    )
    yield (
        f"  shared by both sides: {leakage.n_prompts} prompts, {leakage.n_raters} raters, "
        f"{leakage.n_clips} clips; {found.duplicates.n_repeated_pairs} repeated pairs"
    )
    time = "unknown" if estimate.time_s is None else f"about {estimate.time_s:.0f} s"
    memory = "unknown" if estimate.memory_mb is None else f"about {estimate.memory_mb:.0f} MB"
    yield f"  time: {time} ({estimate.time_source}, {estimate.n_former} rounds)"
    yield f"  memory: {memory} ({estimate.memory_source})"
    yield f"  disk: about {estimate.disk_mb:.0f} MB of {found.free_disk_mb:.0f} MB free"
    state = "busy" if found.worker.is_busy else "waiting" if found.worker.is_alive else "silent"
    yield f"  device worker: {state}{', ' if found.worker.device else ''}{found.worker.device}"
    for warning in found.warnings:
        yield f"  note: {warning}"
    yield "  can start" if found.can_start else "  cannot start"


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_told(one)}" for key, one in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_told, value))
    return str(value)


def _row_line(row: Row) -> str:
    cells = [_cell(value) for value in row.values]
    return "\t".join((row.title, *cells))


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.4g}"
        case (figure, verdict):
            return f"{_cell(figure)} {verdict}"
        case dict():
            return _told(value)
        case _:
            return str(value)
