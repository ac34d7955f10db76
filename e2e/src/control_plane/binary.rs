//! The program that holds all components: built from `controlplane/` by the Go toolchain, once for
//! each content of that module, and kept in a cache.
//!
//! The cache is `VPSIE_E2E_CACHE`, else a folder of cargo's target directory. Builds of the same
//! cache wait for each other.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use runtime::Clock;
use sha2::{Digest as _, Sha256};

use super::{ControlPlaneError, POLL, file, process};

/// What the built binary depends on, besides the flags below.
const SOURCES: [&str; 3] = ["go.mod", "go.sum", "main.go"];
/// The longest that a build may take on a slow machine with nothing cached.
const LIMIT: Duration = Duration::from_hours(1);
/// The package whose variables are the version that the components report.
const VERSION: &str = "k8s.io/component-base/version";

/// The binary's path, after building it where it is not there.
pub(super) async fn built(clock: &Clock) -> Result<PathBuf, ControlPlaneError> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("controlplane");
    let cache = cache();
    fs::create_dir_all(&cache).map_err(|source| file("make", cache.clone(), source))?;
    let version = version(&module)?;
    let arguments = arguments(&version);
    let mut digest = Sha256::new();
    for name in SOURCES {
        digest.update(read(&module.join(name))?);
        digest.update([0]);
    }
    digest.update(arguments.join(" "));
    let key = digest
        .finalize()
        .iter()
        .take(8)
        .fold(0_u64, |key, byte| key << 8 | u64::from(*byte));
    let binary = cache.join(format!("controlplane-{version}-{key:016x}"));
    let _lock = locked(&cache.join("lock"), clock).await?;
    if !binary.exists() {
        build(&module, &arguments, &binary, clock).await?;
    }
    Ok(binary)
}

async fn build(
    module: &Path,
    arguments: &[String],
    binary: &Path,
    clock: &Clock,
) -> Result<(), ControlPlaneError> {
    let beside = |end: &str| PathBuf::from(format!("{}.{end}", binary.display()));
    let (log, unfinished) = (beside("log"), beside("unfinished"));
    fs::write(&log, "").map_err(|source| file("write", log.clone(), source))?;
    let out = process::append(&log)?;
    let err = process::append(&log)?;
    eprintln!("building the control plane: minutes where nothing is cached");
    let mut go = std::process::Command::new("go")
        .args(arguments)
        .arg("-o")
        .arg(&unfinished)
        .arg(".")
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        // A workspace around us is none of this module's business.
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(ControlPlaneError::Go)?;
    let deadline = clock.monotonic() + LIMIT;
    let good = loop {
        if let Some(status) = go.try_wait().map_err(ControlPlaneError::Go)? {
            break status.success();
        }
        if clock.monotonic() > deadline {
            let _ = go.kill();
            let _ = go.wait();
            break false;
        }
        clock.sleep(POLL).await;
    };
    if !good {
        return Err(ControlPlaneError::Build {
            tail: process::tail(&log),
        });
    }
    fs::rename(&unfinished, binary).map_err(|source| file("rename", unfinished, source))
}

/// The arguments of `go` but for the output. Without a version clients cannot tell what the server
/// can do.
fn arguments(version: &str) -> Vec<String> {
    let mut numbers = version.trim_start_matches('v').split('.');
    let mut number = || numbers.next().unwrap_or_default().to_owned();
    let variables = [
        ("gitVersion", version.to_owned()),
        ("gitMajor", number()),
        ("gitMinor", number()),
        ("gitCommit", "unknown".to_owned()),
        ("gitTreeState", "clean".to_owned()),
    ];
    let set: Vec<String> = variables
        .iter()
        .map(|(name, value)| format!("-X {VERSION}.{name}={value}"))
        .collect();
    vec![
        "build".into(),
        "-trimpath".into(),
        "-buildvcs=false".into(),
        format!("-ldflags=-s -w {}", set.join(" ")),
    ]
}

/// The version of Kubernetes that the module requires.
fn version(module: &Path) -> Result<String, ControlPlaneError> {
    let path = module.join("go.mod");
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    text.lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .map(ToOwned::to_owned)
        .ok_or(ControlPlaneError::Version(path))
}

fn read(path: &Path) -> Result<Vec<u8>, ControlPlaneError> {
    fs::read(path).map_err(|source| file("read", path.to_owned(), source))
}

fn cache() -> PathBuf {
    if let Some(named) = std::env::var_os("VPSIE_E2E_CACHE") {
        // Used from other folders as well.
        return std::path::absolute(&named).unwrap_or_else(|_| named.into());
    }
    // Cargo marks its target directory; ours lies somewhere below it.
    let program = std::env::current_exe().unwrap_or_default();
    let target = program
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists());
    match target {
        Some(target) => target.join("e2e"),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/e2e"),
    }
}

/// Waits until no other process builds in this cache.
async fn locked(path: &Path, clock: &Clock) -> Result<File, ControlPlaneError> {
    let lock = process::append(path)?;
    let deadline = clock.monotonic() + LIMIT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if clock.monotonic() < deadline => {
                clock.sleep(POLL).await;
            }
            Err(error) => return Err(file("lock", path.to_owned(), error.into())),
        }
    }
}
