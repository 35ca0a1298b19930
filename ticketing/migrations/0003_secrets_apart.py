from django.db import migrations


def encrypt(apps, schema_editor):
    """The password of an e-mail desk moves out of its settings."""
    Desk = apps.get_model("ticketing", "Desk")
    for desk in Desk._base_manager.using(schema_editor.connection.alias).filter(settings__has_key="password"):
        password = desk.settings.pop("password")
        desk.secrets = {"password": password} if password else ""
        desk.save(using=schema_editor.connection.alias, update_fields=["settings", "secrets"])


class Migration(migrations.Migration):
    dependencies = [("ticketing", "0002_teams_and_trail")]
    operations = [migrations.RunPython(encrypt, migrations.RunPython.noop)]
