"""Addresses of the console."""

from django.urls import path

from console.views import (
    checkpoints,
    clips,
    comparison,
    jobs,
    leaderboard,
    lineage,
    mixes,
    new_round,
    overview,
    prompts,
    rotation,
    rounds,
    studies,
)

app_name = "console"

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("leaderboard/", leaderboard.leaderboard, name="leaderboard"),
    path("rounds/", rounds.round_list, name="rounds"),
    path("rounds/new/", new_round.new_round, name="new-round"),
    path("rounds/start/", new_round.start_round, name="start-round"),
    path("rounds/compare/", comparison.compare, name="compare-rounds"),
    path("rounds/mix/", mixes.new_mix, name="new-mix"),
    path("rounds/mix/start/", mixes.start_mix, name="start-mix"),
    path("rounds/<int:number>/", rounds.round_detail, name="round"),
    path("rounds/<int:number>/cancel/", rounds.cancel, name="cancel-round"),
    path("rounds/<int:number>/resume/", rounds.resume, name="resume-round"),
    path("checkpoints/", checkpoints.checkpoint_list, name="checkpoints"),
    path("checkpoints/<str:name>/", checkpoints.checkpoint_detail, name="checkpoint"),
    path("checkpoints/<str:name>/score/", checkpoints.score_clips, name="score-clips"),
    path("lineage/", lineage.lineage, name="lineage"),
    path("rotation/", rotation.rotation, name="rotation"),
    path("rotation/decide/", rotation.decide, name="decide"),
    path("studies/", studies.study_list, name="studies"),
    path("studies/<slug:slug>/", studies.study_detail, name="study"),
    path("studies/<slug:slug>/schedule/", studies.change_schedule, name="change-schedule"),
    path("prompts/", prompts.prompt_list, name="prompts"),
    path("prompts/add/", prompts.add, name="add-prompts"),
    path("melodies/upload/", prompts.upload_melody, name="upload-melody"),
    path("clips/", clips.clip_list, name="clips"),
    path("clips/request/", clips.request_clip, name="request-clip"),
    path("jobs/", jobs.job_list, name="jobs"),
]
