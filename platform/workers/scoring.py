"""Has a reward model score stored clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import structlog
from django.conf import settings
from numpy.typing import NDArray

from attune.catalog.models import Checkpoint, CheckpointKind, Clip
from attune.catalog.score_services import ScoredClip, record_clip_scores, unscored_clips
from attune.catalog.storage import checkpoint_folder, full_checkpoint, media_file
from attune.jobs.models import Job
from generator.errors import GeneratorError
from workers.lease import Lease
from workers.outcomes import WorkFailed

if TYPE_CHECKING:
    from alignment.reward.model import RewardModel
    from generator.codec.model import Codec

BATCH_CLIPS = 32

logger = structlog.get_logger(__name__)


def score_clips(job: Job, lease: Lease) -> None:
    """Scores the job's clips that the reward model has not scored yet, batch by batch.

    Safe to run again: a batch is stored as soon as it is scored, and only clips without a score
    are asked for.
    """
    from alignment.errors import AlignmentError
    from alignment.reward.model import load_reward

    checkpoint = Checkpoint.objects.get(pk=job.arguments["checkpoint"])
    if checkpoint.kind != CheckpointKind.REWARD:
        raise WorkFailed(f"checkpoint {checkpoint.name} is {checkpoint.kind}, not a reward model")
    clips = unscored_clips(checkpoint=checkpoint, arguments=job.arguments)
    if not clips:
        return
    try:
        model = load_reward(checkpoint_folder(checkpoint))
        listener = _listener(checkpoint)
        for start in range(0, len(clips), BATCH_CLIPS):
            lease.renew({"share": round(start / len(clips), 3), "n_clips": len(clips)})
            batch = clips[start : start + BATCH_CLIPS]
            record_clip_scores(checkpoint=checkpoint, scores=_scored(model, listener, batch))
    except (AlignmentError, GeneratorError, OSError, ValueError) as exc:
        raise WorkFailed(f"reward model {checkpoint.name}: {exc}") from exc
    logger.info("clips_scored", checkpoint=checkpoint.name, n_clips=len(clips))


@dataclass(frozen=True)
class _Listener:
    """How clips are read for a reward model."""

    learned_codec_sha256: str
    """The codec whose codes the model reads."""
    codec: Codec
    """The starter's, for clips of other codecs."""
    codec_sha256: str


def _listener(checkpoint: Checkpoint) -> _Listener:
    from alignment.reward.model import REWARD_FILE
    from alignment.reward.sources import codec_hash
    from generator.codec.model import load_codec
    from generator.files import read_json

    starter = Path(settings.ATTUNE_STARTER)
    stored = read_json(checkpoint_folder(checkpoint) / REWARD_FILE)
    return _Listener(
        learned_codec_sha256=str(stored.get("codec_sha256")),
        codec=load_codec(starter),
        codec_sha256=codec_hash(starter),
    )


def _scored(model: RewardModel, listener: _Listener, clips: Sequence[Clip]) -> list[ScoredClip]:
    scores = model.score([_codes(listener, clip) for clip in clips])
    return [
        ScoredClip(clip=clip, mean=float(mean), std=float(std))
        for clip, mean, std in zip(clips, scores.mean, scores.std, strict=True)
    ]


def _codes(listener: _Listener, clip: Clip) -> NDArray[np.int16]:
    """Returns codes that the model reads: the clip's own, or its sound coded anew.

    Clips of stereo checkpoints and of other families, and of checkpoints with a codec of their
    own, have codes of another codec.
    """
    from alignment.reward.features import codes_of_waveform
    from generator.checkpoints import CODEC_FILES

    full = full_checkpoint(clip.checkpoint)
    own = full.card.get("files", {}).get(CODEC_FILES[1])
    if own == listener.learned_codec_sha256 and full.card.get("channels", 1) == 1:
        codes: NDArray[np.int16] = np.load(media_file(clip.codes_path), allow_pickle=False)
        return codes
    if listener.codec_sha256 != listener.learned_codec_sha256:
        raise ValueError(
            f"it learned from codes of the codec {listener.learned_codec_sha256[:12]}..., which "
            f"neither {full.name} nor the starter has"
        )
    waveform, rate_hz = soundfile.read(media_file(clip.audio_path), dtype="float32")
    return codes_of_waveform(listener.codec, waveform.T, rate_hz)
