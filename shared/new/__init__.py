"""New systems and new contexts: renders the files of `templates/` and writes them, all or none.

The templates are data. Their example, a trip with a flight and a room, is known to no module of the machinery.
"""
