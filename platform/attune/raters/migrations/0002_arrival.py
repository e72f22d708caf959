import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Invitations that several may use, consent texts, device checks with their answers.

    Consents and device checks are made anew: no page asked for one before.
    """

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("raters", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="invitation",
            name="label",
            field=models.CharField(
                blank=True, default="", help_text="For whom, as engineers note it.", max_length=80
            ),
        ),
        migrations.AddField(
            model_name="invitation",
            name="is_open",
            field=models.BooleanField(default=False, help_text="Lets in more than one person."),
        ),
        migrations.AddField(
            model_name="invitation",
            name="places",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="How many an open link lets in; empty for any number.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="invitation",
            name="n_joined",
            field=models.PositiveIntegerField(
                default=0, help_text="How many came by an open link."
            ),
        ),
        migrations.AddField(
            model_name="invitation",
            name="revoked_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="invitation",
            name="made_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_open", False), ("role", "rater"), _connector="OR"),
                name="open_invitation_is_for_raters",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("places__isnull", True),
                    ("n_joined__lte", models.F("places")),
                    _connector="OR",
                ),
                name="open_invitation_lets_in_no_more_than_its_places",
            ),
        ),
        migrations.CreateModel(
            name="ConsentText",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.SlugField(max_length=40)),
                ("version", models.PositiveSmallIntegerField()),
                ("title", models.CharField(max_length=120)),
                ("text", models.TextField()),
                (
                    "language",
                    models.CharField(default="en", help_text="As in HTML: en, de.", max_length=16),
                ),
                ("text_sha256", models.CharField(editable=False, max_length=64)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "written_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("name", "version"), name="one_consent_text_per_name_and_version"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("version__gte", 1)),
                        name="consent_text_versions_start_at_1",
                    ),
                ],
            },
        ),
        migrations.DeleteModel(name="Consent"),
        migrations.CreateModel(
            name="Consent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("given_at", models.DateTimeField()),
                ("withdrawn_at", models.DateTimeField(blank=True, null=True)),
                (
                    "rater",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="consents",
                        to="raters.rater",
                    ),
                ),
                (
                    "text",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="consents",
                        to="raters.consenttext",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("rater", "text"), name="one_consent_per_rater_and_text"
                    )
                ],
            },
        ),
        migrations.DeleteModel(name="DeviceCheck"),
        migrations.CreateModel(
            name="DeviceCheck",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("huggins_pitch", "Huggins pitch"), ("antiphase", "antiphase")],
                        max_length=16,
                    ),
                ),
                (
                    "seed",
                    models.BigIntegerField(
                        editable=False, help_text="Sounds and answers follow from it."
                    ),
                ),
                (
                    "answers",
                    models.JSONField(
                        default=list, help_text="The interval chosen in each trial, 0 to 2."
                    ),
                ),
                (
                    "n_trials",
                    models.PositiveSmallIntegerField(default=0, help_text="Trials answered."),
                ),
                ("n_correct", models.PositiveSmallIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "rater",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="device_checks",
                        to="raters.rater",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("n_correct__lte", models.F("n_trials"))),
                        name="device_check_counts_no_more_correct_than_trials",
                    )
                ],
            },
        ),
    ]
