//! Real `kubectl` against the server over loopback HTTP, with no flag that a real cluster would
//! not need. Skipped with a note where there is no `kubectl`.

use std::{
    fs,
    io::Read as _,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use kube_sim::KubeSim;
use runtime::{Clock, Randomness, Tasks};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A served cluster and a home directory in which `kubectl` finds it.
struct Cluster {
    sim: KubeSim,
    tasks: Tasks,
    home: tempfile::TempDir,
}

/// What one run of `kubectl` said.
struct Said {
    ok: bool,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
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

impl Cluster {
    /// Serves a cluster that knows the kind `Widget`; `None` where there is no `kubectl`.
    async fn start() -> Option<Self> {
        if kubectl_is_missing() {
            return None;
        }
        let sim = KubeSim::new(Clock::system(), Randomness::seeded(1));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let (server, stopper) = (sim.clone(), tasks.clone());
        tasks.spawn("api server", async move {
            server.serve(listener, &stopper).await;
        });
        let home = tempfile::tempdir().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "sim",
            "clusters": [{"name": "sim", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "sim", "user": {}}],
            "contexts": [{"name": "sim", "context": {"cluster": "sim", "user": "sim"}}],
        });
        fs::create_dir(home.path().join(".kube")).unwrap();
        fs::write(home.path().join(".kube/config"), config.to_string()).unwrap();
        let cluster = Self { sim, tasks, home };
        cluster.good(&["apply", "-f", &cluster.file("crd.yaml", WIDGET_CRD)]);
        Some(cluster)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.home.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(args)
            .env_remove("KUBECONFIG")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env("HOME", self.home.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Said {
        self.command(args).output().unwrap().into()
    }

    /// Runs `kubectl`, which must succeed without a warning; answers what it printed.
    fn good(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert!(said.ok, "kubectl {args:?}: {}{}", said.out, said.err);
        assert!(
            !said.err.contains("Warning"),
            "kubectl {args:?}: {}",
            said.err
        );
        said.out
    }

    /// Runs `kubectl`, which must fail; answers its error.
    fn bad(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert!(!said.ok, "kubectl {args:?} succeeded: {}", said.out);
        said.err
    }

    fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
        serde_json::from_str(&self.good(&args)).unwrap()
    }

    /// Starts `kubectl` and leaves it running.
    fn start_command(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

fn pause(millis: u64) {
    // A child process needs real time to connect.
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(millis));
}

/// Waits for a child that ends by itself within 20 s, and kills one that does not.
fn finish(mut child: Child) -> Said {
    for _ in 0..200 {
        if child.try_wait().unwrap().is_some() {
            return child.wait_with_output().unwrap().into();
        }
        pause(100);
    }
    child.kill().unwrap();
    let said: Said = child.wait_with_output().unwrap().into();
    panic!("kubectl did not end: {}{}", said.out, said.err);
}

/// Kills a child that would watch for ever; answers what it had printed.
fn cut(mut child: Child) -> String {
    child.kill().unwrap();
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    child.wait().unwrap();
    text
}

const WIDGET_CRD: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.example.com
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, shortNames: [wd], categories: [things]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.count, statusReplicasPath: .status.count}
    additionalPrinterColumns:
    - {name: Count, type: integer, jsonPath: .spec.count}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Colour, type: string, jsonPath: .spec.colour, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        description: A thing that is counted.
        type: object
        required: [spec]
        properties:
          spec:
            description: What is wanted.
            type: object
            required: [count]
            x-kubernetes-validations:
            - {rule: 'self.count <= self.limit', message: count must not be above limit}
            properties:
              count: {type: integer, format: int32, minimum: 0, description: How many are wanted.}
              limit: {type: integer, format: int32, default: 10, description: Most there may be.}
              colour: {type: string, enum: [red, green], default: green, description: Its paint.}
              tags: {type: array, items: {type: string}, description: Words.}
          status:
            type: object
            x-kubernetes-preserve-unknown-fields: true
"#;

const WIDGET: &str = "
apiVersion: example.com/v1
kind: Widget
metadata: {name: one, labels: {app: a}}
spec: {count: 3}
";

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: example.com/web:1
        ports: [{containerPort: 80}]
        resources: {requests: {cpu: 100m, memory: 64Mi}}
";

const NODE: &str = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}"#;

