// A whole Kubernetes control plane, and kubectl, in one program: the first argument says which.
//
// Nothing of ours decides anything here. The components are the released ones, called the way
// their own main functions call them. A component ends when its standard input ends, so that none
// outlives whoever started it, however that ended.
package main

import (
	"fmt"
	"io"
	"os"

	etcd "go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	component := ""
	if len(os.Args) > 1 {
		component = os.Args[1]
		// A component reads its flags from os.Args, and its own name from the first of them.
		os.Args = os.Args[1:]
	}
	switch component {
	case "etcd":
		go endWithInput()
		etcd.Main(os.Args)
	case "kube-apiserver":
		go endWithInput()
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-scheduler":
		go endWithInput()
		os.Exit(cli.Run(scheduler.NewSchedulerCommand()))
	case "kube-controller-manager":
		go endWithInput()
		os.Exit(cli.Run(controllers.NewControllerManagerCommand()))
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			// Prints the error the way kubectl does, and exits.
			kubectlutil.CheckErr(err)
		}
	case "service-account-key":
		key, err := keyutil.MakeEllipticPrivateKeyPEM()
		if err != nil {
			fail(err)
		}
		os.Stdout.Write(key)
	default:
		fail(fmt.Errorf("%q is none of etcd, kube-apiserver, kube-scheduler, kube-controller-manager, kubectl, service-account-key", component))
	}
}

func endWithInput() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(2)
}
