//! The product as its users run it: the release binary, a process of its own, with the token of the
//! ServiceAccount that the repository ships and no other right.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use runtime::Clock;

use crate::{
    ControlPlane, ControlPlaneError,
    control_plane::process::{self, Process},
};

/// As it stands in the audit log.
pub const USER: &str = "system:serviceaccount:kube-system:vpsie-autoscaler";

/// How long a stop may take: its safe point, the lease's release, and a busy machine.
const STOP: Duration = Duration::from_secs(20);

/// One running process of the product. Dropped, it is killed.
pub struct Product {
    process: Process,
    /// Where its log lines go; appended to by every process of one control plane.
    pub log: PathBuf,
}

impl Product {
    /// Builds the binary where that was not done yet, and says where it is: the one that
    /// `VPSIE_E2E_PRODUCT` names, or the release build of this workspace.
    pub fn build() -> Result<PathBuf, ControlPlaneError> {
        if let Some(path) = std::env::var_os("VPSIE_E2E_PRODUCT") {
            return Ok(path.into());
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["build", "--release", "--locked", "-p", "vpsie-autoscaler"])
            .args(["--bin", "vpsie-autoscaler", "--message-format=json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .output()
            .map_err(|source| ControlPlaneError::Spawn {
                what: "cargo build".into(),
                source,
            })?;
        let messages = String::from_utf8_lossy(&output.stdout);
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
            .next_back()
            .filter(|_| output.status.success())
            .ok_or_else(|| ControlPlaneError::Ended {
                what: "cargo build".into(),
                status: output.status.to_string(),
                tail: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
    }

    /// Starts `run` against `plane`, which has what [`ControlPlane::install`] brings.
    pub async fn start(
        plane: &ControlPlane,
        binary: &Path,
        flags: &[String],
    ) -> Result<Self, ControlPlaneError> {
        let kubeconfig = Self::kubeconfig(plane).await?;
        Self::start_as(plane, binary, &kubeconfig, flags)
    }

    /// Its way to the API server, with a token that outlives every restart of both.
    pub async fn kubeconfig(plane: &ControlPlane) -> Result<PathBuf, ControlPlaneError> {
        plane
            .service_account_kubeconfig("kube-system", "vpsie-autoscaler")
            .await
    }

    /// Starts `run` with a kubeconfig that is there already: whether or not the API server answers.
    pub fn start_as(
        plane: &ControlPlane,
        binary: &Path,
        kubeconfig: &Path,
        flags: &[String],
    ) -> Result<Self, ControlPlaneError> {
        let mut arguments = vec![
            "run".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            "--vpsie-allow-loopback-http".to_owned(),
            "--metrics-addr=127.0.0.1:0".to_owned(),
            "--health-addr=127.0.0.1:0".to_owned(),
        ];
        arguments.extend_from_slice(flags);
        let log = plane.directory().join("logs").join("product.log");
        let home = plane.directory().join("home");
        let process = Process::start("vpsie-autoscaler", binary, &arguments, &home, &log)?;
        Ok(Self { process, log })
    }

    /// An error when it has ended by itself.
    pub fn check(&mut self) -> Result<(), ControlPlaneError> {
        self.process.check()
    }

    /// Asks it to stop and waits; an error when it does not, or ends badly.
    pub async fn stop(mut self) -> Result<(), ControlPlaneError> {
        let clock = Clock::system();
        self.process.terminate()?;
        let deadline = clock.monotonic() + STOP;
        loop {
            match self.process.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(ControlPlaneError::Ended {
                        what: "vpsie-autoscaler".into(),
                        status: status.to_string(),
                        tail: process::tail(&self.log),
                    });
                }
                None if clock.monotonic() > deadline => {
                    return Err(ControlPlaneError::NotInTime {
                        what: "vpsie-autoscaler ends".into(),
                        seconds: STOP.as_secs(),
                        last: "still running".into(),
                        tail: process::tail(&self.log),
                    });
                }
                None => clock.sleep(Duration::from_millis(50)).await,
            }
        }
    }
}
