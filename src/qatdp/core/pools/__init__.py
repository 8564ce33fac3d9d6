"""Pools: which VF is offered under which resource and in which state, and what an Allocate is answered."""
