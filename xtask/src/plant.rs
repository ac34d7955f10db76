//! Wrong lines planted on purpose: after how many of the oracle's recorded clusters is each found?
//!
//! Each is put into a copy of the workspace (never into the workspace), which has a target directory
//! of its own that is kept, so that a wrong line costs the build of one crate and its tests. The test
//! `no_case_of_a_shuffled_sample_differs` of `scheduling` then tells the first case that differs.

mod table;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

pub(crate) use table::PLANTS;

/// A wrong line.
pub(crate) struct Plant {
    /// The file it is planted in.
    pub(crate) file: &'static str,
    /// What becomes of the rule.
    pub(crate) wrong: &'static str,
    /// What stands there; once in the file.
    pub(crate) old: &'static str,
    /// What is put in its place.
    pub(crate) new: &'static str,
    /// Who is to find it.
    pub(crate) finder: Finder,
}

/// What finds a wrong line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finder {
    /// The recorded clusters.
    Oracle,
    /// A test of its own, by its path: no pending pod can show it.
    Test(&'static str),
}

/// How many recorded clusters each wrong line has to be found within.
const CASES: usize = 1000;
/// The test that looks at them.
const SAMPLE: &str = "corpus::no_case_of_a_shuffled_sample_differs";
/// What a copy needs to be built.
const PARTS: [&str; 7] = [
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "crates",
    "e2e",
    "oracle",
    "xtask",
];
/// How much of what a failed build printed is told.
const LAST_LINES: usize = 30;

/// Plants the lines whose file's name holds `only`, one after the other; prints a table, or writes
/// it to `into`. Fails when one is not found.
pub(crate) fn plant(root: &Path, only: Option<&str>, into: Option<&Path>) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join("vpsie-autoscaler-plants");
    let bed = Bed {
        source: folder.join("source"),
        target: folder.join("target"),
    };
    for part in PARTS {
        mirror(&root.join(part), &bed.source.join(part))?;
    }
    let chosen: Vec<&Plant> = PLANTS
        .iter()
        .filter(|plant| only.is_none_or(|only| plant.file.contains(only)))
        .collect();
    ensure!(!chosen.is_empty(), "no file of the table is named so");
    let misplaced: Vec<String> = chosen
        .iter()
        .filter_map(|plant| plant.planted(&bed.source).err())
        .map(|error| format!("{error:#}"))
        .collect();
    ensure!(misplaced.is_empty(), "{}", misplaced.join("\n"));
    eprintln!("building in {}", folder.display());
    bed.build()?;
    let tests: BTreeSet<&str> = chosen.iter().map(|plant| plant.finder.test()).collect();
    for test in tests {
        if let Some(words) = bed.failure(test)? {
            bail!("{test} fails before anything is planted:\n{words}");
        }
    }
    let mut rows = String::new();
    let mut missed = 0;
    for plant in &chosen {
        let found = bed.find(plant)?;
        eprintln!("{}: {}: {found:?}", plant.file, plant.wrong);
        missed += usize::from(found == Found::Not);
        rows.push_str(&row(plant, &found));
    }
    let table = format!(
        "| File | What becomes of the rule | Found by |\n| --- | --- | --- |\n{rows}\n\
         {} lines, {missed} not found.\n",
        chosen.len()
    );
    match into {
        Some(path) => {
            let text = format!("{HEAD}{table}");
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        None => print!("{table}"),
    }
    ensure!(missed == 0, "{missed} wrong lines were not found");
    Ok(())
}

const HEAD: &str = "# Wrong lines, and how soon the oracle finds them\n\n\
    Each line below was put into a copy of this repository, one at a time, and the engine held against what the\n\
    scheduler's own plugins said of recorded clusters (`oracle/README.md`): up to 1,000 of them, always the same in an\n\
    order that has nothing to do with how they were made. The number is that of the first cluster on which it differs.\n\n\
    ```sh\n\
    cargo run -p xtask -- plant                        # all, printed; some minutes\n\
    cargo run -p xtask -- plant --only volume_zone     # those in files of this name\n\
    cargo run -p xtask -- plant --into docs/oracle-plants.md\n\
    ```\n\n\
    The lines are in `xtask/src/plant/table.rs`; a text that is not there any more is an error that names it. Where it\n\
    says a test instead, no pending pod can show the difference.\n\n";

fn row(plant: &Plant, found: &Found) -> String {
    let found = match (found, plant.finder) {
        (Found::Not, _) => "**not found**".to_owned(),
        (Found::AtCase(case), _) => format!("cluster {case}"),
        (Found::ByTest, Finder::Oracle) => "a failure on the way".to_owned(),
        (Found::ByTest, Finder::Test(test)) => {
            format!("`{}`", test.rsplit("::").next().unwrap_or(test))
        }
    };
    format!("| `{}` | {} | {found} |\n", plant.file, plant.wrong)
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Not,
    AtCase(usize),
    ByTest,
}

impl Finder {
    const fn test(self) -> &'static str {
        match self {
            Self::Oracle => SAMPLE,
            Self::Test(name) => name,
        }
    }
}

