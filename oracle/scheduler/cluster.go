package main

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coredefaults "k8s.io/kubernetes/pkg/apis/core/v1"
	storagedefaults "k8s.io/kubernetes/pkg/apis/storage/v1"
	kjson "sigs.k8s.io/json"
)

// A cluster holds the objects that filters look at, defaulted as the API server would have.
//
// What the API server does besides defaulting is not done here: a pod's matchLabelKeys are not
// merged into its selectors, and no admission plugin runs. A stored object went through that.
type cluster struct {
	nodes       []*corev1.Node
	pods        []*corev1.Pod
	namespaces  []*corev1.Namespace
	claims      []*corev1.PersistentVolumeClaim
	volumes     []*corev1.PersistentVolume
	classes     []*storagev1.StorageClass
	csiNodes    []*storagev1.CSINode
	csiDrivers  []*storagev1.CSIDriver
	attachments []*storagev1.VolumeAttachment
	capacities  []*storagev1.CSIStorageCapacity
}

func decode(line []byte, strict bool) (*cluster, error) {
	var list struct {
		metav1.TypeMeta `json:",inline"`
		Items           []json.RawMessage `json:"items"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(line, &list); err != nil {
		return nil, fmt.Errorf("no List: %w", err)
	}
	if list.Kind != "List" {
		return nil, fmt.Errorf("kind %q is not List", list.Kind)
	}
	result := &cluster{}
	seen := map[string]bool{}
	for i, item := range list.Items {
		var kind metav1.TypeMeta
		if err := kjson.UnmarshalCaseSensitivePreserveInts(item, &kind); err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		object, err := result.add(kind, item, strict)
		if err != nil {
			return nil, fmt.Errorf("item %d, a %s: %w", i, kind.Kind, err)
		}
		if object == nil {
			continue
		}
		key := kind.Kind + " " + object.GetNamespace() + "/" + object.GetName()
		if seen[key] {
			return nil, fmt.Errorf("%s is given twice", key)
		}
		seen[key] = true
	}
	return result, nil
}

// add decodes one object; kinds that no filter looks at give nil.
func (c *cluster) add(kind metav1.TypeMeta, item []byte, strict bool) (metav1.Object, error) {
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 Node":
		return read(item, strict, &c.nodes, coredefaults.SetObjectDefaults_Node, validNode)
	case "v1 Pod":
		return read(item, strict, &c.pods, coredefaults.SetObjectDefaults_Pod, validPod)
	case "v1 Namespace":
		return read(item, strict, &c.namespaces, coredefaults.SetObjectDefaults_Namespace, validNamespace)
	case "v1 PersistentVolumeClaim":
		return read(item, strict, &c.claims, coredefaults.SetObjectDefaults_PersistentVolumeClaim, validClaim)
	case "v1 PersistentVolume":
		return read(item, strict, &c.volumes, coredefaults.SetObjectDefaults_PersistentVolume, validVolume)
	case "storage.k8s.io/v1 StorageClass":
		return read(item, strict, &c.classes, storagedefaults.SetObjectDefaults_StorageClass, validClass)
	case "storage.k8s.io/v1 CSINode":
		return read(item, strict, &c.csiNodes, func(*storagev1.CSINode) {}, validCSINode)
	case "storage.k8s.io/v1 CSIDriver":
		return read(item, strict, &c.csiDrivers, storagedefaults.SetObjectDefaults_CSIDriver, validCSIDriver)
	case "storage.k8s.io/v1 VolumeAttachment":
		return read(item, strict, &c.attachments, storagedefaults.SetObjectDefaults_VolumeAttachment, validAttachment)
	case "storage.k8s.io/v1 CSIStorageCapacity":
		return read(item, strict, &c.capacities, func(*storagev1.CSIStorageCapacity) {}, validCapacity)
	default:
		return nil, nil
	}
}

type object[T any] interface {
	*T
	metav1.Object
}

func read[T any, P object[T]](item []byte, strict bool, into *[]P, defaults func(P), valid func(P) error) (metav1.Object, error) {
	value := P(new(T))
	if strict {
		wrong, err := kjson.UnmarshalStrict(item, value)
		if err != nil {
			return nil, err
		}
		if len(wrong) > 0 {
			return nil, wrong[0]
		}
	} else if err := kjson.UnmarshalCaseSensitivePreserveInts(item, value); err != nil {
		return nil, err
	}
	if value.GetName() == "" {
		return nil, fmt.Errorf("it has no name")
	}
	defaults(value)
	if strict {
		if err := valid(value); err != nil {
			return nil, fmt.Errorf("%s: %w", value.GetName(), err)
		}
	}
	*into = append(*into, value)
	return value, nil
}
