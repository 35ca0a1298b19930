import pytest
from django.core.management import call_command
from django.db import connection

from netops.walls import raise_walls


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db(databases=["default", "owner"])
def test_the_walls_can_be_raised_again() -> None:
    raise_walls(using="owner")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT tablename) FROM pg_policies WHERE policyname = 'team'")
        policies, tables = cursor.fetchone()
    assert policies == tables > 20
