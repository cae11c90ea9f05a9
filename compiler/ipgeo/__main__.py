"""`python -m ipgeo`: the same as the program `ipgeo-compile`."""

from ipgeo.cli import main

main(prog_name="ipgeo-compile")
