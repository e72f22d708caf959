"""One trial: rate clips by a taste, align, do it again, and judge what came out."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from alignment.errors import AlignmentError, ConfigError
from alignment.experiments.clips import ClipStore, MeasuredClip, Order
from alignment.experiments.judging import judge
from alignment.experiments.labels import Labels, Rated, join_rated, rate
from alignment.experiments.rounds import PROMPTS_FILE, Round
from alignment.methods import METHODS
from alignment.simulation.tastes import Taste
from generator.checkpoints import content_hash
from generator.files import write_json

CLIPS_FOLDER = "clips"
TRIALS_FOLDER = "trials"
RESULT_FILE = "result.json"
WORKSPACE_FILE = "workspace.json"
BEST_OF = "best-of-8"
"""No training: the best of eight clips of the base by a reward model learned from the ratings."""
N_BEST_OF = 8
SEEDS_PER_PROMPT = 4
JUDGING_SEED = 9_000_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """What is tried: a taste, a method, and how many ratings of what kind it gets."""

    taste: Taste
    method: str = "dpo"
    n_pairs: int = 480
    """Pairs a round."""
    n_rounds: int = 1
    labels: Labels = Labels.NOISY
    agreement: float = 0.75
    tie_share: float = 0.0
    seed: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    has_reward_model: bool = False
    """Whether a reward model of the same ratings is given to a method that can do without."""

    def __post_init__(self) -> None:
        allowed = [*METHODS, BEST_OF]
        if self.method not in allowed:
            raise ConfigError(f"method is one of {allowed}, got {self.method!r}")
        optional = [name for name, method in METHODS.items() if method.can_read_reward_model]
        if self.has_reward_model and self.method not in optional:
            raise ConfigError(f"a reward model can be given to {optional}, not to {self.method}")
        if self.n_pairs < 1 or self.n_rounds < 1:
            raise ConfigError(
                f"pairs and rounds are at least 1, got {self.n_pairs} and {self.n_rounds}"
            )

    @property
    def name(self) -> str:
        """A name for the trial's folder that says what is tried."""
        told = [self.taste.value, self.method, f"{self.n_rounds}x{self.n_pairs}", self.labels.value]
        if self.agreement != 0.75:
            told.append(f"a{self.agreement:g}")
        if self.tie_share:
            told.append(f"t{self.tie_share:g}")
        if self.has_reward_model:
            told.append("rm")
        if self.config:
            text = json.dumps(dict(self.config), sort_keys=True)
            told.append(hashlib.sha256(text.encode()).hexdigest()[:6])
        return "-".join([*told, f"s{self.seed}"])


@dataclass(frozen=True)
class Prompts:
    """Prompts that pairs are made for, and prompts that only judge."""

    training: tuple[str, ...]
    held_out: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Prompts:
        """Returns the prompts of a file: {"prompts": [{"text", "is_held_out"}, ...]}."""
        try:
            rows = json.loads(path.read_text())["prompts"]
            marked = [(str(row["text"]), bool(row["is_held_out"])) for row in rows]
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise AlignmentError(f"{path} holds no prompts: {exc!r}") from exc
        training = tuple(text for text, is_held_out in marked if not is_held_out)
        held_out = tuple(text for text, is_held_out in marked if is_held_out)
        if not training or not held_out:
            raise AlignmentError(
                f"{path} has {len(training)} training and {len(held_out)} held-out prompts, "
                "both kinds are needed"
            )
        return cls(training, held_out)


@dataclass(frozen=True)
class Workspace:
    """Where trials lie, and what they share."""

    root: Path
    base: Path
    prompts: Prompts
    duration_s: float = 5.0
    n_threads: int = 1

    def store(self, chain: Sequence[Path]) -> ClipStore:
        """Returns the clips of a checkpoint."""
        return ClipStore(self.root / CLIPS_FOLDER, chain, self.duration_s)

    def pairs(
        self, store: ClipStore, n_pairs: int, seed: int
    ) -> list[tuple[MeasuredClip, MeasuredClip]]:
        """Returns pairs of clips on the training prompts in turn, planned alike."""
        orders = []
        for number in range(n_pairs):
            prompt = self.prompts.training[number % len(self.prompts.training)]
            first = 2 * (1_000_000 * (seed + 1) + number)
            orders += [Order(prompt, first), Order(prompt, first + 1)]
        clips = store.make(orders)
        return list(zip(clips[::2], clips[1::2], strict=True))

    def judging_orders(self, side: int) -> list[Order]:
        """Returns orders on the held-out prompts; clips of side 0 and 1 are planned alike."""
        return [
            Order(prompt, 2 * (JUDGING_SEED + number) + side)
            for prompt in self.prompts.held_out
            for number in range(SEEDS_PER_PROMPT)
        ]


