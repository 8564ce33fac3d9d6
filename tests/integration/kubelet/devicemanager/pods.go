package main

import (
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// activePods are the pods that were not refused and have not ended, in the order of their coming. It is the
// podresources server's PodsProvider as well.
type activePods struct {
	mutex sync.Mutex
	pods  []*v1.Pod // replaced, never changed: a reader keeps what it got
	ended []*v1.Pod // as if nobody deleted them
}

func (a *activePods) GetActivePods() []*v1.Pod {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.pods
}

// GetPods is what versions list that do not leave out pods that have ended.
func (a *activePods) GetPods() []*v1.Pod {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return append(append([]*v1.Pod{}, a.pods...), a.ended...)
}

func (a *activePods) GetPodByName(namespace, name string) (*v1.Pod, bool) {
	pod := a.find(func(pod *v1.Pod) bool { return pod.Namespace == namespace && pod.Name == name })
	return pod, pod != nil
}

func (a *activePods) byUID(uid types.UID) *v1.Pod {
	return a.find(func(pod *v1.Pod) bool { return pod.UID == uid })
}

// find returns nil where there is none.
func (a *activePods) find(is func(*v1.Pod) bool) *v1.Pod {
	for _, pod := range a.GetActivePods() {
		if is(pod) {
			return pod
		}
	}
	return nil
}

func (a *activePods) add(pod *v1.Pod) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.pods = append(without(a.pods, pod.UID), pod)
}

// end takes the pod of this UID out; nothing where there is none.
func (a *activePods) end(uid types.UID) {
	if pod := a.byUID(uid); pod != nil {
		a.remove(uid)
		a.mutex.Lock()
		defer a.mutex.Unlock()
		a.ended = append(without(a.ended, uid), pod)
	}
}

// remove takes out the pod of this UID, as if it had never been.
func (a *activePods) remove(uid types.UID) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.pods = without(a.pods, uid)
}

func without(pods []*v1.Pod, uid types.UID) []*v1.Pod {
	others := make([]*v1.Pod, 0, len(pods)+1)
	for _, pod := range pods {
		if pod.UID != uid {
			others = append(others, pod)
		}
	}
	return others
}

// containers returns the pod's containers in the order in which the kubelet gives them their devices.
func containers(pod *v1.Pod) []*v1.Container {
	all := []*v1.Container{}
	for i := range pod.Spec.InitContainers {
		all = append(all, &pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		all = append(all, &pod.Spec.Containers[i])
	}
	return all
}
