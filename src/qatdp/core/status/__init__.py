"""Reports of what the daemon knows, as values that pages, metrics and `qatdp devices` show."""
