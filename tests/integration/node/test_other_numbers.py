"""VFs have other IOMMU groups than before while pods have them: whose node a pod was given, that VF's nobody else gets,
and no container is started with it.

The pods open nothing, as VFs that are open are not taken away. The kernel uses the lowest free number for a group
(ida_alloc in iommu_group_alloc), so VFs that go together and come in another order have one another's numbers.
"""

from collections.abc import Sequence

from ground import pfs
from ground.books import read_books
from ground.daemon import Daemon
from ground.given import Given, all_vfs, free_of, give
from ground.node import CY, DC, Node
from ground.pods import NAMES, Container, kill
from ground.probe import names
from ground.view import View
from ground.waiting import throughout, until, until_equal

STAYS_S = 5


def one_of_each(node: Node) -> tuple[Given, Given]:
    """Return a pod with a VF for crypto and one with a VF for compression, which are of different PFs."""
    return give(node, CY, pfs.group_node), give(node, DC, pfs.group_node)


def make_anew(given: Sequence[Given]) -> None:
    """Take the VFs of their PFs away, and bring those with the highest numbers back first."""
    theirs = [pfs.pf_of(one.vf) for one in sorted(given, key=lambda one: int(one.node.name), reverse=True)]
    for pf in theirs:
        pfs.bring_down(pf)
    for pf in theirs:
        pfs.bring_up(pf)
    for one in given:
        assert one.owner != one.vf, f"{one.vf} has the group that it had before"


def test_pods_whose_vfs_have_changed_groups_are_started_no_more_and_nobody_gets_what_they_were_given(
    node: Node, daemon: Daemon, view: View
) -> None:
    given = one_of_each(node)
    make_anew(given)
    until_equal("what is nobody's is offered", view.offered, free_of(given))
    until("the kubelet is to ask before a start", lambda: are_guarded(daemon))
    for one in given:
        one.pod.kill_container()
    until("starts are refused, with the reason", lambda: all(one.is_refused() for one in given))
    offered = read_books().offered  # also of a resource that has gone: the kubelet refuses who wants 0 of it
    rest = {resource: len(offered[resource] & free_of(given)) for resource in (CY, DC)}
    all_others = node.pods.put(Container(limits=rest, command=NAMES), name="others")
    assert names(all_others) == free_of(given)
    throughout("nothing of theirs runs", lambda: any(one.pod.containers() for one in given), False, duration_s=STAYS_S)
    all_others.delete()
    for one in given:
        one.pod.delete()
    until_equal("all VFs are offered", view.offered, frozenset(all_vfs()))
    check_new_pods(node)


def test_after_a_boot_with_other_numbers_no_pod_is_started_by_what_it_was_given_before(
    node: Node, daemon: Daemon, view: View
) -> None:
    """The checkpoint is what it was, nothing runs any more, and VFs are found in another order."""
    given = one_of_each(node)
    ran, cgroups = [one.pod.log() for one in given], [one.pod.cgroup() for one in given]
    node.kubelet.kill()
    daemon.kill()
    for cgroup in cgroups:
        kill(cgroup)
    make_anew(given)
    assert read_books().holdings, "the checkpoint has them"
    daemon.start()
    node.kubelet.start()
    until("the kubelet has looked at its pods", lambda: all(one.pod.seen() for one in given))
    until("VFs are offered", view.offered)
    throughout("nothing of theirs runs", lambda: any(one.pod.containers() for one in given), False, duration_s=STAYS_S)
    assert [one.pod.log() for one in given] == ran
    for one in given:
        one.pod.delete()
    until_equal("all VFs are offered", view.offered, frozenset(all_vfs()))
    check_new_pods(node)


def check_new_pods(node: Node) -> None:
    """See that whoever comes is given what is right."""
    pod = node.pods.put(Container(limits={CY: 3, DC: 3}), name="again")
    report = node.prove(pod)
    assert len(report.addresses) == 6 and not report.failures
    pod.delete()


def are_guarded(daemon: Daemon) -> bool:
    """Return whether both resources were registered once more than at the start."""
    return all(daemon.log().count(f"registered resource={resource} ") > 1 for resource in (CY, DC))
