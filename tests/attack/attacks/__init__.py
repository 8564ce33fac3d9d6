"""What somebody who wishes the daemon ill, or an agent that knows no better, can do to it: one module each.

Each is a program that says in one line of JSON what it tried, how often, and whether the daemon held. It knows of the
daemon its command line, its sockets and the files of a simulated node. tests/attack/run runs them.
"""
