"""The ledger of IDs that pods may hold, and the protocol by which an ID leaves its list."""
