"""The names of countries, and of China's provinces, by code: for sources that leave them out."""

from collections.abc import Sequence
from functools import cache

from babel import Locale, UnknownLocaleError

from ipgeo.places.built_in import CHINA, built_in, countries, province_names

_CHINESE = ("zh", "zh-CN", "zh-Hans")


def is_language(tag: str) -> bool:
    """Whether ``tag`` is a language as sources write it: ``en``, ``zh-CN``, ``pt-BR``."""
    return _locale(tag) is not None


@cache
def country_name(code: str, languages: Sequence[str]) -> str:
    """Return a country's name in the first of ``languages`` that has one, or ""."""
    return next((name for tag in languages if (name := _country(code, tag))), "")


@cache
def province_name(iso_code: str, languages: Sequence[str]) -> str:
    """Return the name of a province of China by its ISO 3166-2 code, or "".

    The tables have it in Chinese alone.
    """
    code = built_in().find((CHINA,), iso_code)
    chinese = not set(languages).isdisjoint(_CHINESE)
    return province_names()[code] if code and chinese else ""


def _country(code: str, tag: str) -> str | None:
    known = countries().get(code)
    if known and tag in _CHINESE:
        return known.chinese
    if known and tag == "en":
        return known.english
    locale = _locale(tag)
    return locale.territories.get(code) if locale else None


@cache
def _locale(tag: str) -> Locale | None:
    try:
        return Locale.parse(tag, sep="-")
    except (ValueError, UnknownLocaleError):
        return None
