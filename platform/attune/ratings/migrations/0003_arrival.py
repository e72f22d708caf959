import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0004_rotation_event_figures"),
        ("raters", "0002_arrival"),
        ("ratings", "0002_aspects_and_remarks"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Arrival",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("declined_at", models.DateTimeField(blank=True, null=True)),
                ("volume_set_at", models.DateTimeField(blank=True, null=True)),
                (
                    "device_result",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "not made yet"),
                            ("passed", "headphones heard"),
                            ("failed", "no headphones heard"),
                            ("no_headphones", "said to have none"),
                        ],
                        default="",
                        max_length=16,
                    ),
                ),
                ("device_started_at", models.DateTimeField(blank=True, null=True)),
                ("n_device_tries", models.PositiveSmallIntegerField(default=0)),
                (
                    "practice",
                    models.JSONField(
                        default=list,
                        help_text="First answers to practice pairs; they are no ratings.",
                    ),
                ),
                ("practice_done_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name="PanelLink",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "panel",
                    models.CharField(
                        choices=[
                            ("prolific", "Prolific"),
                            ("mturk", "Mechanical Turk"),
                            ("other", "another panel"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "is_signed",
                    models.BooleanField(
                        default=False,
                        help_text="Ids count only with a signature made with the link's key.",
                    ),
                ),
                (
                    "places",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="How many people it lets in; empty for any number.",
                        null=True,
                    ),
                ),
                (
                    "completion_code",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Empty: each session gets a code of its own.",
                        max_length=64,
                    ),
                ),
                ("screened_out_code", models.CharField(blank=True, default="", max_length=64)),
                ("declined_code", models.CharField(blank=True, default="", max_length=64)),
                (
                    "return_address",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Where people go back to, with {code}.",
                        max_length=300,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="PanelPerson",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "person_hash",
                    models.CharField(
                        blank=True,
                        help_text="Empty once the person has withdrawn.",
                        max_length=64,
                        null=True,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "verbose_name_plural": "panel people",
            },
        ),
        migrations.CreateModel(
            name="PanelSession",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("session_hash", models.CharField(blank=True, max_length=64, null=True)),
                (
                    "code",
                    models.CharField(
                        help_text="Handed out when the session is completed.", max_length=64
                    ),
                ),
                (
                    "end",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "going on"),
                            ("completed", "completed"),
                            ("screened_out", "screened out"),
                            ("declined", "declined"),
                        ],
                        default="",
                        max_length=16,
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.AddField(
            model_name="study",
            name="asks_volume",
            field=models.BooleanField(
                default=False, help_text="Raters set their volume to a reference sound first."
            ),
        ),
        migrations.AddField(
            model_name="study",
            name="consent",
            field=models.ForeignKey(
                blank=True,
                help_text="What raters agree to before they take part; empty asks nothing.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="studies",
                to="raters.consenttext",
            ),
        ),
        migrations.AddField(
            model_name="study",
            name="device_check",
            field=models.CharField(
                choices=[
                    ("off", "not asked"),
                    ("record", "asked and recorded"),
                    ("exclude", "asked; only who passes takes part"),
                ],
                default="off",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="study",
            name="n_practice",
            field=models.PositiveSmallIntegerField(
                default=0, help_text="Practice pairs before the first one, at most three."
            ),
        ),
        migrations.AddConstraint(
            model_name="study",
            constraint=models.CheckConstraint(
                condition=models.Q(("n_practice__lte", 3)),
                name="study_has_at_most_three_practice_pairs",
            ),
        ),
        migrations.AddConstraint(
            model_name="study",
            constraint=models.CheckConstraint(
                condition=models.Q(("device_check__in", ["off", "record", "exclude"])),
                name="study_device_check_rule_is_known",
            ),
        ),
        migrations.AddField(
            model_name="arrival",
            name="device_check",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="raters.devicecheck",
            ),
        ),
        migrations.AddField(
            model_name="arrival",
            name="rater",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="arrivals",
                to="raters.rater",
            ),
        ),
        migrations.AddField(
            model_name="arrival",
            name="study",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="arrivals",
                to="ratings.study",
            ),
        ),
        migrations.AddField(
            model_name="panellink",
            name="created_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="panellink",
            name="study",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="panel_links",
                to="ratings.study",
            ),
        ),
        migrations.AddField(
            model_name="panelperson",
            name="link",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="people",
                to="ratings.panellink",
            ),
        ),
        migrations.AddField(
            model_name="panelperson",
            name="rater",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="panel_person",
                to="raters.rater",
            ),
        ),
        migrations.AddField(
            model_name="panelperson",
            name="study",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="panel_people",
                to="ratings.study",
            ),
        ),
        migrations.AddField(
            model_name="panelsession",
            name="link",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="sessions",
                to="ratings.panellink",
            ),
        ),
        migrations.AddField(
            model_name="panelsession",
            name="person",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="sessions",
                to="ratings.panelperson",
            ),
        ),
        migrations.AddConstraint(
            model_name="arrival",
            constraint=models.UniqueConstraint(
                fields=("rater", "study"), name="one_arrival_per_rater_and_study"
            ),
        ),
        migrations.AddConstraint(
            model_name="panellink",
            constraint=models.CheckConstraint(
                condition=models.Q(("panel__in", ["prolific", "mturk", "other"])),
                name="panel_of_a_link_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="panelperson",
            constraint=models.UniqueConstraint(
                fields=("study", "person_hash"), name="one_rater_per_study_and_external_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="panelsession",
            constraint=models.UniqueConstraint(
                fields=("link", "session_hash"), name="one_panel_session_per_link_and_session_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="panelsession",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("end", ""), ("ended_at__isnull", True)),
                    models.Q(models.Q(("end", ""), _negated=True), ("ended_at__isnull", False)),
                    _connector="OR",
                ),
                name="ended_panel_session_says_when",
            ),
        ),
    ]
