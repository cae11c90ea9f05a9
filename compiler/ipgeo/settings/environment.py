"""The settings from the environment, and the contract's defaults for those not set."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from ipgeo.contract import (
    BODY_BYTES_OVERHEAD,
    BODY_BYTES_PER_ADDRESS,
    MIN_BODY_LIMIT,
    SETTING_BY_NAME,
)
from ipgeo.settings.checks import Network, check


class Environment:
    """The settings of one environment. Each is checked when it is read: SettingError names it.

    An empty variable counts as not set.
    """

    def __init__(self, root: Path, variables: Mapping[str, str] = os.environ) -> None:
        """Read ``variables``; ``root`` is where defaults such as ``var`` begin."""
        self._root = root
        self._variables = variables

    def text(self, name: str) -> str:
        """Return what is set, or the default, as an operator would write it."""
        return self._variables.get(name) or self._default(SETTING_BY_NAME[name].default)

    def _default(self, text: str) -> str:
        if text == "{BODY_LIMIT}":
            return str(default_body_limit(self.integer("IPGEO_BATCH_LIMIT")))
        text = text.replace("{ROOT}", str(self._root))
        return (
            text.replace("{IPGEO_VAR}", self.string("IPGEO_VAR")) if "{IPGEO_VAR}" in text else text
        )

    def integer(self, name: str) -> int:
        """Return a number, or a size in bytes."""
        return cast("int", check(name, self.text(name)))

    def seconds(self, name: str) -> float:
        """Return a number of seconds."""
        return cast("float", check(name, self.text(name)))

    def string(self, name: str) -> str:
        """Return a word or an absolute path; of a log it may be "-" or "" too."""
        return cast("str", check(name, self.text(name)))

    def entries(self, name: str) -> tuple[str, ...]:
        """Return the entries of a list of addresses."""
        return cast("tuple[str, ...]", check(name, self.text(name)))

    def networks(self, name: str) -> tuple[Network, ...]:
        """Return the networks of a list."""
        return cast("tuple[Network, ...]", check(name, self.text(name)))


def default_body_limit(batch_limit: int) -> int:
    """Return the default body limit in bytes: the longest batch fits into it."""
    return max(MIN_BODY_LIMIT, batch_limit * BODY_BYTES_PER_ADDRESS + BODY_BYTES_OVERHEAD)
