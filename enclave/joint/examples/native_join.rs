//! The join as it runs in the enclave, natively: what the enclave's time and memory are compared
//! with.
//!
//! ```text
//! cargo run --release -p anchorhold-joint --example native_join -- email amount a.csv b.csv c.csv
//! ```
//!
//! With `--memory MIB` as its first arguments it holds no more rows in memory than that, and puts the
//! others away as sealed pages, as the enclave does, in a file without a name.
//!
//! Prints one JSON object: rows read, seconds (reading with hashing and sorting, and joining, also
//! apart), the peak of resident memory in bytes, sealed pages and their bytes, intersection size and
//! sums.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use anchorhold_joint::compute::{self, Analysis};
use anchorhold_joint::contract::*;
use anchorhold_joint::keys::TagKey;
use anchorhold_joint::pages::{PageStore, Pages, Shape};
use anchorhold_joint::table::{Table, TableReader};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

type Failure = Box<dyn Error>;

/// The memory that all tables together may take unless said otherwise, in MiB.
const MEMORY: usize = 300;
const USAGE: &str = "usage: native_join [--memory MIB] JOIN_COLUMN SUM_COLUMN FILE FILE [FILE…]";

fn main() -> Result<(), Failure> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut memory = MEMORY;
    if args.first().is_some_and(|arg| arg == "--memory") {
        memory = args.get(1).ok_or(USAGE)?.parse()?;
        args.drain(..2);
    }
    let [join_on, sum, files @ ..] = args.as_slice() else {
        return Err(USAGE.into());
    };
    if !PARTIES.contains(&files.len()) {
        return Err(USAGE.into());
    }
    let contract = contract(files.len(), join_on, sum)?;
    let mut rng = getrandom::SysRng;
    let memory = memory << 20;
    let shape = Shape::of(memory, files.len());
    let mut pages = Pages::new(PageFile(tempfile::tempfile()?, shape.page), shape, &mut rng)?;

    let start = Instant::now();
    let tables = read(&contract, files, memory, &mut pages)?;
    let reading = start.elapsed();
    let report = compute::run(&contract, &tables, Some(&mut pages), &mut rng)?;
    let all = start.elapsed();

    let Analysis::Intersection(found) = report.analysis else {
        return Err("the contract asks for an intersection".into());
    };
    let rows: u64 = tables.iter().map(|table| table.report().counts.read).sum();
    let out = serde_json::json!({
        "rows": rows,
        "seconds": all.as_secs_f64(),
        "seconds_reading": reading.as_secs_f64(),
        "seconds_joining": (all - reading).as_secs_f64(),
        "peak_rss": peak_rss()?,
        "pages": pages.sealed(),
        "page_bytes": pages.sealed() * shape.page as u64,
        "intersection_size": found.size,
        "sums": found.sums,
    });
    println!("{out}");
    Ok(())
}

/// Reads all files, each into what those before it leave of the memory, shared with those behind.
fn read(
    contract: &Contract,
    files: &[String],
    memory: usize,
    pages: &mut Pages<'_>,
) -> Result<Vec<Table>, Failure> {
    let tags = TagKey::generate(&mut getrandom::SysRng)?;
    let mut left = memory;
    let mut tables = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    let sharing = (1..=files.len()).rev();
    for ((party, path), sharing) in contract.parties().iter().zip(files).zip(sharing) {
        let share = left / sharing;
        let mut reader = TableReader::new(contract, &party.name, &tags, share, Some(pages))?;
        let mut file = File::open(path)?;
        loop {
            let count = file.read(&mut piece)?;
            if count == 0 {
                break;
            }
            reader.feed(piece.get(..count).unwrap_or_default())?;
        }
        let table = reader.finish()?;
        left = left.saturating_sub(table.bytes(party.values().count()));
        tables.push(table);
    }
    Ok(tables)
}

/// Pages of a size in a file.
struct PageFile(File, usize);

impl PageStore for PageFile {
    fn put(&mut self, place: u32, page: &[u8]) -> io::Result<()> {
        self.0.write_all_at(page, u64::from(place) * self.1 as u64)
    }

    fn get(&mut self, place: u32, page: &mut Vec<u8>) -> io::Result<()> {
        page.resize(self.1, 0);
        self.0.read_exact_at(page, u64::from(place) * self.1 as u64)
    }
}

/// The most resident memory so far, in bytes (proc(5), `VmHWM`).
fn peak_rss() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kilobytes.ok_or("no VmHWM")?.parse::<u64>()? * 1024)
}

/// A contract of parties that exist for this measurement only.
fn contract(parties: usize, join_on: &str, sum: &str) -> Result<Contract, Failure> {
    let parties = (0..parties).map(|i| party(i, join_on, sum));
    let terms = Terms {
        cohorts: Cohorts {
            minimum: 2,
            withhold_complements: false,
        },
        computation: Computation::Intersection {},
        expires: "2100-01-01T00:00:00Z".to_owned(),
        format: FORMAT.to_owned(),
        image: Image {
            pcr0: "01".repeat(48),
            pcr1: "02".repeat(48),
            pcr2: "03".repeat(48),
            pcr8: None,
        },
        nonce: "00".repeat(32),
        parties: parties.collect::<Result<_, _>>()?,
        privacy: None,
    };
    Ok(Contract::from_terms(terms)?)
}

fn party(index: usize, join_on: &str, sum: &str) -> Result<Party, Failure> {
    let approval = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?;
    let approval = AsDer::<PublicKeyX509Der<'_>>::as_der(approval.public_key())?;
    let answer = PrivateDecryptingKey::generate(KeySize::Rsa2048)?;
    let answer = AsDer::<PublicKeyX509Der<'_>>::as_der(&answer.public_key())?;
    let column = |name: &str, role| Column {
        name: name.to_owned(),
        role,
    };
    Ok(Party {
        answer_key: STANDARD.encode(answer.as_ref()),
        approval_key: STANDARD.encode(approval.as_ref()),
        columns: vec![column(join_on, Role::Key), column(sum, Role::Value)],
        kms_ca: "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n".to_owned(),
        kms_endpoint: "kms.example".to_owned(),
        kms_key: format!("arn:aws:kms:eu-central-1:000000000000:key/{index}"),
        name: format!("party-{index:02}"),
        outputs: vec![Output::IntersectionSize, Output::Sums],
        platform_root: "00".repeat(32),
        runs: 1,
    })
}
