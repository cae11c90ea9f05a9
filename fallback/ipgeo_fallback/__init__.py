"""The fallback: a Flask application that answers from the same blob as the edge, by the same rules.

nginx passes a request on to it when it cannot answer itself. The contract is in the README; one
table of tests holds both servers against it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask

from ipgeo_fallback import api
from ipgeo_fallback.forwarded import Forwarded
from ipgeo_fallback.holder import Holder
from ipgeo_fallback.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["create_app", "holder_of", "warm_up"]

_HOLDER = "ipgeo_holder"


class _Application(Flask):
    """Flask, but for any host: it would refuse names that nginx has let pass."""

    def wsgi_app(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        environ["HTTP_HOST"] = "localhost"
        return super().wsgi_app(environ, start_response)


def create_app(settings: Settings | None = None) -> Flask:
    """Return the application; without ``settings`` they come from the environment.

    A blob that is missing or damaged does not raise: the log says why, lookups answer 503, and it
    is looked for again.
    """
    settings = settings or Settings.from_environment()
    app = _Application(__name__, static_folder=None)
    # //api/ip_query is another path, not a redirection.
    app.url_map.merge_slashes = False
    holder = Holder(settings.blob, settings.refresh_interval)
    app.extensions[_HOLDER] = holder
    api.install(app, holder, settings)
    app.wsgi_app = Forwarded(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]
    holder.view()
    return app


def holder_of(app: Flask) -> Holder:
    """Return the holder of an application's blob."""
    holder = app.extensions[_HOLDER]
    if not isinstance(holder, Holder):
        raise TypeError("not an application of create_app")
    return holder


def warm_up(app: Flask) -> None:
    """Make the application import all that Python and Flask import on first use only.

    For a process that is about to give up the right to read where they are installed.
    """
    client = app.test_client()
    for method in ("GET", "POST", "OPTIONS"):
        client.open("/api/ip_query?ip=0.0.0.0", method=method)
