"""The real device manager: the kubelet's own code in a program of its own (../devicemanager), as tests drive it.

Pods exist only on paper here. Plugins, their sockets, the kubelet's checkpoint and the podresources server are real.
"""
