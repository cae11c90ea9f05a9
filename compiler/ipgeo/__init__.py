"""ipgeo: compiles IP-geolocation sources into the blob that nginx and the fallback serve."""

from ipgeo.contract import VERSION

__version__ = VERSION
