"""The oracle of live refresh: blobs are swapped under load, and every answer is judged.

`truth` builds the blobs and knows what each owes; `traffic` asks; `board` says what was published
and what is known to be served; `judge` holds each answer against both; `client` keeps connections
busy; `swaps` publishes; `run` puts them together. `script/soak` is its command line.
"""
