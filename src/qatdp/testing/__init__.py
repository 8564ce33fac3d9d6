"""What tests of qatdp are written with; no part of what the daemon runs."""
