"""A reward model that was trained scores clips of the catalog through the worker."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from django.conf import LazySettings

from alignment.reward.features import codes_of_waveform
from alignment.reward.model import load_reward
from alignment.reward.training import train_reward_run
from alignment.runs import read_run
from alignment.stopping import StopSwitch
from attune.catalog.models import Checkpoint, Clip, ClipScore
from attune.catalog.score_services import request_scores
from attune.catalog.services import add_checkpoint
from attune.catalog.storage import checkpoint_folder, media_file
from attune.jobs.models import Job, JobState
from generator.codec.model import load_codec
from tests.factories import make_checkpoint, make_clip, make_prompts
from tests.unit.alignment.reward_runs import draw_clip, write_reward_run
from workers.claims import carry_out, new_owner

pytestmark = pytest.mark.django_db


@pytest.fixture
def reward_model(tmp_path: Path) -> Checkpoint:
    run = read_run(write_reward_run(tmp_path / "run"))
    train_reward_run(run, stop=StopSwitch(), device="cpu")
    return add_checkpoint(folder=run.result)


def make_speaker(run: Path) -> Checkpoint:
    """A checkpoint whose clips have the codes that the reward model of a run learned from."""
    maker = make_checkpoint()
    maker.card = json.loads((run / "base" / "card.json").read_text())
    maker.save()
    return maker


def add_clips(maker: Checkpoint, n_clips: int) -> list[Clip]:
    prompt = make_prompts().prompts.earliest("pk")
    rng = np.random.default_rng(0)
    clips = []
    for _ in range(n_clips):
        clip = make_clip(prompt, maker)
        file = media_file(clip.codes_path)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, draw_clip(rng))
        clips.append(clip)
    return clips


def test_every_clip_gets_the_score_that_the_model_gives_its_codes(
    reward_model: Checkpoint, tmp_path: Path
) -> None:
    clips = add_clips(make_speaker(tmp_path / "run"), 3)
    request_scores(reward_model=reward_model)
    carry_out("gpu", new_owner())
    model = load_reward(checkpoint_folder(reward_model))
    expected = model.score([np.load(media_file(clip.codes_path)) for clip in clips])
    for clip, mean, std in zip(clips, expected.mean, expected.std, strict=True):
        score = ClipScore.objects.get(clip=clip, checkpoint=reward_model)
        assert (score.mean, score.std) == (pytest.approx(mean), pytest.approx(std))
    assert Job.objects.get().state == JobState.DONE
    first = ClipScore.objects.values_list("pk", "created_at")
    before = list(first)
    request_scores(reward_model=reward_model)
    carry_out("gpu", new_owner())
    assert list(first.all()) == before, "a clip that has a score is left alone"


def test_a_clip_of_another_codec_is_coded_anew_from_its_sound(
    reward_model: Checkpoint, tmp_path: Path, settings: LazySettings
) -> None:
    settings.ATTUNE_STARTER = tmp_path / "run" / "base"
    maker = make_checkpoint()
    Checkpoint.objects.filter(pk=maker.pk).update(family="musicgen")
    (clip,) = add_clips(maker, 1)
    tone = np.sin(np.arange(16_000) / 20).astype("float32") * 0.3
    soundfile.write(media_file(clip.audio_path), tone, 16_000)
    request_scores(reward_model=reward_model, clips=[clip.pk])
    carry_out("gpu", new_owner())
    job = Job.objects.get()
    assert (job.state, job.error) == (JobState.DONE, "")
    assert ClipScore.objects.filter(clip=clip).count() == 1


def test_a_starter_of_another_codec_is_heard_and_its_codes_are_not_taken_for_others(
    reward_model: Checkpoint, tmp_path: Path, settings: LazySettings
) -> None:
    maker = make_speaker(tmp_path / "run")
    maker.card["files"]["codec.safetensors"] = 64 * "0"
    maker.save()
    (clip,) = add_clips(maker, 1)
    tone = np.sin(np.arange(16_000) / 20).astype("float32") * 0.3
    soundfile.write(media_file(clip.audio_path), tone, 16_000)
    request_scores(reward_model=reward_model)
    carry_out("gpu", new_owner())
    job = Job.objects.latest("pk")
    assert job.state == JobState.FAILED
    assert "neither" in job.error

    settings.ATTUNE_STARTER = tmp_path / "run" / "base"
    request_scores(reward_model=reward_model)
    carry_out("gpu", new_owner())
    heard = load_reward(checkpoint_folder(reward_model)).score(
        [codes_of_waveform(load_codec(settings.ATTUNE_STARTER), tone, 16_000)]
    )
    assert ClipScore.objects.get(clip=clip).mean == pytest.approx(float(heard.mean[0]), abs=1e-3)


def test_a_model_that_does_not_load_fails_the_job_with_the_reason(
    reward_model: Checkpoint,
) -> None:
    add_clips(make_checkpoint(), 1)
    (checkpoint_folder(reward_model) / "reward.json").unlink()
    request_scores(reward_model=reward_model)
    carry_out("gpu", new_owner())
    job = Job.objects.get()
    assert job.state == JobState.FAILED
    assert "reward.json is missing" in job.error
