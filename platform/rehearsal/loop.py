"""The whole loop over HTTP: rate, train, pass the gate, enter rotation, be judged."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from alignment.simulation.bootstrap import Interval, PairedScore, win_rate_over_prompts
from alignment.simulation.tastes import read_clip, taste_score
from rehearsal.errors import PhaseError, SiteError
from rehearsal.log import Log
from rehearsal.options import Options
from rehearsal.raters import Calibration, RatingRoom, SimulatedRater, Tally, rating_threads
from rehearsal.report import Findings, GateCheck, Metric, figure
from rehearsal.site import Site

POPULATION = "rehearsal"
CHUNK_PAIRS = 48
POLL_S = 1.0
SAY_EVERY_S = 15.0
SAY_STEP_EVERY_S = 3.0
IDLE_END_S = 10.0
STALL_S = 300.0
ENDED_STATES = frozenset({"done", "failed", "cancelled"})
MISSING_STATUSES = frozenset({404, 409})


class Loop:
    """One rehearsal in progress: the site, what was asked, and what was found so far."""

    def __init__(self, site: Site, options: Options, log: Log) -> None:
        self._site = site
        self._options = options
        self._log = log
        self._rng = np.random.default_rng(options.seed)
        streams = self._rng.spawn(len(options.rater_tokens))
        self._raters = [
            SimulatedRater(token=token, rng=stream)
            for token, stream in zip(options.rater_tokens, streams, strict=True)
        ]
        self._calibration = Calibration(
            agreement=options.agreement,
            n_needed=max(1, min(len(self._raters), options.n_pairs // 2)),
        )
        self.findings = Findings(
            taste=options.taste,
            agreement=options.agreement,
            seed=options.seed,
            study="",
            base="",
            n_raters=len(self._raters),
            duration_s=options.duration_s,
        )

    def run(self) -> Findings:
        """Closes the loop once; what was found until an error stays in `findings`."""
        findings = self.findings
        findings.phases = self._log.phases
        with self._log.phase("prepare"):
            self._open_study()
        try:
            with self._log.phase("generate and rate"):
                self._rate_training_pairs()
            with self._log.phase("train and gate"):
                self._align()
            with self._log.phase("judge"):
                self._judge()
        finally:
            self._close_study()
        return findings

    def _get(self, path: str, **parameters: Any) -> Any:
        return self._site.get(path, self._options.engineer_token, parameters)

    def _post(self, path: str, **content: Any) -> Any:
        return self._site.post(path, self._options.engineer_token, content)

    def _open_study(self) -> None:
        """Opens a study of its own on the prompts that the site's people rate."""
        findings, options = self.findings, self._options
        findings.base = options.base or self._anchor()
        findings.study = options.study or f"rehearsal-{time.strftime('%Y%m%d-%H%M%S')}"
        self._post(
            "studies",
            slug=findings.study,
            name=f"Rehearsal: {options.taste}, {options.agreement:.0%} agreement",
            population=POPULATION,
            prompt_set=options.prompt_set or self._prompt_set(),
            question="Which do you prefer?",
            clip_duration_s=options.duration_s,
            minimum_listening_s=0,
            overlap=1,
            pool_target=0,
            pairs_per_session=1000,
        )
        self._log.say(
            f"study {findings.study}: base {findings.base}, {findings.n_raters} simulated raters "
            f"who like it {options.taste}"
        )

    def _close_study(self) -> None:
        self._site.patch(
            f"studies/{self.findings.study}", self._options.engineer_token, {"is_open": False}
        )

    def _anchor(self) -> str:
        entries = self._get("rotation", population=POPULATION)["entries"]
        for entry in entries:
            if entry["role"] == "anchor":
                return str(entry["checkpoint"])
        raise PhaseError(f"no anchor is in rotation for rehearsals: {len(entries)} entries")

    def _prompt_set(self) -> str:
        """The prompt set of the site's oldest study."""
        studies = self._get("studies")
        if not studies:
            raise PhaseError("the site has no study whose prompts could be used: --prompt-set")
        return str(studies[-1]["prompt_set"])

    def _request_pairs(self, n_pairs: int, purpose: str, **fields: Any) -> list[dict[str, Any]]:
        path = f"studies/{self.findings.study}/pairs"
        answer = self._post(path, n_pairs=n_pairs, purpose=purpose, **fields)
        return list(answer["pairs"])

    def _rate_training_pairs(self) -> None:
        findings, options = self.findings, self._options

        def request(n_pairs: int) -> int:
            base = [findings.base]
            return len(self._request_pairs(n_pairs, "training", checkpoints=base, held_out=False))

        tally = self._rate(options.n_pairs, request, "training pairs")
        scale = self._calibration.freeze()
        findings.n_pairs, findings.n_ratings = options.n_pairs, tally.n_ratings
        findings.training_agreement = tally.agreement
        self._log.say(
            f"rated {tally.n_ratings} pairs, agreement with the taste "
            f"{figure(tally.agreement)} (noise scale {scale:.3g})"
        )

    def _rate(self, n_pairs: int, request: Callable[[int], int], what: str) -> Tally:
        """Has n_pairs requested in chunks and rated as they become ready."""
        room = RatingRoom(
            site=self._site,
            study=self.findings.study,
            taste=self._options.taste,
            raters=self._raters,
        )
        tally = Tally()
        n_requested = 0
        moved_s = said_s = time.monotonic()
        n_before = self._n_rated()
        with rating_threads(room, self._calibration, tally) as check_threads:
            while tally.n_ratings < n_pairs:
                check_threads()
                counts = self._counts()
                n_open = n_requested - tally.n_ratings
                if n_requested < n_pairs and n_open < 2 * CHUNK_PAIRS:
                    n_requested += request(min(CHUNK_PAIRS, n_pairs - n_requested))
                    continue
                now_s = time.monotonic()
                moved_s = max(moved_s, tally.moved_s)
                is_waiting = counts["pending"] > 0
                if n_requested >= n_pairs and not is_waiting and now_s - moved_s > IDLE_END_S:
                    break  # the clips of the missing pairs have failed
                if now_s - moved_s > STALL_S:
                    raise PhaseError(
                        f"{what}: nothing was rated for {STALL_S:.0f} s, {counts['pending']} "
                        "pairs wait for their clips; is the device worker running?"
                    )
                if now_s - said_s > SAY_EVERY_S:
                    said_s = now_s
                    self._log.say(f"{what}: {tally.n_ratings} of {n_pairs} rated")
                time.sleep(POLL_S)
        if tally.n_ratings == 0:
            raise PhaseError(f"{what}: none of {n_pairs} pairs could be rated")
        n_stored = self._n_rated() - n_before
        if n_stored != tally.n_ratings:
            raise PhaseError(f"{what}: {tally.n_ratings} ratings sent, the site counts {n_stored}")
        return tally

    def _counts(self) -> dict[str, int]:
        return dict(self._get(f"studies/{self.findings.study}")["counts"])

    def _n_rated(self) -> int:
        return int(self._counts()["ratings"])

    def _align(self) -> None:
        findings = self.findings
        started = self._post(
            "rounds",
            study=findings.study,
            base_checkpoint=findings.base,
            config=dict(self._options.config),
        )
        self._log.say(
            f"round {started['name']}: {started['counts'].get('train', 0)} preferences to train "
            f"on, {started['counts'].get('held_out', 0)} held out"
        )
        found = self._watch_round(int(started["id"]))
        findings.round_counts = found["counts"]
        findings.metrics = [_metric(metric) for metric in found["metrics"]]
        findings.metrics = [metric for metric in findings.metrics if metric.loss is not None]
        findings.gate = [
            GateCheck(check["check"], check["verdict"] == "passed", check["sentence"])
            for check in found["evaluations"]
        ]
        findings.outcome = found["outcome"]
        findings.aligned = found["produced_checkpoint"]
        if found["state"] != "done":
            raise PhaseError(f"round {found['name']} {found['state']}: {found['error']}".strip())
        for check in findings.gate:
            verdict = "passed" if check.passed else "FAILED"
            self._log.say(f"gate: {check.name} {verdict}: {check.sentence}")
        self._log.say(findings.outcome)
        if findings.gate_passed:
            self._check_rotation()

    def _watch_round(self, round_id: int) -> dict[str, Any]:
        """Says loss and margin as they come; returns the round when it has ended."""
        said_step, said_s, said_state = 0, 0.0, ""
        while True:
            found: dict[str, Any] = self._get(f"rounds/{round_id}")
            if found["state"] != said_state:
                said_state = found["state"]
                self._log.say(f"round is {said_state}")
            logged = [_metric(metric) for metric in found["metrics"]]
            logged = [metric for metric in logged if metric.loss is not None]
            has_ended = found["state"] in ENDED_STATES
            now_s = time.monotonic()
            if logged and logged[-1].step > said_step:
                newest = logged[-1]
                if now_s - said_s > SAY_STEP_EVERY_S or newest.step == newest.n_steps:
                    said_step, said_s = newest.step, now_s
                    self._log.say(
                        f"step {newest.step:>4} of {newest.n_steps}  "
                        f"loss {figure(newest.loss):<7} margin {figure(newest.margin)}"
                    )
            if has_ended:
                return found
            time.sleep(POLL_S)

    def _check_rotation(self) -> None:
        entries = self._get("rotation", population=POPULATION)["entries"]
        share = {entry["checkpoint"]: entry["new_clip_share"] for entry in entries}
        aligned = self.findings.aligned or ""
        if aligned not in share:
            raise PhaseError(f"{aligned} passed the gate but is not in rotation")
        self._log.say(f"{aligned} makes {share[aligned]:.0%} of new clips")

    def _judge(self) -> None:
        findings, options = self.findings, self._options
        if findings.aligned is None:
            raise PhaseError("the round ended without a checkpoint")
        names = [findings.base, findings.aligned]
        pairs: list[dict[str, Any]] = []

        def request(n_pairs: int) -> int:
            new = self._request_pairs(n_pairs, "judging", checkpoints=names, held_out=True)
            pairs.extend(new)
            return len(new)

        tally = self._rate(options.n_judgements, request, "held-out pairs")
        findings.n_judgements = tally.n_ratings
        findings.scores = [score for pair in pairs if (score := self._score(pair)) is not None]
        if findings.scores:
            findings.by_taste = win_rate_over_prompts(findings.scores, self._rng)
        findings.as_rated = self._rated_win_rate()

    def _score(self, pair: dict[str, Any]) -> PairedScore | None:
        """The taste's scores of a pair's clips; None where a clip was never made."""
        by_checkpoint: dict[str, float] = {}
        for side in ("first", "second"):
            path = f"clips/{pair[f'{side}_clip']}/audio"
            try:
                content = self._site.download_from_api(path, self._options.engineer_token)
            except SiteError as exc:
                if exc.status in MISSING_STATUSES:
                    return None
                raise
            score = taste_score(self._options.taste, *read_clip(content))
            by_checkpoint[pair[f"{side}_checkpoint"]] = score
        return PairedScore(
            prompt=pair["prompt"],
            base=by_checkpoint[self.findings.base],
            aligned=by_checkpoint[self.findings.aligned or ""],
        )

    def _rated_win_rate(self) -> Interval | None:
        found = self._get(
            "win-rates",
            checkpoint=self.findings.aligned,
            against=self.findings.base,
            population=POPULATION,
            held_out=True,
        )
        if found["figure"] is None:
            return None
        return Interval(
            figure=found["figure"],
            low=found["low"],
            high=found["high"],
            n=found["n_decided"],
            n_groups=found["n_raters"],
        )


def _metric(answer: dict[str, Any]) -> Metric:
    values = answer["values"]
    return Metric(
        step=answer["step"],
        n_steps=answer["n_steps"],
        loss=values.get("loss"),
        margin=values.get("margin"),
    )
