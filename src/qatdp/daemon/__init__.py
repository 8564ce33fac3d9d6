"""The composition root: everything meets here, on one event loop that owns all state, and nowhere else.

node.py     what is known of this node, and the feeds that come of it
release.py  establishes, one after the other, the facts by which IDs may leave their lists
look.py     scans and binds, in a thread of its own
run.py      the named tasks, their beginning and their end
"""
