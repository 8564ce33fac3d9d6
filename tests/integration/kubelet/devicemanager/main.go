// Command devicemanager is the kubelet's device manager without its kubelet, driven by a test.
//
// The manager (pkg/kubelet/cm/devicemanager), the topology manager that admits pods and the podresources server are the
// kubelet's own code, put together as its container manager does (cm/container_manager_linux.go). Pods exist only on
// paper, and nothing else of the kubelet is here: no runtime, no node status, no predicates.
//
// It reads one command a line on stdin and writes one answer a line on stdout, both JSON objects (commands.go). The end
// of stdin ends it like SIGKILL. The manager's log goes to stderr, and a panic of it as well: nothing here recovers.
//
// Which versions there are is the folders' names; each has the calls that differ.
//
// The paths below /var/lib/kubelet are compiled into the kubelet: run this in a mount namespace.
package main

import (
	"context"
	"flag"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/kubelet/cm/containermap"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
)

type program struct {
	ctx      context.Context
	log      klog.Logger
	manager  *manager
	topology topologymanager.Manager
	pods     activePods
	listed   []*listedPods // by the sockets of podresources
	sources  sources
	answers  answers
}

// sources tells the manager whether all sources of pods have been heard since the start (config.SourcesReady). Before
// that it forgets no pod.
type sources struct{ ready atomic.Bool }

func (s *sources) AddSource(string) {}

func (s *sources) AllReady() bool { return s.ready.Load() }

func main() {
	nodes := flag.Int("numa-nodes", 2, "NUMA nodes of the machine")
	policy := flag.String("policy", topologymanager.PolicyNone, "topology manager policy, of scope container")
	ready := flag.Bool("sources-ready", true, "whether the sources of pods are ready from the start")
	running := flag.String("running", "", "POD_UID/CONTAINER,... that the runtime reports as running at the start")
	also := flag.String("pod-resources-also", "", "another socket for podresources, by which to know who calls List")
	klog.InitFlags(nil)
	flag.Parse()

	p := &program{ctx: context.Background(), log: klog.Background()}
	p.sources.ready.Store(*ready)
	p.start(*nodes, *policy, *running)
	for _, socket := range append([]string{podResourcesSocket}, strings.Fields(*also)...) {
		p.listed = append(p.listed, &listedPods{activePods: &p.pods, socket: socket})
	}
	for _, pods := range p.listed {
		go p.servePodResources(pods)
		wait(pods.socket)
	}
	p.answers.write(answer{
		"event":      "ready",
		"kubernetes": version("k8s.io/kubernetes"),
		"grpc":       version("google.golang.org/grpc"),
		"word":       os.Getenv("WORD"), // how a test knows that this very process answered
	})
	p.serve(os.Stdin)
}

// start brings up the manager; its registration socket accepts when this returns.
func (p *program) start(nodes int, policy, running string) {
	var machine []numaNode
	for id := range nodes {
		machine = append(machine, numaNode{Id: id})
	}
	var err error
	p.topology, err = newTopology(p.log, machine, policy)
	check(err)
	p.manager, err = newManager(p.log, machine, p.topology)
	check(err)
	check(p.startManager(reported(running)))
}

// reported returns what the runtime would tell the kubelet of these containers at its start.
func reported(running string) (containermap.ContainerMap, sets.Set[string]) {
	containers, ids := containermap.NewContainerMap(), sets.New[string]()
	for _, id := range strings.FieldsFunc(running, func(r rune) bool { return r == ',' }) {
		pod, container, _ := strings.Cut(id, "/")
		containers.Add(pod, container, id)
		ids.Insert(id)
	}
	return containers, ids
}

// version returns the version of a module that was linked into this program.
func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return strings.TrimPrefix(dependency.Version, "v")
		}
	}
	return ""
}

// wait returns once the socket accepts: after a kill an old one lies there that does not.
func wait(socket string) {
	for {
		if connection, err := net.Dial("unix", socket); err == nil {
			connection.Close()
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func check(err error) {
	if err != nil {
		klog.ErrorS(err, "Cannot start")
		os.Exit(1)
	}
}