const NODE_STATUS: &str = r#"{"status": {
  "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ok"}],
  "nodeInfo": {"kubeletVersion": "v1.33.1"},
  "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
  "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_objects_are_applied_printed_and_changed() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let widget = cluster.file("widget.yaml", WIDGET);
    assert_eq!(
        cluster.good(&["apply", "-f", &widget]),
        "widget.example.com/one created\n"
    );
    assert_eq!(
        cluster.good(&["apply", "-f", &widget]),
        "widget.example.com/one unchanged\n"
    );
    let four = cluster.file("four.yaml", &WIDGET.replace("count: 3", "count: 4"));
    assert_eq!(
        cluster.good(&["apply", "-f", &four]),
        "widget.example.com/one configured\n"
    );

    let table = cluster.good(&["get", "wd"]);
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["NAME", "COUNT", "READY", "AGE"]);
    assert_eq!(lines[1][..2], ["one", "4"]);
    assert!(
        cluster
            .good(&["get", "widgets.example.com", "-o", "wide"])
            .contains("COLOUR")
    );
    assert!(cluster.good(&["get", "things"]).contains("one"));
    assert!(
        cluster
            .good(&["describe", "wd", "one"])
            .contains("Colour:  green")
    );

    cluster.good(&[
        "patch",
        "wd",
        "one",
        "--type",
        "merge",
        "-p",
        r#"{"spec":{"colour":"red"}}"#,
    ]);
    let pointer = r#"[{"op":"replace","path":"/spec/limit","value":5}]"#;
    cluster.good(&["patch", "wd", "one", "--type", "json", "-p", pointer]);
    cluster.good(&["scale", "wd", "one", "--replicas", "2"]);
    cluster.good(&["label", "wd", "one", "x=y"]);
    cluster.good(&["annotate", "wd", "one", "note=text"]);
    let object = cluster.json(&["get", "wd", "-l", "x=y"])["items"][0].clone();
    assert_eq!(
        object["spec"],
        json!({"colour": "red", "count": 2, "limit": 5})
    );
    assert_eq!(object["metadata"]["annotations"]["note"], json!("text"));

    // Applying again takes back what was applied, and leaves what others set.
    cluster.good(&["apply", "-f", &widget]);
    let object = cluster.json(&["get", "wd", "one"]);
    assert_eq!(
        object["spec"],
        json!({"colour": "red", "count": 3, "limit": 5})
    );
    assert_eq!(object["metadata"]["labels"], json!({"app": "a", "x": "y"}));

    let status = r#"{"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#;
    cluster.good(&[
        "patch",
        "wd",
        "one",
        "--subresource=status",
        "--type",
        "merge",
        "-p",
        status,
    ]);
    assert!(cluster.good(&["get", "wd", "one"]).contains("True"));
    cluster.good(&["replace", "-f", &four]);
    assert_eq!(
        cluster.json(&["get", "wd", "one"])["spec"]["count"],
        json!(4)
    );
    assert!(
        cluster
            .bad(&["create", "-f", &widget])
            .contains("AlreadyExists")
    );
    assert_eq!(
        cluster.good(&["delete", "-f", &widget]),
        "widget.example.com \"one\" deleted\n"
    );
    assert!(
        cluster
            .bad(&["get", "wd", "one"])
            .contains("widgets.example.com \"one\" not found")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_objects_are_refused_with_the_field_that_is_wrong() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    for (spec, words) in [
        ("{count: 3, foo: 1}", "unknown field \"spec.foo\""),
        (
            "{count: 30}",
            "spec: Invalid value: count must not be above limit",
        ),
        (
            "{count: -1}",
            "spec.count: Invalid value: -1: spec.count in body should be greater than or equal to 0",
        ),
        (
            "{count: x}",
            "spec.count: Invalid value: \"string\": spec.count in body must be of type integer: \"string\"",
        ),
        ("{}", "spec.count: Required value"),
        (
            "{count: 1, colour: blue}",
            "Unsupported value: \"blue\": supported values: \"red\", \"green\"",
        ),
    ] {
        let text = WIDGET.replace("{count: 3}", spec);
        let error = cluster.bad(&["apply", "-f", &cluster.file("bad.yaml", &text)]);
        assert!(error.contains(words), "{spec}: {error}");
    }
    let lenient = cluster.file("bad.yaml", &WIDGET.replace("count: 3", "count: 3, foo: 1"));
    cluster.good(&["apply", "--validate=false", "-f", &lenient]);
    let said = cluster.run(&[
        "apply",
        "--validate=warn",
        "-f",
        &cluster.file("w.yaml", &WIDGET.replace("count: 3", "count: 2, foo: 2")),
    ]);
    assert!(
        said.ok && said.err.contains("Warning: unknown field \"spec.foo\""),
        "{}",
        said.err
    );
    assert!(
        cluster.json(&["get", "wd", "one"])["spec"]
            .get("foo")
            .is_none()
    );

    let broken = WIDGET_CRD
        .replace("self.count <=", "self.cuont <=")
        .replace("widgets", "gadgets");
    let error = cluster.bad(&["apply", "-f", &cluster.file("broken.yaml", &broken)]);
    assert!(
        error.contains("x-kubernetes-validations[0].rule") && error.contains("cuont"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_side_apply_owns_fields_and_reports_conflicts() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let widget = cluster.file("widget.yaml", WIDGET);
    let four = cluster.file("four.yaml", &WIDGET.replace("count: 3", "count: 4"));
    let said = cluster.good(&["apply", "--server-side", "-f", &widget]);
    assert_eq!(said, "widget.example.com/one serverside-applied\n");
    let error = cluster.bad(&[
        "apply",
        "--server-side",
        "--field-manager=other",
        "-f",
        &four,
    ]);
    assert!(
        error.contains("conflict with \"kubectl\"") && error.contains(".spec.count"),
        "{error}"
    );
    cluster.good(&[
        "apply",
        "--server-side",
        "--field-manager=other",
        "--force-conflicts",
        "-f",
        &four,
    ]);
    assert_eq!(
        cluster.json(&["get", "wd", "one"])["spec"]["count"],
        json!(4)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployments_are_applied_scaled_patched_and_waited_for() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let file = cluster.file("deploy.yaml", DEPLOYMENT);
    assert_eq!(
        cluster.good(&["apply", "-f", &file]),
        "deployment.apps/web created\n"
    );
    assert_eq!(
        cluster.good(&["apply", "-f", &file]),
        "deployment.apps/web unchanged\n"
    );
    let other = cluster.file("other.yaml", &DEPLOYMENT.replace("web:1", "web:2"));
    assert_eq!(
        cluster.good(&["apply", "-f", &other]),
        "deployment.apps/web configured\n"
    );
    cluster.good(&["scale", "deployment", "web", "--replicas", "5"]);
    let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"b"}]}]}}}}"#;
    cluster.good(&["patch", "deploy", "web", "-p", patch]);
    cluster.good(&["set", "image", "deploy/web", "web=example.com/web:3"]);
    let object = cluster.json(&["get", "deploy", "web"]);
    assert_eq!(object["spec"]["replicas"], json!(5));
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], json!("example.com/web:3"));
    assert_eq!(container["env"], json!([{"name": "A", "value": "b"}]));
    assert!(cluster.good(&["get", "deploy"]).contains("0/5"));
    assert!(
        cluster
            .good(&["describe", "deploy", "web"])
            .contains("5 desired")
    );

    let waiting = cluster.start_command(&["rollout", "status", "deploy", "web", "--timeout=15s"]);
    let condition = cluster.start_command(&[
        "wait",
        "--for=condition=Available",
        "deploy/web",
        "--timeout=15s",
    ]);
    pause(500);
    let generation = &object["metadata"]["generation"];
    let status = json!({"status": {
        "observedGeneration": generation, "replicas": 5, "updatedReplicas": 5,
        "readyReplicas": 5, "availableReplicas": 5,
        "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "ok"}],
    }})
    .to_string();
    cluster.good(&[
        "patch",
        "deploy",
        "web",
        "--subresource=status",
        "--type",
        "merge",
        "-p",
        &status,
    ]);
    let said = finish(waiting);
    assert!(
        said.ok && said.out.contains("successfully rolled out"),
        "{}{}",
        said.out,
        said.err
    );
    let said = finish(condition);
    assert!(
        said.ok && said.out.contains("condition met"),
        "{}{}",
        said.out,
        said.err
    );
    assert!(cluster.good(&["get", "deploy", "web"]).contains("5/5"));
    cluster.good(&["rollout", "restart", "deploy", "web"]);
    cluster.good(&["delete", "deploy", "web"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_cordoned_tainted_described_and_drained() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    cluster.good(&["create", "-f", &cluster.file("node.json", NODE)]);
    cluster.good(&[
        "patch",
        "node",
        "n1",
        "--subresource=status",
        "--type",
        "merge",
        "-p",
        NODE_STATUS,
    ]);
    cluster.good(&["cordon", "n1"]);
    assert!(
        cluster
            .good(&["get", "nodes"])
            .contains("Ready,SchedulingDisabled")
    );
    cluster.good(&["uncordon", "n1"]);
    assert!(
        !cluster
            .good(&["get", "nodes"])
            .contains("SchedulingDisabled")
    );
    cluster.good(&["taint", "node", "n1", "a=b:NoSchedule"]);
    assert!(
        cluster
            .good(&["describe", "node", "n1"])
            .contains("a=b:NoSchedule")
    );
    cluster.good(&["taint", "node", "n1", "a-"]);
    cluster.good(&["label", "node", "n1", "node-role.kubernetes.io/worker="]);
    let table = cluster.good(&["get", "no", "-o", "wide"]);
    assert!(
        table.contains("worker") && table.contains("v1.33.1"),
        "{table}"
    );

    let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}"#;
    cluster.good(&["create", "-f", &cluster.file("pod.json", pod)]);
    let table = cluster.good(&["get", "pods", "-o", "wide"]);
    assert!(
        table.contains("0/1") && table.contains("Pending"),
        "{table}"
    );
    assert!(cluster.good(&["describe", "pod", "p"]).contains("Image:"));
    cluster.good(&["delete", "pod", "p"]);
    let said = cluster.run(&["drain", "n1", "--timeout=10s"]);
    assert!(
        said.ok && said.out.contains("drained"),
        "{}{}",
        said.out,
        said.err
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_wait_for_finalizers() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    cluster.good(&["apply", "-f", &cluster.file("widget.yaml", WIDGET)]);
    let keep = r#"{"metadata":{"finalizers":["example.com/keep"]}}"#;
    cluster.good(&["patch", "wd", "one", "--type", "merge", "-p", keep]);
    let error = cluster.bad(&["delete", "wd", "one", "--timeout=1s"]);
    assert!(error.contains("timed out"), "{error}");
    assert!(cluster.json(&["get", "wd", "one"])["metadata"]["deletionTimestamp"].is_string());
    let gone = cluster.start_command(&["wait", "--for=delete", "wd/one", "--timeout=15s"]);
    let deleting = cluster.start_command(&["delete", "wd", "one", "--wait=true"]);
    pause(700);
    let release = r#"{"metadata":{"finalizers":null}}"#;
    cluster.good(&["patch", "wd", "one", "--type", "merge", "-p", release]);
    for child in [gone, deleting] {
        let said = finish(child);
        assert!(said.ok, "{}{}", said.out, said.err);
    }
    assert!(cluster.bad(&["get", "wd", "one"]).contains("not found"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_print_rows_as_they_happen() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    cluster.good(&["apply", "-f", &cluster.file("widget.yaml", WIDGET)]);
    let widgets = cluster.start_command(&["get", "wd", "-w"]);
    let events = cluster.start_command(&["get", "events", "-w"]);
    pause(1_000);
    cluster.good(&["scale", "wd", "one", "--replicas", "7"]);
    let uid = &cluster.json(&["get", "wd", "one"])["metadata"]["uid"];
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"apiVersion": "example.com/v1", "kind": "Widget", "name": "one", "namespace": "default", "uid": uid},
        "type": "Normal", "reason": "Counted", "message": "seven of them", "count": 1,
        "firstTimestamp": "2024-01-01T00:00:00Z", "lastTimestamp": "2024-01-01T00:00:00Z",
    });
    cluster.sim.insert(event).unwrap();
    pause(1_000);
    let (widgets, events) = (cut(widgets), cut(events));
    assert_eq!(widgets.matches("NAME").count(), 1, "{widgets}");
    let rows: Vec<Vec<&str>> = widgets
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!((rows[0][1], rows[1][1]), ("3", "7"), "{widgets}");
    assert!(
        events.contains("Counted")
            && events.contains("widget/one")
            && events.contains("seven of them"),
        "{events}"
    );
    assert!(
        cluster
            .good(&["describe", "wd", "one"])
            .contains("seven of them")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_finds_the_way_around() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let resources = cluster.good(&["api-resources"]);
    for name in ["widgets", "deployments", "poddisruptionbudgets", "leases"] {
        assert!(resources.contains(name), "{resources}");
    }
    assert!(cluster.good(&["api-versions"]).contains("example.com/v1"));
    assert!(cluster.good(&["version"]).contains("Server Version: v1.33"));
    let spec = cluster.good(&["explain", "wd.spec"]);
    assert!(
        spec.contains("How many are wanted.") && spec.contains("-required-"),
        "{spec}"
    );
    assert!(
        cluster
            .good(&["explain", "wd", "--recursive"])
            .contains("colour")
    );
    assert!(
        cluster
            .good(&["explain", "deployment"])
            .contains("KIND:       Deployment")
    );
    assert_eq!(cluster.good(&["get", "--raw", "/readyz"]), "ok");
    assert!(cluster.good(&["get", "ns"]).contains("kube-system"));
    assert!(
        cluster
            .good(&["get", "crd"])
            .contains("widgets.example.com")
    );
    assert!(
        cluster
            .bad(&["get", "nonsense"])
            .contains("doesn't have a resource type")
    );
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"k": "v"}}]}"#;
    cluster.good(&["apply", "-f", &cluster.file("list.json", list)]);
    assert_eq!(
        cluster.json(&["get", "cm"])["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    cluster.good(&["delete", "cm", "--all"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_made_by_create_commands_arrive_whole() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    assert_eq!(cluster.good(&["auth", "can-i", "create", "pods"]), "yes\n");
    for command in [
        "create ns foo",
        "create configmap c --from-literal=a=b",
        "create secret generic s --from-literal=a=b",
        "create deployment d --image=x --replicas=3 --port=80",
        "create sa me",
        "create role r --verb=get --resource=pods",
        "create rolebinding rb --role=r --serviceaccount=default:me",
        "create pdb b --selector=app=d --min-available=50%",
        "create job j --image=x",
        "create priorityclass high --value=1000",
        "expose deployment d",
        "run p --image=x",
    ] {
        cluster.good(&command.split(' ').collect::<Vec<_>>());
    }
    let deployment = cluster.json(&["get", "deploy", "d"]);
    assert_eq!(deployment["spec"]["replicas"], json!(3));
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["ports"],
        json!([{"containerPort": 80, "protocol": "TCP"}])
    );
    assert_eq!(cluster.json(&["get", "cm", "c"])["data"], json!({"a": "b"}));
    assert_eq!(
        cluster.json(&["get", "secret", "s"])["data"],
        json!({"a": "Yg=="})
    );
    assert_eq!(
        cluster.json(&["get", "pdb", "b"])["spec"]["minAvailable"],
        json!("50%")
    );
    assert_eq!(cluster.json(&["get", "pc", "high"])["value"], json!(1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_namespace_ends_when_everything_in_it_is_gone() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    for round in 0..3 {
        cluster.good(&["create", "ns", "foo"]);
        cluster.good(&["create", "cm", "c", "-n", "foo"]);
        let said = finish(cluster.start_command(&["delete", "ns", "foo"]));
        assert!(
            said.ok && said.out == "namespace \"foo\" deleted\n",
            "round {round}: {}{}",
            said.out,
            said.err
        );
        assert!(cluster.bad(&["get", "ns", "foo"]).contains("not found"));
    }
    // A pod has its grace period: the deletion waits for the kubelet, here for the test.
    cluster.good(&["create", "ns", "foo"]);
    cluster.good(&["run", "p", "--image=x", "-n", "foo"]);
    let bind = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    cluster.good(&[
        "create",
        "--raw",
        "/api/v1/namespaces/foo/pods/p/binding",
        "-f",
        &cluster.file("binding.json", &bind.to_string()),
    ]);
    let deleting = cluster.start_command(&["delete", "ns", "foo"]);
    pause(1_000);
    assert!(
        cluster.json(&["get", "pod", "p", "-n", "foo"])["metadata"]["deletionTimestamp"]
            .is_string()
    );
    let forced = cluster.run(&["delete", "pod", "p", "-n", "foo", "--force"]);
    assert!(forced.ok, "{}", forced.err);
    let said = finish(deleting);
    assert!(said.ok, "{}{}", said.out, said.err);
    assert!(cluster.bad(&["get", "ns", "foo"]).contains("not found"));
}
