//! Private set intersection with sums: rows per second of the whole analysis inside the microVM and
//! of the same join natively, against a plain hash join.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::figure::{Figure, median};
use crate::demo::mpc::size::{self, Native};
use crate::demo::mpc::timed::Timed;
use crate::demo::progress::Progress;
use crate::scene::Scene;

/// Rows of the submission whose time is taken off: it has everything but rows.
const FEW: u32 = 100;
/// The files' columns.
const COLUMNS: [&str; 2] = ["email", "amount"];

/// How much is joined.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// How often each side is measured.
    pub rounds: u32,
    /// Rows of each file then.
    pub rows: u32,
    /// Rows of each file of one more run, whose time and memory are told.
    pub large: u32,
}

/// Measures. The enclave's time is that of handing over the sealed files, opening, joining and
/// answering, less that of files of next to no rows, both medians; the native ones' that of reading
/// plain files and joining.
///
/// # Errors
/// A step fails, or two joins come to different results.
pub fn measure(scene: &Scene, amount: Amount, progress: &mut Progress) -> Result<Vec<Figure>> {
    let Amount {
        rounds,
        rows,
        large,
    } = amount;
    let files: Vec<_> = (0..3)
        .map(|i| scene.path(&format!("join-{i}.csv")))
        .collect();
    let timed = Timed::assemble(scene, &files, || write(&files, FEW), COLUMNS, progress)?;
    let (mut fixed, mut whole) = (Vec::new(), Vec::new());
    let (mut native, mut plain) = (Vec::new(), Vec::new());
    let all = f64::from(rows) * 3.0;
    progress.step("joint", "joining inside and natively in turn", |progress| {
        for round in 0..rounds {
            write(&files, FEW)?;
            let few = timed.run(&format!("few-{round}"))?.seconds;
            write(&files, rows)?;
            let many = timed.run(&format!("many-{round}"))?;
            let ours = example("native_join", &files)?;
            let hashed = example("hash_join", &files)?;
            if ours.intersection_size != hashed.intersection_size {
                bail!("two joins of the same files: {ours:?} and {hashed:?}");
            }
            timed.compare(&many, &ours)?;
            let many = many.seconds;
            progress.note(&format!(
                "inside {many:.2} s, {few:.2} s without rows; natively {:.3} s, hash join {:.3} s",
                ours.seconds, hashed.seconds
            ));
            fixed.push(few);
            whole.push(many);
            native.push(all / ours.seconds);
            plain.push(all / hashed.seconds);
        }
        Ok(())
    })?;
    let at_size = progress.step("joint-size", "one join of large files", |progress| {
        write(&files, large)?;
        let inside = timed.run("large")?;
        let native = example("native_join", &files)?;
        timed.compare(&inside, &native)?;
        let memory = timed.guest_memory()?;
        progress.note(&format!(
            "3 files of {large} rows: {:.1} s inside, {:.1} s natively",
            inside.seconds, native.seconds
        ));
        at_size(large, inside.seconds, memory, &native)
    })?;
    timed.end()?;
    let plain = median(plain);
    let native = median(native);
    let (whole, fixed) = median(whole).zip(median(fixed)).context("no round")?;
    if whole <= fixed {
        bail!("{rows} rows take {whole:.2} s and next to none {fixed:.2} s: give more --join-rows");
    }
    let inside = all / (whole - fixed);
    let hash_join = "a native hash join (std HashMap)";
    let figure = |name: &str, value: f64, baseline: &str, held: Option<f64>| Figure {
        name: format!("joint: 3 files of {rows} rows, {name}"),
        unit: "rows/s".into(),
        value,
        baseline: Some((baseline.into(), held)),
        goal: None,
    };
    let mut figures = vec![
        figure(
            "joined natively",
            native.context("no round")?,
            hash_join,
            plain,
        ),
        figure(
            "opened, joined and answered in the microVM",
            inside,
            hash_join,
            plain,
        ),
        figure(
            "the same against the same join natively",
            inside,
            "the same join natively, of plain files",
            native,
        ),
    ];
    figures.extend(at_size);
    Ok(figures)
}

/// Time and memory of one join of large files, beside the same join natively.
fn at_size(rows: u32, seconds: f64, memory: u64, native: &Native) -> Result<[Figure; 2]> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let peak = native
        .peak_rss
        .context("a native join without its memory")?;
    let figure = |what: &str, unit: &str, value: f64, baseline: &str, held: f64| Figure {
        name: format!("joint: 3 files of {rows} rows in the microVM, {what}"),
        unit: unit.into(),
        value,
        baseline: Some((baseline.into(), Some(held))),
        goal: None,
    };
    let join = "the same join natively, of plain files";
    let resident = "resident memory of the same join natively";
    Ok([
        figure("from files to answers", "s", seconds, join, native.seconds),
        figure(
            "the most guest memory in use",
            "MiB",
            mib(memory),
            resident,
            mib(peak),
        ),
    ])
}

fn example(name: &str, files: &[PathBuf]) -> Result<Native> {
    let [join_on, sum] = COLUMNS;
    size::run(name, join_on, sum, files)
}

/// Writes files of so many rows, of which two neighbours share two thirds and all three one third.
fn write(files: &[PathBuf], rows: u32) -> Result<()> {
    let one = |(place, file): (u32, &PathBuf)| write_one(file, rows, rows / 3 * place);
    (0..).zip(files).try_for_each(one)
}

fn write_one(file: &Path, rows: u32, first: u32) -> Result<()> {
    let mut file = BufWriter::new(File::create(file)?);
    writeln!(file, "{}", COLUMNS.join(","))?;
    // Every row once, in an order that is not that of the values: both are prime.
    let step = if rows.is_multiple_of(7_919) {
        7_907
    } else {
        7_919
    };
    for row in 0..u64::from(rows) {
        let key = u64::from(first) + row * step % u64::from(rows);
        let (whole, rest) = (key * 31 % 10_000, key % 100);
        writeln!(file, "person{key:08}@example.org,{whole}.{rest:02}")?;
    }
    Ok(file.flush()?)
}
