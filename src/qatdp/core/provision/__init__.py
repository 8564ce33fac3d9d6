"""Provisioning: which PF becomes what, in which steps, and when nobody has its VFs."""
