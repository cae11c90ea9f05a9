"""The fallback: a Flask application that answers from the same blob as the edge, by the same rules.

nginx passes on the requests that it cannot answer. The contract is in docs/http.md; one table of
tests holds both servers to it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask

from ipgeo_fallback import api
from ipgeo_fallback.forwarded import Forwarded
from ipgeo_fallback.settings import Settings
from ipgeo_fallback.shared_copy import SharedCopy
from ipgeo_fallback.store import BlobStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["create_app", "store_of", "warm_up"]

_STORE = "ipgeo_store"


class _Application(Flask):
    """Flask for any host name: it would refuse some that nginx accepts."""

    def wsgi_app(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        environ["HTTP_HOST"] = "localhost"
        return super().wsgi_app(environ, start_response)


def create_app(
    settings: Settings | None = None, shared: tuple[int, int, int] | None = None
) -> Flask:
    """Return the application; without ``settings`` they come from the environment.

    ``shared`` are the descriptors of the ``SharedCopy`` of several processes.

    A missing or damaged blob does not raise: the problem is logged, lookups answer 503, and the
    file is checked again later.
    """
    settings = settings or Settings.from_environment()
    app = _Application(__name__, static_folder=None)
    # //api/ip_query is another path, not a redirection.
    app.url_map.merge_slashes = False
    place = SharedCopy(shared) if shared else None
    store = BlobStore(settings.blob, settings.refresh_interval, place)
    app.extensions[_STORE] = store
    api.install(app, store, settings)
    app.wsgi_app = Forwarded(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]
    store.load_first()
    return app


def store_of(app: Flask) -> BlobStore:
    """Return the store of an application's blob."""
    store = app.extensions[_STORE]
    if not isinstance(store, BlobStore):
        raise TypeError("not an application of create_app")
    return store


def warm_up(app: Flask) -> None:
    """Make Python and Flask import now what they otherwise import on first use.

    For a process that is about to lose the right to read their installation.
    """
    client = app.test_client()
    for method in ("GET", "POST", "OPTIONS"):
        client.open("/api/ip_query?ip=0.0.0.0", method=method)
