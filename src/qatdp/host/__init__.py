"""The edge to the kernel. It reads, binds and writes; what the answers mean is decided in core.

calls   the few things that are asked of the kernel's files, in C and in Python
pf      the processes that bind VFs and configure PFs
"""