def run_trial(trial: Trial, space: Workspace) -> dict[str, Any]:
    """Runs a trial, or goes on with it, and returns its result; one that is done is only read."""
    folder = space.root / TRIALS_FOLDER / trial.name
    done = folder / RESULT_FILE
    _check_workspace(folder, space)
    if done.is_file():
        stored: dict[str, Any] = json.loads(done.read_text())
        return stored
    began_at = time.monotonic()
    chain = [space.base]
    rounds: list[dict[str, Any]] = []
    all_rated: list[Rated] = []
    for number in range(trial.n_rounds):
        rng = np.random.default_rng([trial.seed, number])
        pairs = space.pairs(space.store(chain), trial.n_pairs, 10 * trial.seed + number)
        rated = rate(
            pairs,
            trial.taste,
            trial.labels,
            agreement=trial.agreement,
            tie_share=trial.tie_share,
            rng=rng,
        )
        current = Round(
            folder=folder / f"round-{number + 1}",
            chain=tuple(chain),
            rated=rated,
            codes_root=space.root / CLIPS_FOLDER,
            duration_s=space.duration_s,
            n_threads=space.n_threads,
        )
        all_rated.append(rated)
        summary = _align(trial, current, replace(current, rated=join_rated(all_rated)))
        if trial.method != BEST_OF:
            chain.append(current.result)
        rounds.append(
            {"agreement": rated.agreement, "tie_share": rated.tie_share, "summary": summary}
            | _judged(trial, space, chain, current.result)
        )
        logger.info("%s round %d: %s", trial.name, number + 1, rounds[-1]["judgement"])
    result = {
        "trial": {**asdict(trial), "config": dict(trial.config)},
        "rounds": rounds,
        "wall_s": round(time.monotonic() - began_at, 1),
    }
    write_json(done, result)
    return result


def _check_workspace(folder: Path, space: Workspace) -> None:
    """Notes in a trial's folder what it stands on; AlignmentError where that is something else.

    A trial is named by what is tried, so that one of another base would be taken for it.
    """
    prompts = json.dumps(asdict(space.prompts), sort_keys=True)
    wanted = {
        "base": content_hash(space.base),
        "prompts": hashlib.sha256(prompts.encode()).hexdigest(),
        "duration_s": space.duration_s,
    }
    place = folder / WORKSPACE_FILE
    if place.is_file() and (stored := json.loads(place.read_text())) != wanted:
        others = [name for name, value in wanted.items() if stored.get(name) != value]
        raise AlignmentError(
            f"{folder} holds a trial with another {' and '.join(others)}; name another --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(place, wanted)


def _judged(
    trial: Trial, space: Workspace, chain: Sequence[Path], result: Path
) -> dict[str, dict[str, Any]]:
    base = space.store([space.base]).make(space.judging_orders(1))
    if trial.method == BEST_OF:
        candidate = _best_clips(space, result)
    else:
        candidate = space.store(chain).make(space.judging_orders(0))
    rng = np.random.default_rng(trial.seed)
    judgement = judge(candidate, base, trial.taste, space.root / CLIPS_FOLDER, rng)
    return {"judgement": judgement.to_json()}


def _best_clips(space: Workspace, reward_model: Path) -> list[MeasuredClip]:
    """Returns, for each judging clip, the best of eight by a reward model."""
    from alignment.reward.model import load_reward

    orders = space.judging_orders(0)
    spread = [
        Order(order.prompt, order.seed + 100_000 * number)
        for order in orders
        for number in range(N_BEST_OF)
    ]
    clips = space.store([space.base]).make(spread)
    codes = [np.load(space.root / CLIPS_FOLDER / clip.codes) for clip in clips]
    scores = np.asarray(load_reward(reward_model).score(codes).mean)
    best = scores.reshape(-1, N_BEST_OF).argmax(axis=1)
    return [clips[N_BEST_OF * index + int(number)] for index, number in enumerate(best)]


def _align(trial: Trial, round: Round, rounds_so_far: Round) -> dict[str, Any]:
    """Trains a round; methods that need reward models have them trained on all ratings so far.

    rounds_so_far: the round with the ratings of those before it as well.
    """
    if trial.method == BEST_OF:
        return rounds_so_far.train("reward", {"seed": trial.seed})
    extra: dict[str, Any] = {}
    if trial.has_reward_model:
        model = rounds_so_far.beside("reward_model")
        model.train("reward", {"seed": trial.seed})
        extra["reward_model"] = str(model.result)
    if METHODS[trial.method].needs_reward_model:
        # The judge hears clips by other figures than the model that is learned from.
        features = {"reward_model": ["codec", "encoder"], "judge_model": ["encoder"]}
        for number, (name, figures) in enumerate(features.items()):
            model = rounds_so_far.beside(name)
            model.train("reward", {"seed": trial.seed + 1000 * number, "features": figures})
            extra[name] = str(model.result)
        extra["prompts"] = PROMPTS_FILE
    return round.train(trial.method, {"seed": trial.seed, **trial.config}, extra)
