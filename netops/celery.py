"""The Celery application. Tasks are shared_task in each room's tasks.py."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "netops.settings")
app = Celery("netops")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
