"""Whether all readers of a database give the answers that an independent one gives.

`asked` has the addresses and what must be answered, `readers` asks and compares; `run` puts them
together. `script/agree` is its command line.
"""
