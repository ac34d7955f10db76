//! Whether the tests find what is planted: each mistake with the one test that has to.

use std::{
    fmt,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Bug, VARIABLE};

/// What became of one mistake.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which.
    pub bug: Bug,
    /// The test that had to find it.
    pub by: &'static str,
    /// The test failed.
    pub found: bool,
    /// How long that took.
    pub took: Duration,
}

impl fmt::Display for Found {
    /// A row of a table in Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let found = if self.found { "" } else { " NOT FOUND" };
        write!(
            f,
            "| `{}` | {} | `{}` | {seconds:.1} s{found} |",
            self.bug,
            self.bug.about(),
            self.by
        )
    }
}

/// Runs, in processes of their own, each of these tests of this very program with its mistake planted;
/// two at a time.
///
/// # Panics
///
/// When this program cannot be run again.
#[must_use]
pub fn hunt(each: &[(Bug, &'static str)]) -> Vec<Found> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        while let Some((bug, by)) = each.get(next.fetch_add(1, Ordering::SeqCst)) {
            let one = with(*bug, by);
            found
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(one);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|one| one.bug);
    found
}

fn with(bug: Bug, by: &'static str) -> Found {
    #[expect(clippy::expect_used, reason = "a test that cannot run has to fail")]
    let program = std::env::current_exe().expect("the program has a path");
    #[expect(clippy::disallowed_methods, reason = "how long another process takes")]
    let begun = Instant::now();
    #[expect(clippy::expect_used, reason = "a test that cannot run has to fail")]
    let output = Command::new(program)
        .args([by, "--exact", "--include-ignored"])
        .env(VARIABLE, bug.name())
        .output()
        .expect("the program runs again");
    let told = String::from_utf8_lossy(&output.stdout);
    // A name that fits no test would pass, too.
    assert!(told.contains("running 1 test"), "there is no test {by}");
    Found {
        bug,
        by,
        found: told.contains("test result: FAILED. 0 passed; 1 failed"),
        took: begun.elapsed(),
    }
}
