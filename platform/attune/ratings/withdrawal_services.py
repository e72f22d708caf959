"""The end of a rater's part: what the person can be known by goes, the ratings stay."""

from datetime import datetime

from axes.models import AccessAttempt, AccessLog
from django.db import transaction

from attune.raters.models import Invitation, Rater
from attune.raters.services import withdraw_rater
from attune.ratings.arrival_models import SessionEnd
from attune.ratings.assignment_services import lock_rater
from attune.ratings.models import ClipReport
from attune.ratings.panel_services import end_sessions, forget_panel_ids
from attune.ratings.remark_services import erase_remarks


@transaction.atomic
def withdraw(*, rater: Rater, now: datetime) -> None:
    """End the rater's part and erase all by which the person could be known; safe to repeat.

    Erased: name, mail address, password and tokens of the account, the external ids of panels,
    own words in remarks and reports, an invitation's note, sign-in records with their network
    addresses. Kept under the pseudonym: ratings, what was heard, which texts were agreed to.
    """
    lock_rater(rater)  # words that are being stored at this moment are erased with the others
    username = rater.user.get_username()
    end_sessions(rater=rater, end=SessionEnd.DECLINED, now=now)
    forget_panel_ids(rater=rater)
    erase_remarks(rater=rater)
    ClipReport.objects.filter(assignment__rater=rater).update(remark="")
    Invitation.objects.filter(used_by=rater.user_id).update(label="")
    AccessLog.objects.filter(username=username).delete()
    AccessAttempt.objects.filter(username=username).delete()
    withdraw_rater(rater=rater, now=now)
