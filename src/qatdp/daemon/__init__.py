"""The daemon: everything meets here, on one event loop that owns all state, and nowhere else.

app.py            makes the parts, ties them together, and starts them as named tasks
state.py          what is known of this node, and what comes of it
kubelet_state.py  what the kubelet has written down, and what it says
release_loop.py   establishes, one after the other, the facts by which IDs may leave their lists
scan_loop.py      scans and binds, in a thread of its own
"""
