//! The oracle by hand: record the corpus, hold an implementation against fresh clusters, count.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use oracle::{Comparison, Edge, Scheduler, Statistics, Verdicts};
use runtime::Clock;
use serde_json::Value;

/// The scheduler's own filter plugins as the judge of an implementation.
#[derive(Parser)]
enum Args {
    /// Records clusters and what the scheduler says about them.
    Corpus {
        /// How many clusters.
        #[arg(long, default_value_t = 8000)]
        clusters: u64,
        /// Where to, instead of this repository's corpus.
        #[arg(long)]
        into: Option<PathBuf>,
    },
    /// Holds an implementation against the scheduler on fresh clusters, and stores where it differs.
    Fresh {
        /// How long.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// The first seed; drawn where it is not given.
        #[arg(long)]
        seed: Option<u64>,
        /// After how many clusters on which it differs to stop.
        #[arg(long, default_value_t = 10)]
        limit: usize,
        /// Where to store those, instead of this repository's corpus.
        #[arg(long)]
        into: Option<PathBuf>,
        /// A program that reads a cluster a line and answers each with a line of verdicts, and its
        /// arguments; without it the scheduler is held against itself, with the objects in another
        /// order.
        #[arg(last = true)]
        program: Vec<String>,
    },
    /// Counts how often each filter refuses, and each edge is aimed at.
    Statistics {
        /// Over how many fresh clusters.
        #[arg(long, default_value_t = 2000)]
        clusters: u64,
    },
    /// Prints clusters, a line each.
    Clusters {
        /// The first seed.
        seed: u64,
        /// How many.
        #[arg(default_value_t = 1)]
        count: u64,
    },
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(good) => ExitCode::from(u8::from(!good)),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Args) -> anyhow::Result<bool> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    match args {
        Args::Corpus { clusters, into } => {
            oracle::record(clusters, &into.unwrap_or(folder))?;
            Ok(true)
        }
        Args::Fresh {
            seconds,
            seed,
            limit,
            into,
            program,
        } => {
            let seed = seed.unwrap_or_else(|| runtime::Randomness::from_os().next_u64() >> 1);
            let within = Duration::from_secs(seconds);
            let into = into.unwrap_or(folder);
            if program.is_empty() {
                let shuffled = std::cell::RefCell::new(Scheduler::start(true)?);
                fresh(seed, within, limit, &into, &|cluster| {
                    let answer = shuffled.borrow_mut().ask(&backwards(cluster));
                    answer.map_err(|error| error.to_string())
                })
            } else {
                let program = std::cell::RefCell::new(Program::start(&program)?);
                fresh(seed, within, limit, &into, &|cluster| {
                    program
                        .borrow_mut()
                        .ask(cluster)
                        .map_err(|error| format!("{error:#}"))
                })
            }
        }
        Args::Statistics { clusters } => {
            count(clusters)?;
            Ok(true)
        }
        Args::Clusters { seed, count } => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            for number in 0..count {
                writeln!(
                    out,
                    "{}",
                    oracle::cluster(seed.wrapping_add(number)).cluster
                )?;
            }
            out.flush()?;
            Ok(true)
        }
    }
}

/// True where nothing differs.
fn fresh(
    seed: u64,
    within: Duration,
    limit: usize,
    into: &Path,
    engine: oracle::Engine<'_>,
) -> anyhow::Result<bool> {
    const AT_ONCE: u64 = 200;
    let clock = Clock::system();
    let mut comparison = Comparison::start(engine)?;
    let (mut clusters, mut differing) = (0, 0);
    while clock.monotonic() < within && differing < limit {
        let first = seed.wrapping_add(clusters);
        let seeds = (0..AT_ONCE).map(|number| first.wrapping_add(number));
        for mismatch in comparison.seeds(seeds)? {
            differing += 1;
            let path = mismatch.case.store(into)?;
            println!("{}", path.display());
            for difference in mismatch.differences {
                println!("  {difference}");
            }
            if differing >= limit {
                break;
            }
        }
        clusters += AT_ONCE;
    }
    let seconds = clock.monotonic().as_secs_f64();
    println!("seed {seed}: {clusters} clusters in {seconds:.1} s, {differing} on which it differs");
    Ok(differing == 0)
}

/// The same cluster, its objects in the other order.
fn backwards(cluster: &Value) -> Value {
    let mut cluster = cluster.clone();
    if let Some(items) = cluster["items"].as_array_mut() {
        items.reverse();
    }
    cluster
}

fn count(clusters: u64) -> anyhow::Result<()> {
    let mut scheduler = Scheduler::start(true)?;
    let mut statistics = Statistics::default();
    let mut aimed = vec![0_u64; Edge::ALL.len()];
    let mut bytes = 0;
    for seed in 0..clusters {
        let case = oracle::cluster(seed);
        bytes += case.cluster.to_string().len();
        let verdicts = scheduler.ask(&case.cluster);
        statistics.add(&verdicts.with_context(|| format!("seed {seed}"))?);
        for (count, edge) in aimed.iter_mut().zip(Edge::ALL) {
            *count += u64::from(case.edges.contains(edge));
        }
    }
    print!("{statistics}");
    for (count, edge) in aimed.iter().zip(Edge::ALL) {
        println!("{count:6}  {:24}  {}", format!("{edge:?}"), edge.text());
    }
    println!("{} bytes a cluster", bytes as u64 / clusters.max(1));
    Ok(())
}

/// An implementation in a process of its own.
struct Program {
    child: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Program {
    fn start(command: &[String]) -> anyhow::Result<Self> {
        let (name, arguments) = command.split_first().context("no program is named")?;
        let mut child = Command::new(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        let answers = child.stdout.take().context("it has no output")?;
        Ok(Self {
            child,
            answers: BufReader::new(answers),
        })
    }

    fn ask(&mut self, cluster: &Value) -> anyhow::Result<Verdicts> {
        let questions = self.child.stdin.as_mut().context("it has no input")?;
        writeln!(questions, "{cluster}")?;
        questions.flush()?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            anyhow::bail!("it ended before it answered");
        }
        serde_json::from_str(&line).with_context(|| line.trim_end().to_owned())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
