//! The process by itself, where the cluster cannot be reached: its endpoints, and how it stops.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

const UNREACHABLE: &str = "
apiVersion: v1
kind: Config
current-context: none
clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {}}]
";

fn pause() {
    // Another process needs real time.
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(100));
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The first line of the answer, and its body.
fn get(address: SocketAddr, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.lines().next()?.to_owned(), body.to_owned()))
}

/// Ends the process when a test fails.
struct Product(Child);

impl Drop for Product {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn without_a_cluster_the_process_is_alive_and_not_ready_and_ends_soon_when_asked_to() {
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = home.path().join("config");
    std::fs::write(&kubeconfig, UNREACHABLE).unwrap();
    let (metrics, health) = (free(), free());
    let mut product = Product(
        Command::new(env!("CARGO_BIN_EXE_vpsie-autoscaler"))
            .arg("run")
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--metrics-addr={metrics}"))
            .arg(format!("--health-addr={health}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let alive = (0..300).find_map(|_| {
        pause();
        get(health, "/healthz")
    });
    assert_eq!(alive.unwrap().0, "HTTP/1.1 200 OK");
    assert_eq!(
        get(health, "/readyz").unwrap().0,
        "HTTP/1.1 503 Service Unavailable"
    );
    let (status, text) = get(metrics, "/metrics").unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(text.contains("vpsie_autoscaler_leader 0"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");

    let asked = Command::new("kill")
        .args(["-TERM", &product.0.id().to_string()])
        .status()
        .unwrap();
    assert!(asked.success());
    // Nothing is under way: it need not wait as long as it would for a safe point.
    let ended = (0..45).find_map(|_| {
        pause();
        product.0.try_wait().unwrap()
    });
    assert_eq!(ended.expect("it ends soon").code(), Some(0));
}
