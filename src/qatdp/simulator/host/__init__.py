"""A simulated /sys and /dev, for daemons and for processes beside them."""
