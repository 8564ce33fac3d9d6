"""Verdicts on PFs, as a table, and the evidence that they rest on."""
