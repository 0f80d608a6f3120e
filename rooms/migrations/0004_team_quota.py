from typing import Any

from django.db import migrations

ACTIONS = ("add", "change", "delete", "view")


def rename_permissions(old: str, new: str) -> Any:
    """Return an operation that renames the model permissions, so that grants to staff are kept."""

    def rename(apps: Any, schema_editor: Any) -> None:
        permissions = apps.get_model("auth", "Permission").objects.using(
            schema_editor.connection.alias
        )
        for action in ACTIONS:
            permissions.filter(
                content_type__app_label="rooms", codename=f"{action}_{old}"
            ).update(codename=f"{action}_{new}")

    return rename


class Migration(migrations.Migration):

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("rooms", "0003_no_cancel_requested_at"),
    ]

    operations = [
        migrations.RenameModel(old_name="Line", new_name="TeamQuota"),
        migrations.AlterModelOptions(
            name="teamquota",
            options={"verbose_name": "team quota", "verbose_name_plural": "team quotas"},
        ),
        migrations.RenameIndex(model_name="run", old_name="run_line", new_name="run_queue"),
        migrations.RunPython(
            rename_permissions("line", "teamquota"), rename_permissions("teamquota", "line")
        ),
    ]
