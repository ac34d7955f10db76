//! Programs that are built from Kubernetes' own Go modules: built by the Go toolchain, once for each
//! content of their folder, and kept in a cache.
//!
//! The cache is `VPSIE_E2E_CACHE`, else the folder `e2e` of cargo's target directory. Builds of the
//! same cache wait for each other.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};

/// How much of what a failed build printed is told.
const LAST_WORDS: usize = 4000;
/// The package whose variables are the version that Kubernetes' components report.
const VERSION: &str = "k8s.io/component-base/version";

/// A program could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The build could not be started.
    #[error("could not run `go` (it builds {name})")]
    Go {
        /// What was to be built.
        name: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The build failed.
    #[error("building {name} failed; its last words:\n{tail}")]
    Build {
        /// What was to be built.
        name: String,
        /// The end of what the build printed.
        tail: String,
    },
    /// The module names no version of Kubernetes.
    #[error("{} does not require k8s.io/kubernetes at a version", .0.display())]
    Version(PathBuf),
    /// A file or folder.
    #[error("could not {verb} {}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The path of the program that the module in `folder` is, after building it where it is not there:
/// minutes where nothing is cached. `name` is what it is called in the cache and in messages.
pub fn built(folder: &Path, name: &str) -> Result<PathBuf, BuildError> {
    let cache = cache();
    fs::create_dir_all(&cache).map_err(|source| file("make", cache.clone(), source))?;
    let version = version(folder)?;
    let arguments = arguments(&version);
    let mut digest = Sha256::new();
    for source in sources(folder)? {
        digest.update(read(&source)?);
        digest.update([0]);
    }
    digest.update(arguments.join(" "));
    let key = digest
        .finalize()
        .iter()
        .take(8)
        .fold(0_u64, |key, byte| key << 8 | u64::from(*byte));
    let program = cache.join(format!("{name}-{version}-{key:016x}"));
    let lock = cache.join("lock");
    let lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|source| file("lock", lock, source))?;
    if !program.exists() {
        build(folder, name, &arguments, &program)?;
    }
    drop(lock);
    Ok(program)
}

fn build(
    folder: &Path,
    name: &str,
    arguments: &[String],
    program: &Path,
) -> Result<(), BuildError> {
    eprintln!("building {name}: minutes where nothing is cached");
    let unfinished = PathBuf::from(format!("{}.unfinished", program.display()));
    let output = Command::new("go")
        .args(arguments)
        .arg("-o")
        .arg(&unfinished)
        .arg(".")
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        // A workspace around us is none of this module's business.
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| BuildError::Go {
            name: name.to_owned(),
            source,
        })?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let start = words.ceil_char_boundary(words.len().saturating_sub(LAST_WORDS));
        return Err(BuildError::Build {
            name: name.to_owned(),
            tail: words[start..].to_owned(),
        });
    }
    fs::rename(&unfinished, program).map_err(|source| file("rename", unfinished, source))
}

/// What the program depends on, besides the arguments: the module's files, in order.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let listed = |source| file("list", folder.to_owned(), source);
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).map_err(listed)? {
        let path = entry.map_err(listed)?.path();
        let kind = path.extension().and_then(|ending| ending.to_str());
        if matches!(kind, Some("go" | "mod" | "sum")) {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}

/// The arguments of `go` but for the output. Without a version clients cannot tell what a server
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
fn version(folder: &Path) -> Result<String, BuildError> {
    let path = folder.join("go.mod");
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    text.lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .map(ToOwned::to_owned)
        .ok_or(BuildError::Version(path))
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
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
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/e2e"),
    }
}

fn file(verb: &'static str, path: PathBuf, source: std::io::Error) -> BuildError {
    BuildError::File { verb, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e2e() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/controlplane")
    }

    #[test]
    fn the_version_is_that_of_the_module_and_reaches_the_program() {
        let version = version(&e2e()).unwrap();
        assert!(version.starts_with("v1."), "{version}");
        assert!(arguments(&version)[3].contains(&format!("gitVersion={version}")));
    }

    #[test]
    fn every_file_of_the_module_counts() {
        let names: Vec<String> = sources(&e2e())
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["go.mod", "go.sum", "main.go"]);
    }
}
