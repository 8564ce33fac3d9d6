"""The configuration: its model, how plain values are read into it, its JSON schema, and what it says in words."""
