"""The pages of a running daemon: probes, metrics and /status, for probes, Prometheus and people.

Everything shown is made of one frozen value (core/status/report.py), in memory: a page reads no hardware and waits for
nothing. Who looks may have the kubelet asked which pod has what, for the next look.

http.py       a server for a few small pages
listen.py     where it listens: an address, and a Unix socket that comes back
pages.py      which pages there are
rendering.py  a page that is made once a second at most, in a thread
text.py       the report as JSON
metrics.py    Prometheus' text; the only module that knows its client
client.py     asks a running daemon over its Unix socket
"""
