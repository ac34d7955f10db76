package main

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	podapi "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/core"
	coreconversion "k8s.io/kubernetes/pkg/apis/core/v1"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/storage"
	storageconversion "k8s.io/kubernetes/pkg/apis/storage/v1"
	storagevalidation "k8s.io/kubernetes/pkg/apis/storage/validation"
)

// Whether the API server would have accepted an object: its own validation, as on creation.

func validNode(node *corev1.Node) error {
	var internal core.Node
	if err := coreconversion.Convert_v1_Node_To_core_Node(node, &internal, nil); err != nil {
		return err
	}
	return wrong(corevalidation.ValidateNode(&internal))
}

func validPod(pod *corev1.Pod) error {
	var internal core.Pod
	if err := coreconversion.Convert_v1_Pod_To_core_Pod(pod, &internal, nil); err != nil {
		return err
	}
	options := podapi.GetValidationOptionsFromPodSpecAndMeta(&internal.Spec, nil, &internal.ObjectMeta, nil)
	options.ResourceIsPod = true
	return wrong(corevalidation.ValidatePodCreate(&internal, options))
}

func validNamespace(namespace *corev1.Namespace) error {
	var internal core.Namespace
	if err := coreconversion.Convert_v1_Namespace_To_core_Namespace(namespace, &internal, nil); err != nil {
		return err
	}
	return wrong(corevalidation.ValidateNamespace(&internal))
}

func validClaim(claim *corev1.PersistentVolumeClaim) error {
	var internal core.PersistentVolumeClaim
	if err := coreconversion.Convert_v1_PersistentVolumeClaim_To_core_PersistentVolumeClaim(claim, &internal, nil); err != nil {
		return err
	}
	options := corevalidation.ValidationOptionsForPersistentVolumeClaimCreate()
	return wrong(corevalidation.ValidatePersistentVolumeClaim(&internal, options))
}

func validVolume(volume *corev1.PersistentVolume) error {
	var internal core.PersistentVolume
	if err := coreconversion.Convert_v1_PersistentVolume_To_core_PersistentVolume(volume, &internal, nil); err != nil {
		return err
	}
	options := corevalidation.ValidationOptionsForPersistentVolume(&internal, nil)
	return wrong(corevalidation.ValidatePersistentVolume(&internal, options))
}

func validClass(class *storagev1.StorageClass) error {
	var internal storage.StorageClass
	if err := storageconversion.Convert_v1_StorageClass_To_storage_StorageClass(class, &internal, nil); err != nil {
		return err
	}
	return wrong(storagevalidation.ValidateStorageClass(&internal))
}

func validCSINode(node *storagev1.CSINode) error {
	var internal storage.CSINode
	if err := storageconversion.Convert_v1_CSINode_To_storage_CSINode(node, &internal, nil); err != nil {
		return err
	}
	return wrong(storagevalidation.ValidateCSINode(&internal))
}

func validCSIDriver(driver *storagev1.CSIDriver) error {
	var internal storage.CSIDriver
	if err := storageconversion.Convert_v1_CSIDriver_To_storage_CSIDriver(driver, &internal, nil); err != nil {
		return err
	}
	return wrong(storagevalidation.ValidateCSIDriver(&internal))
}

func validAttachment(attachment *storagev1.VolumeAttachment) error {
	var internal storage.VolumeAttachment
	if err := storageconversion.Convert_v1_VolumeAttachment_To_storage_VolumeAttachment(attachment, &internal, nil); err != nil {
		return err
	}
	return wrong(storagevalidation.ValidateVolumeAttachment(&internal))
}

func validCapacity(capacity *storagev1.CSIStorageCapacity) error {
	var internal storage.CSIStorageCapacity
	if err := storageconversion.Convert_v1_CSIStorageCapacity_To_storage_CSIStorageCapacity(capacity, &internal, nil); err != nil {
		return err
	}
	return wrong(storagevalidation.ValidateCSIStorageCapacity(&internal, storagevalidation.CSIStorageCapacityValidateOptions{}))
}

func wrong(errors field.ErrorList) error {
	return errors.ToAggregate()
}
