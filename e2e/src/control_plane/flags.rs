//! The components' command lines, from the settings, the directory and the ports. Nothing is left to
//! the machine: every file lies in the run's directory, every listener is on loopback.

use std::path::Path;

use super::{Component, Ports, settings::Settings};

/// First the component's name, then its flags.
pub(super) fn of(
    component: Component,
    settings: &Settings,
    root: &Path,
    ports: Ports,
) -> Vec<String> {
    let mut flags = vec![component.name().to_owned()];
    flags.extend(match component {
        Component::Etcd => etcd(root, ports),
        Component::ApiServer => api_server(settings, root, ports),
        Component::Scheduler => client(component, root, ports.scheduler),
        Component::ControllerManager => controller_manager(settings, root, ports),
    });
    let further = settings.flags.iter();
    flags.extend(
        further
            .filter(|(of, _)| *of == component)
            .map(|(_, flag)| flag.clone()),
    );
    flags
}

fn etcd(root: &Path, ports: Ports) -> Vec<String> {
    let clients = format!("http://127.0.0.1:{}", ports.etcd);
    let peers = format!("http://127.0.0.1:{}", ports.etcd_peers);
    vec![
        format!("--data-dir={}", root.join("etcd").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
        // Killed, it loses nothing that was written; only the machine's end would matter.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

fn api_server(settings: &Settings, root: &Path, ports: Ports) -> Vec<String> {
    let at = |name: &str| root.join(name).display().to_string();
    let key = at("service-account.key");
    let toleration = settings.lifecycle.toleration.as_secs();
    vec![
        format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
        format!("--secure-port={}", ports.api_server),
        "--bind-address=127.0.0.1".into(),
        // It makes its own serving certificate there, and keeps it over a restart.
        format!("--cert-dir={}", at(Component::ApiServer.name())),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--token-auth-file={}", at("tokens.csv")),
        "--authorization-mode=RBAC".into(),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        // Pods need no token volume: nobody runs their containers.
        "--disable-admission-plugins=ServiceAccount".into(),
        "--allow-privileged=true".into(),
        "--endpoint-reconciler-type=none".into(),
        format!("--default-not-ready-toleration-seconds={toleration}"),
        format!("--default-unreachable-toleration-seconds={toleration}"),
        format!("--audit-policy-file={}", at("audit-policy.yaml")),
        format!("--audit-log-path={}", at("audit.log")),
        // One file for the whole run.
        "--audit-log-maxsize=100000".into(),
        "--audit-log-mode=blocking".into(),
    ]
}

/// The flags of a component that is a client of the API server and serves its health itself.
fn client(component: Component, root: &Path, port: u16) -> Vec<String> {
    let kubeconfig = super::access::kubeconfig_path(root, &format!("system:{component}"));
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--leader-elect=false".into(),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".into(),
        format!("--cert-dir={}", root.join(component.name()).display()),
        "--authentication-skip-lookup=true".into(),
    ]
}

fn controller_manager(settings: &Settings, root: &Path, ports: Ports) -> Vec<String> {
    let component = Component::ControllerManager;
    let lifecycle = settings.lifecycle;
    let mut flags = client(component, root, ports.controller_manager);
    flags.extend([
        format!(
            "--service-account-private-key-file={}",
            root.join("service-account.key").display()
        ),
        // Each controller with its own rights, as clusters have it; the audit log tells them apart.
        "--use-service-account-credentials=true".into(),
        // Its default is a folder of the system's, which it makes.
        format!(
            "--flex-volume-plugin-dir={}",
            root.join("volume-plugins").display()
        ),
        "--controllers=*,-nodeipam,-route,-service,-cloud-node-lifecycle".into(),
        format!(
            "--node-monitor-period={}ms",
            lifecycle.monitor_period.as_millis()
        ),
        format!(
            "--node-monitor-grace-period={}ms",
            lifecycle.monitor_grace.as_millis()
        ),
        format!(
            "--node-startup-grace-period={}ms",
            lifecycle.startup_grace.as_millis()
        ),
    ]);
    flags
}