impl Plant {
    /// The file as it is, and with the wrong line.
    pub(crate) fn planted(&self, root: &Path) -> anyhow::Result<(String, String)> {
        let path = root.join(self.file);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", self.file))?;
        let times = text.matches(self.old).count();
        ensure!(
            times == 1,
            "{}: the text of \"{}\" is there {times} times, not once:\n{}",
            self.file,
            self.wrong,
            self.old
        );
        let planted = text.replacen(self.old, self.new, 1);
        Ok((text, planted))
    }
}

/// Where lines are planted.
struct Bed {
    source: PathBuf,
    target: PathBuf,
}

impl Bed {
    fn find(&self, plant: &Plant) -> anyhow::Result<Found> {
        let (before, planted) = plant.planted(&self.source)?;
        let path = self.source.join(plant.file);
        let write = |text: &str| {
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        write(&planted)?;
        let found = self
            .build()
            .and_then(|()| self.failure(plant.finder.test()))
            .with_context(|| format!("{}: {}", plant.file, plant.wrong));
        write(&before)?;
        Ok(match found? {
            None => Found::Not,
            Some(words) => case(&words).map_or(Found::ByTest, Found::AtCase),
        })
    }

    fn build(&self) -> anyhow::Result<()> {
        let output = self.cargo(&["--no-run"])?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("it does not build:\n{}", last_lines(&words));
        }
        Ok(())
    }

    /// What a test says when it fails; `None` where it passes.
    fn failure(&self, test: &str) -> anyhow::Result<Option<String>> {
        let output = self.cargo(&["--", "--include-ignored", "--exact", test])?;
        let words = String::from_utf8_lossy(&output.stdout);
        ensure!(
            words.contains("running 1 test"),
            "there is no test {test}:\n{}",
            last_lines(&words)
        );
        Ok((!output.status.success()).then(|| words.into_owned()))
    }

    fn cargo(&self, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Command::new("nice")
            .args(["-n", "10"])
            .arg(cargo)
            .args(["test", "--quiet", "--package", "scheduling", "--test", "it"])
            .args(arguments)
            .current_dir(&self.source)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("ORACLE_CASES", CASES.to_string())
            .output()
            .context("running cargo")
    }
}

/// The number in `differs at case 17 of 1000`.
fn case(words: &str) -> Option<usize> {
    let (_, rest) = words.split_once("differs at case ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// Makes `to` what `from` is. Files that are the same are not touched: cargo goes by their age.
fn mirror(from: &Path, to: &Path) -> anyhow::Result<()> {
    if from.is_file() {
        let content = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
        if fs::read(to).is_ok_and(|there| there == content) {
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        return fs::write(to, content).with_context(|| format!("writing {}", to.display()));
    }
    let wanted = names(from)?;
    if to.is_dir() {
        for name in names(to)?.difference(&wanted) {
            let stale = to.join(name);
            let removed = if stale.is_dir() {
                fs::remove_dir_all(&stale)
            } else {
                fs::remove_file(&stale)
            };
            removed.with_context(|| format!("removing {}", stale.display()))?;
        }
    }
    for name in wanted {
        mirror(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

/// What is in a folder, but for what builds leave there.
fn names(folder: &Path) -> anyhow::Result<BTreeSet<std::ffi::OsString>> {
    let listing = || format!("listing {}", folder.display());
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(listing)? {
        let name = entry.with_context(listing)?.file_name();
        if name != "target" {
            names.insert(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_line_has_its_place() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let places = PLANTS.iter().map(|plant| match plant.planted(&root) {
            Ok((before, planted)) if before == planted => Err(plant.file.to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error:#}")),
        });
        let misplaced: Vec<String> = places.filter_map(Result::err).collect();
        assert!(misplaced.is_empty(), "{}", misplaced.join("\n"));
    }

    #[test]
    fn there_is_a_wrong_line_for_every_filter_and_for_what_is_counted() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for folder in ["filters", "topology"] {
            let folder = format!("crates/scheduling/src/{folder}");
            for name in names(&root.join(&folder)).unwrap() {
                let file = format!("{folder}/{}", name.to_str().unwrap());
                let planted = PLANTS.iter().any(|plant| plant.file == file);
                assert!(planted, "nothing is planted in {file}");
            }
        }
    }

    #[test]
    fn the_case_is_read_off_what_the_test_says() {
        let words = "thread panicked:\nseed 5 differs at case 17 of 1000: NodePorts";
        assert_eq!(case(words), Some(17));
        assert_eq!(case("test result: FAILED"), None);
    }

    #[test]
    fn a_copy_loses_what_is_gone_and_keeps_the_age_of_what_is_the_same() {
        let folder = std::env::temp_dir().join(format!("plants-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(from.join("deep/target")).unwrap();
        fs::write(from.join("deep/same"), "same").unwrap();
        fs::write(from.join("gone"), "").unwrap();
        mirror(&from, &to).unwrap();
        let age = || {
            fs::metadata(to.join("deep/same"))
                .unwrap()
                .modified()
                .unwrap()
        };
        let before = age();
        fs::remove_file(from.join("gone")).unwrap();
        fs::write(from.join("new"), "new").unwrap();
        mirror(&from, &to).unwrap();
        assert_eq!(age(), before);
        assert!(!to.join("gone").exists() && !to.join("deep/target").exists());
        assert_eq!(fs::read_to_string(to.join("new")).unwrap(), "new");
        fs::remove_dir_all(folder).unwrap();
    }
}
