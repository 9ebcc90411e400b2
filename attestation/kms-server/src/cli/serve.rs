//! `anchorhold-kms serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anchorhold_kms::instance::{Instance, Running};
use anchorhold_kms::server::{Limits, Server, load_tls};
use anchorhold_kms::service::Service;
use anchorhold_kms_core::attestation::RecipientRules;
use anchorhold_verifier::TrustRoots;
use anyhow::Context;
use clap::Args;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{DataDirArgument, print};

/// How often the server looks for keys whose waiting period is over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Args)]
#[command(
    after_help = "Prints {\"listening\":\"<endpoint>\"} on stdout when it takes calls. Ends on SIGTERM or SIGINT\nafter the answers in flight.\n\nExample:\n  anchorhold-kms serve --data-dir ./kms --listen 127.0.0.1:8000 --trust-root platform-root.pem"
)]
pub(super) struct Serve {
    #[command(flatten)]
    data: DataDirArgument,
    /// Address and port; port 0 takes any free one. Without TLS a loopback address only.
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// The server's certificate chain, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A root certificate (PEM) whose attestation documents count. May be given more than once.
    #[arg(long, value_name = "PEM")]
    trust_root: Vec<PathBuf>,
    /// Trust AWS's Nitro Enclaves root G1.
    #[arg(long)]
    trust_aws_root: bool,
    /// Oldest attestation document that counts, in seconds.
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=10_800))]
    document_max_age: u64,
    /// Take attestation documents with an unused nonce from GetAttestationNonce only. A document
    /// then serves once: a call that is repeated needs a new nonce and document, and where a policy
    /// counts releases (PriorReleases), that is another one.
    #[arg(long)]
    require_nonce: bool,
}

pub(super) async fn run(arguments: Serve) -> anyhow::Result<()> {
    let rules = rules(&arguments)?;
    let tls = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Some(load_tls(certificate, key)?),
        _ => None,
    };
    // From here on a signal ends the server in order, also while it starts.
    let end = Ending::new()?;
    let (instance, lock) = Instance::open_to_serve(&arguments.data.data_dir).await?;
    let server = Server::listen(arguments.listen, tls, Limits::default()).await?;
    let Running {
        service,
        writer,
        lock: _lock,
    } = instance.start(lock, rules).await?;
    service.destroy_due_keys(SystemTime::now()).await?;
    service.log_policy_errors().await?;
    let sweeper = tokio::spawn(sweep(Arc::clone(&service)));

    print(&json!({ "listening": server.url() }))?;
    server.run(Arc::clone(&service), end.wait()).await;

    sweeper.abort();
    let _ = sweeper.await;
    service.record_refusals(SystemTime::now()).await;
    drop(service);
    writer.await.context("the writer failed")
}

fn rules(arguments: &Serve) -> anyhow::Result<RecipientRules> {
    let mut roots = TrustRoots::new();
    for path in &arguments.trust_root {
        let named = || format!("cannot take trusted roots from {}", path.display());
        roots.extend(&TrustRoots::from_pem_file(path).with_context(named)?);
    }
    if arguments.trust_aws_root {
        roots.extend(&TrustRoots::aws_nitro_g1());
    }
    if roots.is_empty() {
        log::info!("no attestation root is trusted: every request with a Recipient is refused");
    }
    if roots.len() > 1 {
        log::info!(
            "{} attestation roots are trusted: policies have to pin anchorhold:RecipientAttestation:RootSha256",
            roots.len()
        );
    }
    let max_age = Duration::from_secs(arguments.document_max_age);
    let rules = RecipientRules::new(roots).with_max_age(max_age);
    Ok(if arguments.require_nonce {
        rules.with_required_nonce()
    } else {
        rules
    })
}

async fn sweep(service: Arc<Service>) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        let now = SystemTime::now();
        if let Err(error) = service.destroy_due_keys(now).await {
            log::error!("keys whose waiting period is over were not destroyed: {error}");
        }
        service.record_refusals(now).await;
    }
}

/// SIGTERM and SIGINT.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
