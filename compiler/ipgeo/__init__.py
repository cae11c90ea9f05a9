"""ipgeo: compiles IP-geolocation sources into the blob that nginx and the fallback serve."""

__version__ = "0.1.0"
