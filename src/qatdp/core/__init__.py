"""The decisions of qatdp, as functions of values: no file, no clock, no network, no thread.

A node is a frozen `Snapshot`; `build_pools` turns it, the configuration and the ledger into one `ResourcePool` per
resource. Everything here can be tried without a machine.

model      what is known of a node: PCI addresses, PFs, VFs, IOMMU groups, and the families of QAT
health     verdicts on PFs, and the evidence for them
config     what a configuration may say, and what it says
release    the ledger of IDs that pods may hold, and the protocol by which an ID leaves its list
pools      which VF is offered under which resource, in which state, and what an Allocate is answered
status     reports of all of it, for people and programs
provision  which PF becomes what, in which steps, and when
"""
