//! Real `kubectl` against `demo --keep`, with no flag that a real cluster would not need. Skipped
//! with a note where there is no `kubectl`.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::Duration,
};

const SCENARIO: &str = r#"
name: tiny
description: One group of one node, and a second datacenter for who stays.
seed: 3
limit: 1h
settle: 1s
world:
  cloud:
    datacenters:
      - {}
      - {identifier: 5a1c1e0e-0d3c-4b7e-9f0a-1f6f00000002, id: 7, name: us-east-1, state: Virginia, country: United States}
    timings:
      queued: {low: 1s, high: 2s}
      creating: {low: 5s, high: 10s}
      joining: {low: 2s, high: 5s}
      readying: {low: 1s, high: 2s}
      deleting: {low: 1s, high: 3s}
manifests:
  - apiVersion: autoscaler.vpsie.com/v1alpha1
    kind: NodeGroup
    metadata:
      name: general
      namespace: kube-system
      labels: {autoscaler.vpsie.com/managed: "true"}
    spec:
      minNodes: 1
      maxNodes: 3
      datacenterID: HEL
      offeringIDs: [small-2cpu-4gb]
      scaleUpPolicy: {stabilizationWindowSeconds: 5}
      scaleDownPolicy: {stabilizationWindowSeconds: 600, cooldownSeconds: 5, enabled: true}
expect:
  - groupsAtMinimum
  - noLeakedMachines
"#;

/// The example that the requirements promise to accept as it is.
const EXAMPLE: &str = r#"
apiVersion: autoscaler.vpsie.com/v1alpha1
kind: NodeGroup
metadata: {name: general-purpose-nodes, namespace: kube-system, labels: {autoscaler.vpsie.com/managed: "true"}}
spec:
  minNodes: 2
  maxNodes: 10
  datacenterID: "us-east-1"
  offeringIDs: ["small-2cpu-4gb", "medium-4cpu-8gb"]
  osImageID: "ubuntu-22.04-lts"
  labels: {nodegroup: general-purpose, workload-type: stateless}
  taints: [{key: workload-type, value: general-purpose, effect: NoSchedule}]
  scaleUpPolicy: {stabilizationWindowSeconds: 60, cpuThreshold: 80, memoryThreshold: 80}
  scaleDownPolicy: {stabilizationWindowSeconds: 600, cpuThreshold: 50, memoryThreshold: 50, enabled: true}
  preferredInstanceType: "small-2cpu-4gb"
  allowMixedInstances: true
"#;

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: example.com/web:1, resources: {requests: {cpu: 900m}}}
";

/// How long a command may take, in real time.
const PATIENCE: u32 = 300;

/// A demo that stays up.
struct Demo {
    child: Child,
    /// Kept open: a demo that could not write would end.
    _stderr: BufReader<ChildStderr>,
    home: tempfile::TempDir,
    kubeconfig: String,
}

