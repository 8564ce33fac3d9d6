package main

import (
	api "k8s.io/kubelet/pkg/apis/podresources/v1"
	"k8s.io/kubernetes/pkg/kubelet/apis/podresources"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
)

const podResourcesSocket = "/var/lib/kubelet/pod-resources/kubelet.sock"

// servePodResources runs the kubelet's podresources server, with its rate limit, for ever.
func (p *program) servePodResources() {
	nothing := cm.NewStubContainerManager() // no CPUs of one's own, no memory blocks, no claims
	p.listenAndServe("unix://"+podResourcesSocket, podresources.PodResourcesProviders{
		Pods:             &p.pods,
		Devices:          &devicesProvider{p.manager},
		Cpus:             nothing,
		Memory:           nothing,
		DynamicResources: nothing,
	})
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
