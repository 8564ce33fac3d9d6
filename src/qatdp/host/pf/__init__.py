"""Writing: VFs are bound and PFs configured, each PF by a process of its own that may hang without anybody else."""
