"""Every way to train a run: its settings, what it learns from, and the code that does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from alignment.errors import RunFolderError
from alignment.outcomes import Outcome
from alignment.settings import Settings

if TYPE_CHECKING:
    from alignment.runs import RunFolder
    from alignment.stopping import StopSwitch


class Train(Protocol):
    """Trains a run from where it was left, publishes its result and returns the summary.

    Raises StopRequested once `stop` was thrown and everything learned so far is saved.
    """

    def __call__(self, run: RunFolder, *, stop: StopSwitch, device: str) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Method:
    """A way to train; its code is imported when it is first asked for."""

    name: str
    title: str
    config_place: str
    """`module:name` of the class of its settings."""
    train_place: str
    """`module:name` of its Train."""
    outcomes: frozenset[Outcome]
    """All outcomes of pairs it can learn from; its settings may want fewer."""
    needs_reward_model: bool = False
    can_read_reward_model: bool = False
    """Whether it learns by a reward model where one is named, and does without where none is."""
    reads_single_clips: bool = False
    """Whether it learns from clips without a partner as well."""

    @property
    def config_class(self) -> type[Settings]:
        """The class of its settings."""
        return cast(type[Settings], self._import(self.config_place))

    @property
    def run(self) -> Train:
        """What trains a run by it."""
        return cast(Train, self._import(self.train_place))

    def _import(self, place: str) -> Any:
        module, _, name = place.partition(":")
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError as exc:
            if exc.name is None or not (module == exc.name or module.startswith(f"{exc.name}.")):
                raise
            raise RunFolderError(f"method {self.name} is not installed: no {exc.name}") from exc


CHOSEN = frozenset({Outcome.CHOSEN})
_ALL = (
    Method(
        name="dpo",
        title="direct preference optimisation on rated pairs",
        config_place="alignment.config:DpoConfig",
        train_place="alignment.dpo:train_dpo",
        outcomes=CHOSEN | {Outcome.TIE},
        can_read_reward_model=True,
    ),
    Method(
        name="kto",
        title="Kahneman-Tversky optimisation on good and bad clips",
        config_place="alignment.config:KtoConfig",
        train_place="alignment.kto:train_kto",
        outcomes=CHOSEN | {Outcome.BOTH_BAD},
        reads_single_clips=True,
    ),
    Method(
        name="expert",
        title="expert iteration: imitation of the best clips",
        config_place="alignment.config:ExpertConfig",
        train_place="alignment.expert:train_expert",
        outcomes=frozenset(Outcome),
        can_read_reward_model=True,
    ),
    Method(
        name="grpo",
        title="group relative policy optimisation against a reward model",
        config_place="alignment.rl.config:GrpoConfig",
        train_place="alignment.rl.training:train_rl",
        outcomes=CHOSEN,
        needs_reward_model=True,
    ),
    Method(
        name="rloo",
        title="REINFORCE leave-one-out against a reward model",
        config_place="alignment.rl.config:RlooConfig",
        train_place="alignment.rl.training:train_rl",
        outcomes=CHOSEN,
        needs_reward_model=True,
    ),
    Method(
        name="reward",
        title="a reward model that predicts the raters' choices",
        config_place="alignment.reward.config:RewardConfig",
        train_place="alignment.reward.training:train_reward_run",
        outcomes=CHOSEN | {Outcome.TIE},
    ),
    Method(
        name="mix",
        title="a mix of adapters of one parent, with weights",
        config_place="alignment.mixing:MixConfig",
        train_place="alignment.mixing:train_mix",
        outcomes=CHOSEN,
    ),
)
METHODS: Mapping[str, Method] = {method.name: method for method in _ALL}
