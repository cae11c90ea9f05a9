"""All exceptions of ipgeo have one base class."""

import inspect
import pkgutil
from importlib import import_module

import click

import ipgeo
from ipgeo.errors import IpgeoError


def test_every_exception_of_ipgeo_derives_from_its_base() -> None:
    names = [module.name for module in pkgutil.walk_packages(ipgeo.__path__, "ipgeo.")]
    found = {
        value
        for module in map(import_module, names)
        for _, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and issubclass(value, Exception)
    }
    own = {error for error in found if not issubclass(error, click.ClickException)}
    assert len(own) > 3
    assert [error for error in own if not issubclass(error, IpgeoError)] == []
