//! `cargo xtask soak`: boots in a row, none of which may be lost.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::demo::hello::verified_document;
use crate::demo::progress::Progress;
use crate::demo::{run_enclave, terminate};
use crate::scene::Scene;
use crate::setup::{Purpose, SetupOptions, setup};
use crate::stage::{self, Profile};

/// Options of `soak`.
#[derive(Clone, Debug, clap::Args)]
pub struct SoakOptions {
    #[command(flatten)]
    setup: SetupOptions,
    /// How many boots.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    boots: u32,
    /// Threads that keep the host's processors busy meanwhile.
    #[arg(long, default_value_t = 0)]
    load: usize,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// Boots, attests and ends the sample enclave again and again, and prints how it went.
///
/// # Errors
/// A boot was lost: each is named with its reason.
pub fn soak(options: &SoakOptions) -> Result<()> {
    let mut progress = Progress::new(options.json);
    progress.step("setup", "set-up", |_| setup(options.setup, Purpose::Boot))?;
    let bins = progress.step("programs", "building the programs", |_| {
        stage::build_programs(Profile::Debug)
    })?;
    let scene = Scene::new("soak", &bins)?;
    let image = progress.step("image", "building the image", |_| {
        stage::build_image(scene.bins(), "hello", &[], &scene.path("hello.eif"))
    })?;
    // They end with this process.
    for _ in 0..options.load {
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    let mut seconds = Vec::new();
    let mut lost = Vec::new();
    for boot in 1..=options.boots {
        let start = Instant::now();
        let attested = run_enclave(&scene, &image.eif, &["--memory", "256"]).and_then(|enclave| {
            verified_document(&scene, &image, &enclave, true)?;
            let booted = start.elapsed();
            terminate(&scene, &enclave)?;
            Ok(booted)
        });
        match attested {
            Ok(booted) => {
                progress.note(&format!("boot {boot}: attested in {}", text(booted)));
                seconds.push(booted);
            }
            Err(error) => {
                progress.note(&format!("boot {boot}: LOST: {error:#}"));
                lost.push(format!("boot {boot}: {error:#}"));
            }
        }
    }
    report(options, seconds, &lost)
}

fn report(options: &SoakOptions, mut seconds: Vec<Duration>, lost: &[String]) -> Result<()> {
    seconds.sort();
    let at = |part: usize| seconds.get((seconds.len().saturating_sub(1)) * part / 2);
    let (least, median, most) = (at(0), at(1), at(2));
    if options.json {
        let seconds = |time: Option<&Duration>| time.map(Duration::as_secs_f64);
        let shown = serde_json::json!({
            "boots": options.boots,
            "load": options.load,
            "lost": lost,
            "seconds": {"least": seconds(least), "median": seconds(median), "most": seconds(most)},
        });
        println!("{shown}");
    } else if let (Some(least), Some(median), Some(most)) = (least, median, most) {
        println!(
            "{} of {} boots attested, beside {} busy threads: {} to {}, median {}",
            seconds.len(),
            options.boots,
            options.load,
            text(*least),
            text(*most),
            text(*median)
        );
    }
    if let Some(first) = lost.first() {
        bail!(
            "{} of {} boots lost; the first: {first}",
            lost.len(),
            options.boots
        );
    }
    Ok(())
}

fn text(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
