"""Rollouts: the sampler's probabilities are the trainer's, and seeds alone decide clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from peft import PeftModel

from alignment.arguments import lora_config
from alignment.errors import StopRequested
from alignment.face import IGNORED_LABEL, FlatAudioLM
from alignment.rl.config import GrpoConfig
from alignment.rl.prompts import PromptRow
from alignment.rl.rollouts import ON_POLICY, Rollout, Rollouts, rollout_seed
from generator.families import AnyCore, load_core
from tests.tiny import TINY_CORE, randomise, tiny_core
from tests.tiny_musicgen import write_tiny_musicgen
from tests.unit.alignment.rl_runs import prompt_rows

TOLERANCE = 1e-4


def adapted(core: AnyCore, rollouts: Rollouts) -> PeftModel:
    """Returns a policy whose adapter does something, followed by the rollouts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = peft.get_peft_model(FlatAudioLM(core), lora_config(GrpoConfig()))
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
    rollouts.follow(policy)
    return policy


def face_log_probs(policy: PeftModel, rollouts: Rollouts, clip: Rollout) -> torch.Tensor:
    """Returns what the flat face thinks of each id of a completion, [L]."""
    prompt = rollouts.prompt_ids(clip.row)
    ids = torch.tensor([[*prompt, *rollouts.completion_ids(clip)]])
    labels = ids.clone()
    labels[:, : len(prompt)] = IGNORED_LABEL
    with torch.no_grad():
        scored = policy(input_ids=ids, labels=labels, fused_lm_head=True)
    return scored.log_probs[0, len(prompt) - 1 :]


def test_the_faces_log_probs_are_the_samplers_own() -> None:
    core = tiny_core()
    rollouts = Rollouts(core)
    policy = adapted(core, rollouts)
    rows = [replace(row, duration_s=s) for row, s in zip(prompt_rows(4), (1, 2, 1, 3), strict=True)]
    for clip in rollouts.sample(rows, [5, 6, 7, 8]):
        expected = torch.tensor(rollouts.completion_log_probs(clip))
        found = face_log_probs(policy, rollouts, clip)
        assert found.shape == expected.shape
        assert float(expected.min()) < -1.0
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_they_agree_for_a_musicgen_core_too(tmp_path: Path) -> None:
    core = load_core(write_tiny_musicgen(tmp_path / "musicgen"))
    rollouts = Rollouts(core)
    policy = adapted(core, rollouts)
    rows = [PromptRow("a", (4, 7, 1), 0.5), PromptRow("b", (5, 1), 0.5)]
    for clip in rollouts.sample(rows, [1, 2]):
        expected = torch.tensor(rollouts.completion_log_probs(clip))
        found = face_log_probs(policy, rollouts, clip)
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_rollouts_follow_the_adapter_and_go_back_to_the_parent() -> None:
    core = tiny_core()
    rollouts = Rollouts(core)
    rows = prompt_rows(2)
    rollouts.follow_parent()
    before = rollouts.sample(rows, [1, 2])
    adapted(core, rollouts)
    after = rollouts.sample(rows, [1, 2])
    rollouts.follow_parent()
    again = rollouts.sample(rows, [1, 2])
    assert any((one.codes != other.codes).any() for one, other in zip(before, after, strict=True))
    for one, other in zip(before, again, strict=True):
        np.testing.assert_array_equal(one.codes, other.codes)


def test_sampling_leaves_the_policy_as_it_was() -> None:
    core = tiny_core()
    rollouts = Rollouts(core)
    policy = adapted(core, rollouts).train()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    rollouts.sample(prompt_rows(2), [1, 2])
    assert policy.training
    for name, value in policy.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_clip_depends_on_its_seed_not_on_its_batch() -> None:
    rollouts = Rollouts(tiny_core())
    rollouts.follow_parent()
    rows = prompt_rows(3)
    together = rollouts.sample(rows, [1, 2, 3])
    alone = rollouts.sample(rows[1:2], [2])[0]
    np.testing.assert_array_equal(together[1].codes, alone.codes)


def test_clips_of_several_lengths_come_back_in_order_and_whole() -> None:
    rollouts = Rollouts(tiny_core())
    rollouts.follow_parent()
    rows = [replace(row, duration_s=s) for row, s in zip(prompt_rows(3), (2, 1, 2), strict=True)]
    clips = rollouts.sample(rows, [1, 2, 3])
    assert [clip.codes.shape[1] for clip in clips] == [50, 25, 50]
    for clip in clips:
        np.testing.assert_array_equal(
            rollouts.clip_codes(rollouts.completion_ids(clip)), clip.codes
        )


def test_only_codes_count_not_holes_and_eos() -> None:
    core = tiny_core()
    rollouts = Rollouts(core)
    rollouts.follow_parent()
    (clip,) = rollouts.sample(prompt_rows(1), [1])
    mask = rollouts.completion_mask(clip)
    assert sum(mask) == clip.codes.size
    # Delays 0 and 1: a hole at the first step and at the last, and EOS.
    assert [place for place, counts in enumerate(mask) if not counts] == [1, 50, 52]
    log_probs = rollouts.completion_log_probs(clip)
    assert all(log_probs[place] == 0.0 for place in (1, 50, 52))
    assert all(value < 0.0 for value, counts in zip(log_probs, mask, strict=True) if counts)


def test_nothing_shapes_the_distribution() -> None:
    assert ON_POLICY.guidance == ON_POLICY.temperature == ON_POLICY.top_p == 1.0
    assert ON_POLICY.top_k == 0


def test_tokens_are_drawn_from_the_stated_probabilities() -> None:
    """With 16 codes the first one of 1600 clips lies within 5 deviations of its probability."""
    core = tiny_core(config=replace(TINY_CORE, codebook_size=16))
    randomise(core)
    rollouts = Rollouts(core)
    rollouts.follow_parent()
    row = replace(prompt_rows(1)[0], duration_s=0.04)
    clips = rollouts.sample([row] * 1600, list(range(1600)))
    first = np.array([clip.codes[0, 0] for clip in clips])
    told = {int(clip.codes[0, 0]): float(clip.log_probs[0, 0].exp()) for clip in clips}
    assert len(told) > 4
    for code, probability in told.items():
        expected = 1600 * probability
        assert abs((first == code).sum() - expected) < 5 * expected**0.5 + 1


def test_seeds_of_a_run_never_meet() -> None:
    seeds = {
        rollout_seed(run, step, place)
        for run in (0, 1)
        for step in range(20)
        for place in range(64)
    }
    assert len(seeds) == 2 * 20 * 64
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_stop_is_heard_between_two_steps_of_sampling() -> None:
    heard = 0

    def interrupt() -> None:
        nonlocal heard
        heard += 1
        if heard == 3:
            raise StopRequested("the run was asked to stop")

    rollouts = Rollouts(tiny_core(), interrupt=interrupt)
    rollouts.follow_parent()
    with pytest.raises(StopRequested):
        rollouts.sample(prompt_rows(1), [1])
    assert heard == 3
