package main

import (
	"sync"

	v1 "k8s.io/api/core/v1"
	api "k8s.io/kubelet/pkg/apis/podresources/v1"
	"k8s.io/kubernetes/pkg/kubelet/apis/podresources"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
)

const podResourcesSocket = "/var/lib/kubelet/pod-resources/kubelet.sock"

// servePodResources runs the kubelet's podresources server, with its rate limit, for ever.
func (p *program) servePodResources(pods *listedPods) {
	nothing := cm.NewStubContainerManager() // no CPUs of one's own, no memory blocks, no claims
	p.listenAndServe("unix://"+pods.socket, podresources.PodResourcesProviders{
		Pods:             pods,
		Devices:          &devicesProvider{p.manager},
		Cpus:             nothing,
		Memory:           nothing,
		DynamicResources: nothing,
	})
}

// listedPods gives the pods to the server on one socket, and notes when it does: a List begins with asking for all of
// them, before it has the manager forget those that have ended, and nothing else asks for them here.
type listedPods struct {
	*activePods
	socket string
	mutex  sync.Mutex
	timesS []float64
}

func (l *listedPods) GetActivePods() []*v1.Pod {
	l.note()
	return l.activePods.GetActivePods()
}

func (l *listedPods) GetPods() []*v1.Pod {
	l.note()
	return l.activePods.GetPods()
}

func (l *listedPods) note() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.timesS = append(l.timesS, monotonic())
}

// taken returns when pods were asked for since it was last called.
func (l *listedPods) taken() []float64 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	taken := append([]float64{}, l.timesS...)
	l.timesS = nil
	return taken
}

// devicesProvider stands for the container manager, which only puts the device manager's answers into another form.
type devicesProvider struct{ *manager }

func (d *devicesProvider) GetDevices(podUID, container string) []*api.ContainerDevices {
	return listed(d.ManagerImpl.GetDevices(podUID, container))
}

// listed gives one entry for each device and, where it has a topology, for each NUMA node of it. The kubelet's own is
// not exported (containerDevicesFromResourceDeviceInstances in cm/container_manager.go).
func listed(resources devicemanager.ResourceDeviceInstances) []*api.ContainerDevices {
	var all []*api.ContainerDevices
	for resource, devices := range resources {
		for id, device := range devices {
			topologies := []*api.TopologyInfo{nil}
			if device.GetTopology() != nil {
				topologies = nil
				for _, node := range device.GetTopology().GetNodes() {
					nodes := []*api.NUMANode{{ID: node.GetID()}}
					topologies = append(topologies, &api.TopologyInfo{Nodes: nodes})
				}
			}
			for _, topology := range topologies {
				entry := &api.ContainerDevices{ResourceName: resource, DeviceIds: []string{id}, Topology: topology}
				all = append(all, entry)
			}
		}
	}
	return all
}