fn kubectl_is_missing() -> bool {
    let found = Command::new("kubectl")
        .args(["version", "--client"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let missing = !found.is_ok_and(|status| status.success());
    if missing {
        eprintln!("skipped: there is no kubectl on the PATH");
    }
    missing
}

fn pause(millis: u64) {
    // Another process needs real time.
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(millis));
}

impl Demo {
    /// Plays the short story to its end; what comes after is the caller's.
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let scenario = home.path().join("tiny.yaml");
        std::fs::write(&scenario, SCENARIO).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vpsie-autoscaler"))
            .args(["demo", "--keep", "--speed=20", "--output=json"])
            .arg(format!("--scenario={}", scenario.display()))
            .env("TMPDIR", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        let kubeconfig = loop {
            let from = told.len();
            let read = stderr.read_line(&mut told).unwrap();
            assert!(read > 0, "the demo ended: {told}");
            if let Some((_, path)) = told[from..].split_once("export KUBECONFIG=") {
                break path.trim().to_owned();
            }
        };
        Self {
            child,
            _stderr: stderr,
            home,
            kubeconfig,
        }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn spawn(&self, command: &str) -> Child {
        Command::new("kubectl")
            .args(command.split(' '))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs `kubectl`, which must succeed in time; answers what it printed.
    fn good(&self, command: &str) -> String {
        let output = ended(self.spawn(command), command);
        assert!(
            output.status.success(),
            "kubectl {command}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ended(mut child: Child, command: &str) -> Output {
    for _ in 0..PATIENCE {
        if child.try_wait().unwrap().is_some() {
            return child.wait_with_output().unwrap();
        }
        pause(100);
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    panic!(
        "kubectl {command} did not end: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// Ends a command that would watch for ever; answers what it had printed.
fn cut(mut child: Child) -> String {
    child.kill().unwrap();
    let mut printed = String::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut printed).unwrap();
    child.wait().unwrap();
    printed
}

#[test]
fn a_kept_demo_is_a_cluster_to_kubectl() {
    if kubectl_is_missing() {
        return;
    }
    let demo = Demo::start();
    let all = demo.good("get ng,vn,nodes,pods -A");
    for part in ["nodegroup", "vpsienode", "node/hel-", "pod/cni-", "Ready"] {
        assert!(all.contains(part), "no {part} in\n{all}");
    }
    demo.good("wait -n kube-system --for=condition=Ready ng/general --timeout=20s");

    // The example as it is becomes two nodes with its labels and taints.
    let example = demo.file("example.yaml", EXAMPLE);
    let applied = demo.good(&format!("apply -f {example}"));
    assert!(
        applied.ends_with("general-purpose-nodes created\n"),
        "{applied}"
    );
    let applied = demo.good(&format!("apply -f {example}"));
    assert!(
        applied.ends_with("general-purpose-nodes unchanged\n"),
        "{applied}"
    );
    demo.good("wait -n kube-system --for=condition=Ready ng/general-purpose-nodes --timeout=25s");
    let labelled = "-l nodegroup=general-purpose,workload-type=stateless";
    let nodes = demo.good(&format!("get nodes {labelled} -o name"));
    assert_eq!(nodes.lines().count(), 2, "{nodes}");
    let taints = demo.good(&format!(
        "get nodes {labelled} -o jsonpath={{.items[*].spec.taints[*].value}}"
    ));
    assert_eq!(taints, "general-purpose general-purpose");
    let described = demo.good("describe ng general-purpose-nodes -n kube-system");
    for part in [
        "us-east-1",
        "2 of 2 nodes are Ready",
        "ScaleUpTriggered",
        "to reach minNodes",
    ] {
        assert!(described.contains(part), "no {part} in\n{described}");
    }

    // More pods than there is room for: the product hears of it, and buys.
    let web = demo.file("web.yaml", DEPLOYMENT);
    demo.good(&format!("apply -f {web}"));
    let events = demo.spawn("get events -A -w");
    demo.good("scale deployment web --replicas=4");
    let rolled = demo.good("rollout status deployment web --timeout=25s");
    assert!(rolled.contains("successfully rolled out"), "{rolled}");
    demo.good("wait -n kube-system --for=condition=Ready ng/general --timeout=20s");
    let general = demo.good("get ng general -n kube-system -o jsonpath={.status.readyNodes}");
    assert_eq!(general, "2");
    pause(500);
    let events = cut(events);
    for part in ["FailedScheduling", "pending pods", "NodeReady"] {
        assert!(events.contains(part), "no {part} in\n{events}");
    }

    // Deleting a group waits until nothing of it is left, and touches no other.
    demo.good("delete ng general-purpose-nodes -n kube-system");
    assert_eq!(demo.good(&format!("get nodes {labelled} -o name")), "");
    let left = demo.good("get vn -A -o jsonpath={.items[*].spec.nodeGroupName}");
    assert_eq!(left, "general general");
    let pods = demo.good("get pods -o jsonpath={.items[*].status.phase}");
    assert_eq!(pods, "Running Running Running Running");
}
