// What the kubelet's packages want to be called with, of which each minor version has its own mind: 1.37.
package main

import (
	cadvisor "github.com/google/cadvisor/lib/model"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
	api "k8s.io/kubelet/pkg/apis/podresources/v1"
	"k8s.io/kubernetes/pkg/kubelet/apis/podresources"
	"k8s.io/kubernetes/pkg/kubelet/cm/containermap"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
	"k8s.io/kubernetes/pkg/kubelet/lifecycle"
	"k8s.io/kubernetes/pkg/kubelet/server"
)

type numaNode = cadvisor.Node

// manager has what this program asks of the device manager, in one form for all versions.
type manager struct {
	*devicemanager.ManagerImpl
	log klog.Logger
}

func newTopology(log klog.Logger, machine []numaNode, policy string) (topologymanager.Manager, error) {
	return topologymanager.NewManager(log, machine, policy, topologymanager.ContainerTopologyScope, nil)
}

func newManager(log klog.Logger, machine []numaNode, topology topologymanager.Manager) (*manager, error) {
	impl, err := devicemanager.NewManagerImpl(log, machine, topology)
	if err == nil {
		topology.AddHintProvider(log, impl)
	}
	return &manager{impl, log}, err
}

func (p *program) startManager(containers containermap.ContainerMap, running sets.Set[string]) error {
	return p.manager.Start(p.log, p.pods.GetActivePods, &p.sources, containers, running)
}

func (p *program) admission(pod *v1.Pod, others []*v1.Pod) lifecycle.PodAdmitResult {
	attributes := &lifecycle.PodAdmitAttributes{Pod: pod, OtherPods: others, Operation: lifecycle.AddOperation}
	return p.topology.Admit(p.ctx, attributes)
}

func (p *program) runOptions(pod *v1.Pod, container *v1.Container) (*devicemanager.DeviceRunContainerOptions, error) {
	return p.manager.GetDeviceRunContainerOptions(p.ctx, pod, container)
}

func (m *manager) addHealth(pod *v1.Pod, status *v1.PodStatus) {
	m.UpdateAllocatedResourcesStatus(m.log, pod, status)
}

func (m *manager) allocatable() devicemanager.ResourceDeviceInstances {
	return m.ManagerImpl.GetAllocatableDevices(m.log)
}

func (m *manager) counted() (v1.ResourceList, v1.ResourceList) {
	capacity, allocatable, _ := m.GetCapacity(m.log)
	return capacity, allocatable
}

func (m *manager) stop() error { return m.Stop(m.log) }

func (d *devicesProvider) GetAllocatableDevices(klog.Logger) []*api.ContainerDevices {
	return listed(d.allocatable())
}

func (p *program) listenAndServe(endpoint string, providers podresources.PodResourcesProviders) {
	server.ListenAndServePodResources(p.ctx, endpoint, providers)
}
