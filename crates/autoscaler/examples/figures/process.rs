//! The product as a child process, and what the kernel says about it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The running product; killed when dropped.
pub(crate) struct Product {
    child: Child,
    health_port: u16,
    files: PathBuf,
}

/// Memory in MiB.
pub(crate) struct Memory {
    pub(crate) resident: f64,
    /// What of it is no mapped file.
    pub(crate) anonymous: f64,
    pub(crate) peak: f64,
}

impl Product {
    /// Starts `executable`, or this program, against the API server on `kube_port`.
    pub(crate) async fn start(executable: Option<&Path>, kube_port: u16) -> Result<Self, String> {
        let files = std::env::temp_dir().join(format!("vpsie-autoscaler-figures-{kube_port}"));
        let failed = |error: std::io::Error| format!("{}: {error}", files.display());
        std::fs::create_dir_all(&files).map_err(failed)?;
        let kubeconfig = files.join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: figures\nclusters:\n- name: figures\n  cluster: {{server: 'http://127.0.0.1:{kube_port}'}}\ncontexts:\n- name: figures\n  context: {{cluster: figures, user: figures}}\nusers:\n- name: figures\n  user: {{}}\n"
        );
        std::fs::write(&kubeconfig, text).map_err(failed)?;
        let log = std::fs::File::create(files.join("log")).map_err(failed)?;
        // Free a moment ago; the product takes it at once.
        let (listener, health_port) = crate::listen().await?;
        drop(listener);
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let executable = executable.unwrap_or(&this);
        let child = Command::new(executable)
            .arg("run")
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--health-addr=127.0.0.1:{health_port}"))
            .arg("--metrics-addr=127.0.0.1:0")
            .arg("--vpsie-allow-loopback-http")
            // The account's allowance of requests is not what is measured.
            .arg("--vpsie-rate-limit=100000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", executable.display()))?;
        Ok(Self {
            child,
            health_port,
            files,
        })
    }

    /// Where its log is.
    pub(crate) fn log(&self) -> PathBuf {
        self.files.join("log")
    }

    /// Whether `/readyz` says so.
    pub(crate) async fn is_ready(&self) -> bool {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.health_port)).await?;
            stream
                .write_all(b"GET /readyz HTTP/1.1\r\nhost: figures\r\nconnection: close\r\n\r\n")
                .await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        asked
            .await
            .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Ends it and forgets its files, which only a failure makes worth keeping.
    pub(crate) fn end(self) {
        let files = self.files.clone();
        drop(self);
        let _ = std::fs::remove_dir_all(files);
    }

    fn proc(&self, file: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path)
            .map_err(|error| format!("{path}: {error}; the log: {}", self.log().display()))
    }

    /// Memory now and at most so far.
    pub(crate) fn memory(&self) -> Result<Memory, String> {
        let status = self.proc("status")?;
        let kib = |field: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
                .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
                .ok_or_else(|| format!("the product has ended; its log: {}", self.log().display()))
        };
        Ok(Memory {
            resident: kib("VmRSS")? / 1024.0,
            anonymous: kib("RssAnon")? / 1024.0,
            peak: kib("VmHWM")? / 1024.0,
        })
    }

    /// CPU time of the process so far, to the kernel's tick of 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let stat = self.proc("stat")?;
        // The name in parentheses may hold blanks; user and system time are fields 14 and 15.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().unwrap_or_default())
            .sum();
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
