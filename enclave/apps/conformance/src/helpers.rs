//! What this program does as its own child, and the ways in which it ends on request.
//!
//! | arguments | what it does |
//! |---|---|
//! | `describe` | describes the security module and says its user id |
//! | `hammer` | asks for documents until it is killed, an hour at most |
//! | `orphan` | leaves a child behind, saying its process id |
//! | `exit N` | exits with N |
//! | `exhaust` | takes memory until the kernel kills it |

use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anchorhold_document::nsm::{AttestationRequest, Request, Response};

use crate::abi;
use crate::world;

/// The modes, and that of the orphan itself.
pub const DESCRIBE: &str = "describe";
pub const HAMMER: &str = "hammer";
pub const ORPHAN: &str = "orphan";
const LEFT_BEHIND: &str = "left-behind";

/// How long an orphan lives: longer than its parent takes to end.
pub const ORPHAN_LIFE: Duration = Duration::from_millis(100);

/// Runs a mode.
pub fn run(mode: &str, rest: &[&str]) -> ExitCode {
    match (mode, rest) {
        (DESCRIBE, []) => describe(),
        (HAMMER, []) => hammer(),
        (ORPHAN, []) => leave_an_orphan(),
        (LEFT_BEHIND, []) => {
            thread::sleep(ORPHAN_LIFE);
            ExitCode::SUCCESS
        }
        ("exit", [code]) => code
            .parse()
            .map_or_else(|_| misused(), |code: u8| code.into()),
        ("exhaust", []) => exhaust(),
        _ => misused(),
    }
}

/// Says how to use it.
pub fn misused() -> ExitCode {
    eprintln!(
        "usage: anchorhold-conformance {} \"two words\"",
        world::MODE
    );
    ExitCode::from(2)
}

fn describe() -> ExitCode {
    let described = abi::device().and_then(|device| abi::ask(&device, &Request::DescribeNsm));
    match (described, world::user_id()) {
        (Ok(Response::DescribeNsm(_)), Some(user)) => {
            println!("{user} described");
            ExitCode::SUCCESS
        }
        other => {
            eprintln!("conformance: {other:?}");
            ExitCode::FAILURE
        }
    }
}

fn hammer() -> ExitCode {
    let end = Instant::now() + Duration::from_secs(3600);
    let Ok(device) = abi::device() else {
        return ExitCode::FAILURE;
    };
    while Instant::now() < end {
        let request = Request::Attestation(AttestationRequest::default());
        if abi::ask(&device, &request).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// More memory than any machine for tests has, in pieces that are really written to.
fn exhaust() -> ExitCode {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 1 << 16;
    let pieces: Vec<Vec<u8>> = (0..PIECES).map(|_| vec![1; PIECE]).collect();
    println!("{} bytes and no end", pieces.len() * PIECE);
    ExitCode::SUCCESS
}

fn leave_an_orphan() -> ExitCode {
    let child = Command::new("/proc/self/exe")
        .arg(LEFT_BEHIND)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    match child {
        Ok(child) => {
            println!("{}", child.id());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::FAILURE
        }
    }
}
