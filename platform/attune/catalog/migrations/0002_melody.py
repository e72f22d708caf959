import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Melody",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120, unique=True)),
                ("path", models.CharField(max_length=200)),
                ("sha256", models.CharField(max_length=64)),
                (
                    "format",
                    models.CharField(
                        choices=[("wav", "WAV"), ("flac", "FLAC"), ("ogg", "OGG"), ("mp3", "MP3")],
                        max_length=8,
                    ),
                ),
                ("n_bytes", models.PositiveIntegerField()),
                ("duration_s", models.FloatField()),
                ("sample_rate_hz", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "verbose_name_plural": "melodies",
            },
        ),
        migrations.RemoveConstraint(
            model_name="prompt",
            name="one_prompt_per_text_in_a_prompt_set",
        ),
        migrations.AddField(
            model_name="melody",
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
            model_name="prompt",
            name="melody",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="prompts",
                to="catalog.melody",
            ),
        ),
        migrations.AddConstraint(
            model_name="prompt",
            constraint=models.UniqueConstraint(
                condition=models.Q(("melody__isnull", True)),
                fields=("prompt_set", "text"),
                name="one_prompt_per_text_in_a_prompt_set",
            ),
        ),
        migrations.AddConstraint(
            model_name="prompt",
            constraint=models.UniqueConstraint(
                condition=models.Q(("melody__isnull", False)),
                fields=("prompt_set", "text", "melody"),
                name="one_prompt_per_text_and_melody_in_a_prompt_set",
            ),
        ),
        migrations.AddConstraint(
            model_name="melody",
            constraint=models.UniqueConstraint(fields=("sha256",), name="one_melody_per_content"),
        ),
        migrations.AddConstraint(
            model_name="melody",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", ""), _negated=True), name="melody_name_is_not_empty"
            ),
        ),
        migrations.AddConstraint(
            model_name="melody",
            constraint=models.CheckConstraint(
                condition=models.Q(("duration_s__gt", 0)), name="melody_duration_is_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="melody",
            constraint=models.CheckConstraint(
                condition=models.Q(("format__in", ["wav", "flac", "ogg", "mp3"])),
                name="melody_format_is_known",
            ),
        ),
    ]
