"""The Celery application. Tasks are shared_task in each room's tasks.py."""

import os
from typing import Any

import celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "netops.settings")


class Task(celery.Task):  # type: ignore[type-arg]
    """What a task changes says so in the audit trail."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from core.scope import acting

        with acting(door="task", name=self.name.rpartition(".")[2]):
            return super().__call__(*args, **kwargs)


app: "celery.Celery[Any]" = celery.Celery("netops", task_cls=Task)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
