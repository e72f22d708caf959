"""What the settings of rounds are called on pages, and which of them are asked for first."""

from collections.abc import Mapping

from attune.rounds.choices import RoundMethod
from attune.rounds.config import (
    SETTINGS,
    SMOOTHED_LOSSES,
    TIE_AWARE_LOSSES,
    Flag,
    Knob,
    Setting,
    WordList,
    Words,
)

METHOD_LINES: Mapping[RoundMethod, str] = {
    RoundMethod.DPO: "Learns from pairs: the chosen clip becomes likelier than the rejected one.",
    RoundMethod.KTO: "Learns from clips that were wanted or not, both-bad ratings included.",
    RoundMethod.EXPERT: "Imitates the clips that won most; for few preferences.",
    RoundMethod.GRPO: "Makes clips of its own, in groups that a reward model scores.",
    RoundMethod.RLOO: "As GRPO, each clip against the mean of the others in its group.",
    RoundMethod.REWARD: "Trains a reward model that scores clips; it makes none.",
}
"""The methods that are offered, each with what it does in a line."""

LOSS_LINES: Mapping[str, str] = {
    "sigmoid_norm": "Log-ratios per code rather than summed, so that long clips do not saturate.",
    "sigmoid": "DPO as published, on summed log-ratios; saturates on long clips.",
    "ipo": "A squared loss towards a fixed margin: it does not push certain pairs ever further.",
    "robust": "Expects that a stated share of the ratings is wrong; set label smoothing.",
    "apo_zero": "Raises the chosen clips and lowers the rejected ones, each on its own.",
    "rao_kupper": "Learns from ties too: two clips tie within a threshold.",
    "davidson": "Learns from ties too: two clips tie in proportion to their strengths.",
}

KNOB_LINES: Mapping[str, tuple[str, str]] = {
    "loss": ("Loss", ""),
    "n_epochs": ("Epochs", "How often the preferences are gone through."),
    "n_drawn": (
        "Clips drawn a pair",
        "With a reward model: so many more clips, the best and worst of which become the pair.",
    ),
    "soft_reward_labels": (
        "Soft labels of a reward model",
        "Its pairs count by the probability that the better clip wins, not as won.",
    ),
    "n_steps": ("Steps", "Updates of the policy, each on clips of its own."),
    "batch_pairs": ("Pairs a batch", "Pairs gone through at once; fewer need less memory."),
    "batch_clips": ("Clips a batch", "Clips gone through at once; fewer need less memory."),
    "learning_rate": ("Learning rate", "Size of a step."),
    "beta_norm": ("Beta", "How strongly the policy is held near its parent, per clip."),
    "beta": ("Beta", "Price of leaving the parent, per nat of divergence."),
    "sft_weight": ("Weight of imitation", "How much the chosen clip is also imitated."),
    "label_smoothing": ("Label smoothing", "Share of preferences expected to be wrong."),
    "tie_share": ("Share of ties", "How often two equal clips are expected to tie."),
    "soft_labels": ("Soft labels", "Several ratings of a pair make a share, not a verdict."),
    "desirable_weight": ("Weight of wanted clips", "Against that of unwanted ones."),
    "undesirable_weight": ("Weight of unwanted clips", "Against that of wanted ones."),
    "best_share": ("Best share", "Which part of the clips is imitated, the best first."),
    "batch_prompts": ("Prompts a batch", "Prompts whose clips are scored at once."),
    "group_size": ("Clips a prompt", "Clips compared with each other in a group."),
    "reward_penalty": ("Penalty of doubt", "Standard deviations taken off the mean reward."),
    "judge_steps": ("Steps between judgements", "How often the unseen judge listens."),
    "judge_patience": ("Patience", "Judgements without a gain before the round ends early."),
    "held_out_clips": ("Judged clips a prompt", "Clips of each held-out prompt."),
    "best_of": ("Best of", "Clips of the parent whose best one is reported beside."),
    "warmup_share": ("Warm-up", "Share of steps in which the learning rate rises."),
    "accumulation_steps": ("Accumulation", "Batches that one step adds up."),
    "gradient_checkpointing": ("Gradient checkpointing", "Less memory, about a fifth more time."),
    "lora_rank": ("Adapter rank", "Size of the adapter that is trained."),
    "lora_alpha": ("Adapter alpha", "Scale of the adapter; twice the rank is usual."),
    "lora_targets": ("Adapted layers", "Separated by commas; empty: all."),
    "features": ("Features", "What of a clip is read, separated by commas; empty: all."),
    "precision": ("Precision", "Auto takes what the device does well."),
    "seed": ("Seed", "The same seed repeats the run."),
    "save_steps": ("Steps between saves", "What a restart loses at most."),
    "logging_steps": ("Steps between points", "How fine the curves are."),
    "sample_steps": ("Steps between samples", "How often clips are made to listen to; 0 is never."),
    "sample_clips": ("Clips a sample", "How many clips are made then."),
    "tie_model": ("Tie model", "How ties come about."),
    "uses_ties": ("Learns from ties", "Without it tied pairs are left out."),
    "n_members": ("Members", "Heads of the ensemble, each on its own resample of raters."),
    "n_folds": ("Folds", "Parts that penalty and temperature are chosen on."),
    "self_agreement": ("Self-agreement", "Share of repeat pairs answered alike; 0 is not known."),
    "self_agreement_n": ("Repeat pairs", "How many repeat pairs that share stands on."),
    "penalty": ("Penalty", "Weight of the squared weights; 0 has cross-validation choose."),
}

FIRST_KNOBS = frozenset(
    {
        *("loss", "n_epochs", "n_steps", "learning_rate", "beta_norm", "beta", "sft_weight"),
        *("label_smoothing", "tie_share", "best_share", "desirable_weight", "undesirable_weight"),
        *("batch_prompts", "group_size", "reward_penalty", "seed"),
        *("tie_model", "uses_ties", "n_members"),
    }
)
"""The settings that are shown at once; the others wait behind a click."""


def knobs_of(method: RoundMethod, loss: str = "") -> dict[str, Setting]:
    """The settings that a method with this loss has a use for, in the order of its trainer."""
    settings = dict(SETTINGS[method])
    chosen = settings.get("loss")
    if isinstance(chosen, Words):
        loss = loss if loss in chosen.allowed else chosen.default
        if loss not in SMOOTHED_LOSSES:
            settings.pop("label_smoothing", None)
        if loss not in TIE_AWARE_LOSSES:
            settings.pop("tie_share", None)
        else:
            for name in ("n_drawn", "soft_reward_labels"):
                settings.pop(name, None)
    return settings


def knob_label(name: str) -> str:
    """What a setting is called."""
    return KNOB_LINES[name][0] if name in KNOB_LINES else name.replace("_", " ").capitalize()


def knob_hint(name: str, setting: Setting) -> str:
    """What a setting means, what is allowed, and what stands if it is left alone."""
    line = KNOB_LINES.get(name, ("", ""))[1]
    match setting:
        case Knob():
            low, high, default = (
                f"{value:.0f}" if setting.kind is int else f"{value:g}"
                for value in (setting.low, setting.high, setting.default)
            )
            allowed = f"{low} to {high}; empty: {default}."
            return f"{line} {allowed}".strip()
        case Words() | Flag():
            return line
        case WordList():
            return f"{line} Of {', '.join(setting.allowed)}."
