package main

import (
	"context"
	"fmt"
	"sort"

	corev1 "k8s.io/api/core/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/featuregate"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	schedulercache "k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/names"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodevolumelimits"
	"k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
)

// The filters that are on by default, but for DynamicResources, which only looks at pods with
// resource claims.
var filters = []string{
	names.InterPodAffinity,
	names.NodeAffinity,
	names.NodeDeclaredFeatures,
	names.NodeName,
	names.NodePorts,
	names.NodeResourcesFit,
	names.NodeUnschedulable,
	names.NodeVolumeLimits,
	names.PodTopologySpread,
	names.TaintToleration,
	names.VolumeBinding,
	names.VolumeRestrictions,
	names.VolumeZone,
}

// The gates on which the answers depend, as they are by default in the release this is built from.
var gates = map[featuregate.Feature]bool{
	features.NodeDeclaredFeatures:                    true,
	features.RestartAllContainersOnContainerExits:    true,
	features.PodLevelResources:                       true,
	features.InPlacePodLevelResourcesVerticalScaling: true,
	features.MatchLabelKeysInPodTopologySpread:       true,
	features.TaintTolerationComparisonOperators:      false,
	features.VolumeLimitScaling:                      false,
	features.StorageCapacityScoring:                  false,
	features.GangScheduling:                          false,
	features.DRANodeAllocatableResources:             false,
}

// A judge asks the plugins. They are built once; each cluster replaces what they look at.
type judge struct {
	ctx      context.Context
	plugins  []fwk.FilterPlugin
	snapshot *snapshot
	stores   stores
}

// A snapshot is what plugins see of nodes and running pods; they hold on to it for ever.
type snapshot struct {
	fwk.SharedLister
}

// Stores are what the plugins' listers read. Their informers never run.
type stores struct {
	nodes, namespaces, claims, volumes, classes, csiNodes, csiDrivers, attachments, capacities cache.Indexer
}

func newJudge() (*judge, error) {
	for gate, want := range gates {
		if utilfeature.DefaultFeatureGate.Enabled(gate) != want {
			return nil, fmt.Errorf("the feature gate %s is not %t by default", gate, want)
		}
	}
	metrics.Register()
	ctx := context.Background()
	client := fake.NewClientset()
	factory := informers.NewSharedInformerFactory(client, 0)
	shown := &snapshot{schedulercache.NewEmptySnapshot()}
	handle, err := runtime.NewFramework(ctx, nil, nil,
		runtime.WithClientSet(client),
		runtime.WithInformerFactory(factory),
		runtime.WithSnapshotSharedLister(shown),
		runtime.WithSharedCSIManager(nodevolumelimits.NewCSIManager(factory.Storage().V1().CSINodes().Lister())),
		runtime.WithParallelism(1),
	)
	if err != nil {
		return nil, err
	}
	built, err := defaultFilters(ctx, handle)
	if err != nil {
		return nil, err
	}
	core, storage := factory.Core().V1(), factory.Storage().V1()
	return &judge{
		ctx:      ctx,
		plugins:  built,
		snapshot: shown,
		stores: stores{
			nodes:       core.Nodes().Informer().GetIndexer(),
			namespaces:  core.Namespaces().Informer().GetIndexer(),
			claims:      core.PersistentVolumeClaims().Informer().GetIndexer(),
			volumes:     core.PersistentVolumes().Informer().GetIndexer(),
			classes:     storage.StorageClasses().Informer().GetIndexer(),
			csiNodes:    storage.CSINodes().Informer().GetIndexer(),
			csiDrivers:  storage.CSIDrivers().Informer().GetIndexer(),
			attachments: storage.VolumeAttachments().Informer().GetIndexer(),
			capacities:  storage.CSIStorageCapacities().Informer().GetIndexer(),
		},
	}, nil
}

// defaultFilters builds the filter plugins of the default profile with their default arguments.
func defaultFilters(ctx context.Context, handle framework.Framework) ([]fwk.FilterPlugin, error) {
	configuration, err := latest.Default()
	if err != nil {
		return nil, err
	}
	profile := configuration.Profiles[0]
	registry := plugins.NewInTreeRegistry()
	var built []fwk.FilterPlugin
	for _, enabled := range profile.Plugins.MultiPoint.Enabled {
		if enabled.Name == names.DynamicResources || enabled.Name == names.DefaultPreemption {
			// Neither can be built without parts of a scheduler that filters do not need.
			continue
		}
		factory, known := registry[enabled.Name]
		if !known {
			return nil, fmt.Errorf("there is no plugin %s", enabled.Name)
		}
		var arguments apiruntime.Object
		for _, given := range profile.PluginConfig {
			if given.Name == enabled.Name {
				arguments = given.Args
			}
		}
		plugin, err := factory(ctx, arguments, handle)
		if err != nil {
			return nil, fmt.Errorf("could not build %s: %w", enabled.Name, err)
		}
		if filter, ok := plugin.(fwk.FilterPlugin); ok {
			built = append(built, filter)
		}
	}
	sort.Slice(built, func(a, b int) bool { return built[a].Name() < built[b].Name() })
	for i, name := range filters {
		if i >= len(built) || built[i].Name() != name {
			return nil, fmt.Errorf("the default filters differ from %v", filters)
		}
	}
	if len(built) != len(filters) {
		return nil, fmt.Errorf("there are more default filters than %v", filters)
	}
	return built, nil
}

