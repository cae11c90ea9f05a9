"""MaxMind DB (``.mmdb``): MaxMind-DB-spec.md 2.0.

Layout: the search tree, 16 zero bytes, the data section, a marker, the metadata. All integers are
big-endian.

=============  ================================================================================
``metadata``   what the file says about itself, found from its end
``tree``       the search tree as runs of addresses
``decode``     values of the data section
``reader``     the whole file: runs and records
``records``    records of MaxMind, DB-IP, IPinfo and lists made like theirs as standard fields
``source``     the records as locations, in the languages asked for
=============  ================================================================================
"""
