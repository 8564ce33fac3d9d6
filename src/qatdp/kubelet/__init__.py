"""The edge to the kubelet: serves each resource's pool on its own socket, registers it, and reads the kubelet's state.

This folder translates and calls; what is in a list, and what a request gets, is decided in core/.
"""