// verdicts judges each pending pod alone against the running ones.
func (j *judge) verdicts(c *cluster) ([]podVerdict, error) {
	known := map[string]bool{}
	for _, node := range c.nodes {
		known[node.Name] = true
	}
	var running, pending []*corev1.Pod
	for _, pod := range c.pods {
		switch {
		case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		case pod.Spec.NodeName == "":
			pending = append(pending, pod)
		case known[pod.Spec.NodeName]:
			running = append(running, pod)
		}
	}
	taken := schedulercache.NewSnapshot(running, c.nodes)
	j.snapshot.SharedLister = taken
	if err := j.show(c); err != nil {
		return nil, err
	}
	nodes, err := taken.NodeInfos().List()
	if err != nil {
		return nil, err
	}
	nodes = append([]fwk.NodeInfo(nil), nodes...)
	sort.Slice(nodes, func(a, b int) bool { return nodes[a].Node().Name < nodes[b].Node().Name })
	verdicts := make([]podVerdict, 0, len(pending))
	for _, pod := range pending {
		verdicts = append(verdicts, j.verdict(pod, nodes))
	}
	sort.Slice(verdicts, func(a, b int) bool { return verdicts[a].Pod < verdicts[b].Pod })
	return verdicts, nil
}

// verdict asks each plugin by itself, so that none hides another.
func (j *judge) verdict(pod *corev1.Pod, nodes []fwk.NodeInfo) podVerdict {
	result := podVerdict{Pod: pod.Namespace + "/" + pod.Name, Nodes: make([]nodeVerdict, len(nodes))}
	for i, node := range nodes {
		result.Nodes[i] = nodeVerdict{Node: node.Node().Name, Fits: true, Filters: []string{}}
	}
	for _, plugin := range j.plugins {
		refuses := j.refusals(plugin, pod, nodes)
		for i := range nodes {
			if refuses(i) {
				result.Nodes[i].Fits = false
				result.Nodes[i].Filters = append(result.Nodes[i].Filters, plugin.Name())
			}
		}
	}
	return result
}

// refusals runs a plugin's part before the nodes are looked at, and says how to ask for a node. A
// plugin that cannot tell refuses, as in the scheduler, where it ends the cycle.
func (j *judge) refusals(plugin fwk.FilterPlugin, pod *corev1.Pod, nodes []fwk.NodeInfo) func(int) bool {
	state := framework.NewCycleState()
	if first, ok := plugin.(fwk.PreFilterPlugin); ok {
		chosen, status := first.PreFilter(j.ctx, state, pod, nodes)
		if status.IsSkip() {
			return func(int) bool { return false }
		}
		if !status.IsSuccess() {
			return func(int) bool { return true }
		}
		if !chosen.AllNodes() {
			return func(i int) bool {
				return !chosen.NodeNames.Has(nodes[i].Node().Name) ||
					!plugin.Filter(j.ctx, state, pod, nodes[i]).IsSuccess()
			}
		}
	}
	return func(i int) bool { return !plugin.Filter(j.ctx, state, pod, nodes[i]).IsSuccess() }
}

// show makes the objects what the plugins' listers give.
func (j *judge) show(c *cluster) error {
	return first(
		replace(j.stores.nodes, c.nodes),
		replace(j.stores.namespaces, c.namespaces),
		replace(j.stores.claims, c.claims),
		replace(j.stores.volumes, c.volumes),
		replace(j.stores.classes, c.classes),
		replace(j.stores.csiNodes, c.csiNodes),
		replace(j.stores.csiDrivers, c.csiDrivers),
		replace(j.stores.attachments, c.attachments),
		replace(j.stores.capacities, c.capacities),
	)
}

func replace[T any](store cache.Indexer, objects []*T) error {
	items := make([]any, len(objects))
	for i := range objects {
		items[i] = objects[i]
	}
	return store.Replace(items, "")
}

func first(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}
