from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0003_reward_models_and_mixes"),
    ]

    operations = [
        migrations.AddField(
            model_name="rotationevent",
            name="figures",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="What the decision stands on, where the site decided.",
            ),
        ),
    ]
