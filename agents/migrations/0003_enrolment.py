import core.scope
import django.db.models.deletion
import pghistory.utils
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0002_teams_trail_and_search'),
        ('tenancy', '0002_teams_trail_and_search'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='agent',
            name='agent_public_key',
        ),
        migrations.CreateModel(
            name='AgentBoot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('boot', models.UUIDField()),
                ('counter', models.PositiveBigIntegerField()),
                ('agent', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='boots', to='agents.agent')),
                ('team', models.ForeignKey(db_index=False, default=core.scope.current_team_id, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.team')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'constraints': [models.UniqueConstraint(fields=('team', 'agent', 'boot'), name='agentboot_once')],
            },
        ),
        migrations.CreateModel(
            name='EnrolmentToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60)),
                ('digest', models.CharField(editable=False, max_length=64)),
                ('uses_left', models.PositiveIntegerField(default=1)),
                ('needs_approval', models.BooleanField(default=False)),
                ('created', models.DateTimeField(auto_now_add=True)),
                ('expires', models.DateTimeField()),
                ('created_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('team', models.ForeignKey(db_index=False, default=core.scope.current_team_id, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.team')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'constraints': [models.UniqueConstraint(fields=('team', 'digest'), name='enrolmenttoken_digest')],
            },
        ),
        migrations.CreateModel(
            name='LegacyToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60)),
                ('digest', models.CharField(editable=False, max_length=64)),
                ('networks', models.JSONField(blank=True, default=list)),
                ('created', models.DateTimeField(auto_now_add=True)),
                ('last_used', models.DateTimeField(editable=False, null=True)),
                ('created_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('team', models.ForeignKey(db_index=False, default=core.scope.current_team_id, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.team')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'constraints': [models.UniqueConstraint(fields=('team', 'digest'), name='legacytoken_digest')],
            },
        ),
        migrations.CreateModel(
            name='EnrolmentTokenAuditEvent',
            fields=[
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('pgh_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('pgh_before', models.JSONField(null=True)),
                ('pgh_context', pghistory.utils.JSONField(null=True)),
                ('id', models.BigIntegerField()),
                ('name', models.CharField(max_length=60)),
                ('needs_approval', models.BooleanField(default=False)),
                ('created', models.DateTimeField(auto_now_add=True)),
                ('expires', models.DateTimeField()),
                ('created_by', models.ForeignKey(db_constraint=False, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to=settings.AUTH_USER_MODEL)),
                ('pgh_obj', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='audit_events', to='agents.enrolmenttoken')),
                ('team', models.ForeignKey(db_constraint=False, db_index=False, editable=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='tenancy.team')),
            ],
            options={
                'abstract': False,
                'indexes': [models.Index(fields=['team', 'pgh_created_at', 'pgh_id'], name='enrolmenttokenevent_at'), models.Index(fields=['team', 'pgh_obj', 'pgh_created_at', 'pgh_id'], name='enrolmenttokenevent_obj')],
            },
        ),
        migrations.CreateModel(
            name='LegacyTokenAuditEvent',
            fields=[
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('pgh_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('pgh_before', models.JSONField(null=True)),
                ('pgh_context', pghistory.utils.JSONField(null=True)),
                ('id', models.BigIntegerField()),
                ('name', models.CharField(max_length=60)),
                ('networks', models.JSONField(blank=True, default=list)),
                ('created', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(db_constraint=False, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to=settings.AUTH_USER_MODEL)),
                ('pgh_obj', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='audit_events', to='agents.legacytoken')),
                ('team', models.ForeignKey(db_constraint=False, db_index=False, editable=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='tenancy.team')),
            ],
            options={
                'abstract': False,
                'indexes': [models.Index(fields=['team', 'pgh_created_at', 'pgh_id'], name='legacytokenevent_at'), models.Index(fields=['team', 'pgh_obj', 'pgh_created_at', 'pgh_id'], name='legacytokenevent_obj')],
            },
        ),
        migrations.AddField(
            model_name='agent',
            name='back',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='agent',
            name='booted',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='agent',
            name='holdtime_s',
            field=models.PositiveIntegerField(default=300),
        ),
        migrations.AddField(
            model_name='agent',
            name='interfaces',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='agent',
            name='interval_s',
            field=models.PositiveIntegerField(default=60),
        ),
        migrations.AddField(
            model_name='agent',
            name='maintenance',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='agent',
            name='model',
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.AddField(
            model_name='agent',
            name='os',
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.AddField(
            model_name='agent',
            name='ports',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='agent',
            name='registered',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='agent',
            name='reported',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='agent',
            name='serial',
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.AddField(
            model_name='agent',
            name='state',
            field=models.CharField(choices=[('enrolled', 'Enrolled'), ('waiting', 'Waiting for approval'), ('revoked', 'Revoked'), ('legacy', 'Legacy')], default='enrolled', max_length=10),
        ),
        migrations.AddField(
            model_name='agent',
            name='tunnel_port',
            field=models.PositiveIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='agentauditevent',
            name='holdtime_s',
            field=models.PositiveIntegerField(default=300),
        ),
        migrations.AddField(
            model_name='agentauditevent',
            name='maintenance',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='agentauditevent',
            name='state',
            field=models.CharField(choices=[('enrolled', 'Enrolled'), ('waiting', 'Waiting for approval'), ('revoked', 'Revoked'), ('legacy', 'Legacy')], default='enrolled', max_length=10),
        ),
        migrations.AddField(
            model_name='agent',
            name='token',
            field=models.ForeignKey(db_constraint=False, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='agents.enrolmenttoken'),
        ),
        migrations.AddConstraint(
            model_name='agent',
            constraint=models.UniqueConstraint(condition=models.Q(('public_key', '')), fields=('team', 'serial', 'hostname'), name='agent_legacy'),
        ),
        migrations.AddConstraint(
            model_name='agent',
            constraint=models.UniqueConstraint(condition=models.Q(('public_key', ''), _negated=True), fields=('public_key',), name='agent_key_once'),
        ),
        migrations.AddConstraint(
            model_name='agent',
            constraint=models.UniqueConstraint(fields=('tunnel_port',), name='agent_tunnel_port'),
        ),
    ]
