package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// command is a line of stdin. Which of the fields matter after the first two depends on the command.
type command struct {
	ID         int64     `json:"id"` // comes back in the answer; answers can overtake one another
	Command    string    `json:"command"`
	Pod        *v1.Pod   `json:"pod"` // as in the API, with its UID
	UID        types.UID `json:"uid"`
	Container  string    `json:"container"`
	Ready      bool      `json:"ready"`
	IntervalUS int64     `json:"interval_us"`
	DurationMS int64     `json:"duration_ms"`
}

// answer is a line of stdout: "id" and "ok", with ok=false "error", else what the command says.
type answer map[string]any

type answers struct{ sync.Mutex }

func (a *answers) write(what answer) {
	a.Lock()
	defer a.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(what) // where it fails nobody is left to tell
}

// serve carries out commands until stdin ends. Admissions run one after the other, as under the kubelet's allocation
// mutex (allocation/allocation_manager.go), and beside all else: a plugin may take its time over Allocate.
func (p *program) serve(stdin io.Reader) {
	admissions := make(chan command, 4096)
	go func() {
		for c := range admissions {
			p.reply(c, p.admit)
		}
	}()
	quick := map[string]func(command) (answer, error){
		"remove": p.remove, "delete": p.delete, "sources": p.setSources, "capacity": p.capacity, "status": p.status,
		"lists": p.lists, "stop": p.stop,
	}
	slow := map[string]func(command) (answer, error){"options": p.options, "sample": p.sample}
	lines := bufio.NewReader(stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		c := command{}
		err = json.Unmarshal(line, &c)
		switch {
		case err == nil && c.Command == "admit" && c.Pod != nil:
			admissions <- c
		case err == nil && quick[c.Command] != nil:
			p.reply(c, quick[c.Command])
		case err == nil && slow[c.Command] != nil:
			go p.reply(c, slow[c.Command])
		default:
			p.answers.write(answer{"id": c.ID, "ok": false, "error": "not a command: " + string(line)})
		}
		if c.Command == "stop" {
			return
		}
	}
}

func (p *program) reply(c command, do func(command) (answer, error)) {
	result := answer{"id": c.ID, "ok": true}
	found, err := do(c)
	if err != nil {
		result["ok"], result["error"] = false, err.Error()
	}
	maps.Copy(result, found)
	p.answers.write(result)
}

// admit does what the kubelet does with a new pod (Kubelet.HandlePodAdditions), as far as devices go: the pod counts as
// active, then each container in turn, init containers first, is given what its limits say; a refused pod is not active.
// When it began and ended is by CLOCK_MONOTONIC in seconds: all calls of the plugin that it led to lie between the two.
func (p *program) admit(c command) (answer, error) {
	began := monotonic()
	others := without(p.pods.GetActivePods(), c.Pod.UID)
	p.pods.add(c.Pod)
	result := p.admission(c.Pod, others)
	times := []float64{began, monotonic()}
	if !result.Admit {
		p.pods.remove(c.Pod.UID)
		return answer{"reason": result.Reason, "times_s": times}, errors.New(result.Message)
	}
	devices := map[string]map[string][]string{}
	for _, container := range containers(c.Pod) {
		devices[container.Name] = map[string][]string{}
		for resource, given := range p.manager.GetDevices(string(c.Pod.UID), container.Name) {
			devices[container.Name][resource] = sets.List(sets.KeySet(given))
		}
	}
	return answer{"devices": devices, "times_s": times}, nil
}

// remove makes the pod inactive and tells the manager nothing: as in the kubelet, it finds out when it next looks.
func (p *program) remove(c command) (answer, error) {
	p.pods.end(c.UID)
	return nil, nil
}

// delete is remove of a pod that nobody keeps in the API, as one that was deleted by force: its containers may run on.
func (p *program) delete(c command) (answer, error) {
	p.pods.remove(c.UID)
	return nil, nil
}

// options asks what the kubelet asks before each start of a container.
func (p *program) options(c command) (answer, error) {
	if pod := p.pods.byUID(c.UID); pod != nil {
		for _, container := range containers(pod) {
			if container.Name == c.Container {
				options, err := p.runOptions(pod, container)
				return answer{"options": options}, err
			}
		}
	}
	return nil, errors.New("no such container in an active pod")
}

// status returns what the manager adds to the status of a pod: the health of each device.
func (p *program) status(c command) (answer, error) {
	pod := p.pods.byUID(c.UID)
	if pod == nil {
		return nil, errors.New("no such active pod")
	}
	status := v1.PodStatus{}
	for _, container := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, v1.ContainerStatus{Name: container.Name})
	}
	p.manager.addHealth(pod, &status)
	return answer{"status": status}, nil
}

// capacity tells what the node's status would, and the healthy IDs; the manager gives no others away.
func (p *program) capacity(command) (answer, error) {
	healthy := map[string][]string{}
	for resource, devices := range p.manager.allocatable() {
		healthy[resource] = sets.List(sets.KeySet(devices))
	}
	return answer{"resources": p.counts(), "healthy": healthy}, nil
}

type counts struct {
	Capacity    int64 `json:"capacity"`
	Allocatable int64 `json:"allocatable"`
}

func (p *program) counts() map[string]counts {
	found := map[string]counts{}
	capacity, allocatable := p.manager.counted()
	for resource, all := range capacity {
		healthy := allocatable[resource]
		found[string(resource)] = counts{all.Value(), healthy.Value()}
	}
	return found
}

// sample tells each change of the counts within a time, by CLOCK_MONOTONIC in seconds. The first is what it found.
func (p *program) sample(c command) (answer, error) {
	changes := []answer{}
	var last map[string]counts
	for end := time.Now().Add(time.Duration(c.DurationMS) * time.Millisecond); time.Now().Before(end); {
		if found := p.counts(); last == nil || !maps.Equal(found, last) {
			changes = append(changes, answer{"at_s": monotonic(), "resources": found})
			last = found
		}
		time.Sleep(time.Duration(c.IntervalUS) * time.Microsecond)
	}
	return answer{"changes": changes}, nil
}

// monotonic returns CLOCK_MONOTONIC in seconds.
func monotonic() float64 {
	now := unix.Timespec{}
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return float64(now.Nano()) / 1e9
}

// lists tells when PodResources List was called since this was last asked, by CLOCK_MONOTONIC in seconds, by socket.
func (p *program) lists(command) (answer, error) {
	found := map[string][]float64{}
	for _, pods := range p.listed {
		found[pods.socket] = pods.taken()
	}
	return answer{"lists": found}, nil
}

// setSources says whether all sources of pods have been heard.
func (p *program) setSources(c command) (answer, error) {
	p.sources.ready.Store(c.Ready)
	return nil, nil
}

func (p *program) stop(command) (answer, error) { return nil, p.manager.stop() }
