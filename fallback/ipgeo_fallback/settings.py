"""The settings that the application needs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ipgeo.settings.checks import Network
from ipgeo.settings.environment import Environment

_ROOT = Path(__file__).resolve().parents[2]
_DEFAULTS = Environment(_ROOT, {})


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that the application needs.

    ``blob`` is None if not set; ``body_limit`` is the largest request body, in bytes;
    ``batch_limit`` the most addresses in one request; ``refresh_interval`` the seconds between
    checks of the blob's file; ``trusted_proxies`` the peers whose X-Forwarded-For is trusted.
    """

    blob: Path | None
    body_limit: int = _DEFAULTS.integer("IPGEO_BODY_LIMIT")
    batch_limit: int = _DEFAULTS.integer("IPGEO_BATCH_LIMIT")
    refresh_interval: float = _DEFAULTS.seconds("IPGEO_REFRESH_INTERVAL")
    trusted_proxies: tuple[Network, ...] = ()

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Read IPGEO_BLOB, _BATCH_LIMIT, _BODY_LIMIT, _REFRESH_INTERVAL and _TRUSTED_PROXIES.

        An empty one is not set. SettingError names one that is not valid. IPGEO_BLOB has no default
        here: gunicorn.conf.py sets it.
        """
        environment = Environment(_ROOT, variables)
        blob = variables.get("IPGEO_BLOB")
        return cls(
            blob=Path(environment.string("IPGEO_BLOB")) if blob else None,
            body_limit=environment.integer("IPGEO_BODY_LIMIT"),
            batch_limit=environment.integer("IPGEO_BATCH_LIMIT"),
            refresh_interval=environment.seconds("IPGEO_REFRESH_INTERVAL"),
            trusted_proxies=environment.networks("IPGEO_TRUSTED_PROXIES"),
        )
