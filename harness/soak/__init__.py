"""The oracle of live refresh: blobs are swapped under load, and every answer is judged.

`expected` builds the blobs and knows the answers of each; `traffic` asks; `timeline` has what was
published and what is known to be served; `judge` holds each answer against both; `client` keeps
connections busy; `swaps` publishes; `run` puts them together. `script/soak` is its command line.
"""
