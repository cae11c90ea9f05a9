"""The program ``ipgeo-compile``: commands over the library."""
