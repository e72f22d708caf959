"""The HTTP API: all routers under one version, documented by itself."""

from api import (
    arrival,
    checkpoints,
    clips,
    consent_texts,
    jobs,
    leaderboard,
    lineage,
    melodies,
    own_answers,
    preflights,
    ratings,
    rotation,
    rounds,
    schedules,
    scores,
    studies,
    trust,
)
from api.access import EVERYONE, allow
from api.errors import ExplainingAPI, add_error_answers

api = ExplainingAPI(
    title="Attune",
    version="1",
    description=(
        "Rate blind pairs, request clips, align, and watch the rotation. Send a token as "
        "`Authorization: Bearer <token>`, or be signed in and send the CSRF token."
    ),
    urls_namespace="api",
    docs_url="docs",
    openapi_url="openapi.json",
    auth=allow(EVERYONE),
)
add_error_answers(api)
for router in (
    arrival.router,
    consent_texts.router,
    ratings.router,
    own_answers.router,
    clips.router,
    melodies.router,
    checkpoints.router,
    studies.router,
    preflights.router,
    schedules.router,
    rounds.router,
    lineage.router,
    scores.router,
    rotation.router,
    leaderboard.router,
    trust.router,
    jobs.router,
):
    api.add_router("", router)
