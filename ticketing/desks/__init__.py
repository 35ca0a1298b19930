"""Desk drivers: one folder each, whose `Driver` is found by the folder's name. Delete the folder and it is gone."""

import pkgutil
from functools import cache
from importlib import import_module

from django.core.exceptions import ValidationError

from ticketing.desks.base import Driver


@cache
def drivers() -> dict[str, type[Driver]]:
    """Every driver by the name of its folder."""
    folders = [module.name for module in pkgutil.iter_modules(__path__) if module.ispkg]
    return {name: import_module(f"{__name__}.{name}").Driver for name in sorted(folders)}


def driver(name: str) -> type[Driver]:
    """One driver; raises ValidationError on `driver`, with the names there are."""
    try:
        return drivers()[name]
    except (KeyError, TypeError):
        raise ValidationError({"driver": f"{name!r} is not a driver: use one of {', '.join(drivers())}."}) from None
