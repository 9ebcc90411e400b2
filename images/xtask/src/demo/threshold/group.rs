//! All three, what they agreed on, and what they do together.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use super::memory::{self, Found, Wanted};
use super::party::Party;
use super::relay::Relay;
use super::tools::{challenge, text};
use super::{PAIRS, Signed, VALUES};
use crate::scene::Scene;
use crate::stage::Image;

/// All three, the relays between them, and what they agreed on.
pub(super) struct Group<'s> {
    pub(super) parties: Vec<Party<'s>>,
    pub(super) relays: Vec<Relay>,
    pub(super) image: Image,
    pub(super) agreement: PathBuf,
    pub(super) key: String,
    pub(super) epoch: u64,
    /// What names the present sharing of the key; nothing before there is one.
    pub(super) sharing: String,
    /// Each participant's sealed share, as it was last given out.
    pub(super) sealed: Vec<String>,
    /// And those of the epoch before, with what names their sharing.
    pub(super) old_sealed: Vec<String>,
    pub(super) old_sharing: String,
}

impl<'s> Group<'s> {
    pub(super) fn assemble(scene: &'s Scene, image: Image) -> Result<Self> {
        let names = ["ada", "ben", "cyd"];
        let parties: Result<Vec<_>> = (1..)
            .zip(names)
            .map(|(number, name)| Party::assemble(scene, number, name, &image.pcrs))
            .collect();
        let mut parties = parties?;
        let relays: Vec<_> = PAIRS
            .iter()
            .map(|_| Relay::start())
            .collect::<Result<_>>()?;
        for party in &mut parties {
            let pairs = PAIRS.iter().zip(&relays);
            let own = pairs.filter(|(pair, _)| pair[0] == party.number);
            let own: Vec<_> = own.map(|(pair, relay)| (pair[1], relay)).collect();
            party.open_ways(&own)?;
        }
        let members: Result<Vec<_>> = parties.iter().map(Party::member).collect();
        let agreement = scene.path("agreement.json");
        let text = json!({
            "version": 1,
            "purpose": "the clearing house's signature",
            "threshold": 2,
            "members": members?,
        });
        std::fs::write(&agreement, serde_json::to_string_pretty(&text)?)?;
        let group = Self {
            parties,
            relays,
            image,
            agreement,
            key: String::new(),
            epoch: 0,
            sharing: String::new(),
            sealed: vec![String::new(); 3],
            old_sealed: vec![String::new(); 3],
            old_sharing: String::new(),
        };
        group.set_epochs()?;
        Ok(group)
    }

    pub(super) fn set_epochs(&self) -> Result<()> {
        for party in &self.parties {
            let sharing = Some(self.sharing.as_str()).filter(|text| !text.is_empty());
            party.set_epoch(&self.image.pcrs, &self.agreement, self.epoch, sharing)?;
        }
        Ok(())
    }

    pub(super) fn party(&self, number: u16) -> &Party<'s> {
        &self.parties[usize::from(number) - 1]
    }

    pub(super) fn boot_all(&mut self) -> Result<()> {
        for number in 1..=3 {
            self.boot(number)?;
            self.party(number).configure(&self.agreement)?;
        }
        Ok(())
    }

    pub(super) fn boot(&mut self, number: u16) -> Result<()> {
        self.boot_image(number, &self.image.clone())
    }

    pub(super) fn boot_image(&mut self, number: u16, image: &Image) -> Result<()> {
        let at = usize::from(number) - 1;
        self.parties[at].boot(image)?;
        let address = self.parties[at].address()?;
        for (pair, relay) in PAIRS.iter().zip(&self.relays) {
            if pair[1] == number {
                relay.lead_to(address.clone());
            }
        }
        Ok(())
    }

    /// Has several enclaves do something at once, each told by its own parent.
    pub(super) fn together(&self, commands: &[(u16, Value)]) -> Result<Vec<Value>> {
        thread::scope(|scope| {
            let running: Vec<_> = commands
                .iter()
                .map(|(number, command)| {
                    let party = self.party(*number);
                    scope.spawn(move || party.answer(command))
                })
                .collect();
            let answers = running.into_iter().map(|thread| {
                let answer = thread.join();
                answer.map_err(|_| anyhow::anyhow!("a parent panicked"))?
            });
            answers.collect()
        })
    }

    /// As [`Self::together`], and nobody refuses.
    pub(super) fn all_do(&self, commands: &[(u16, Value)]) -> Result<Vec<Value>> {
        let answers = self.together(commands)?.into_iter().zip(commands);
        let done = answers.map(|(answer, (number, command))| {
            let done = answer.get("done").cloned();
            done.with_context(|| format!("{number} refuses {}: {answer}", command["op"]))
        });
        done.collect()
    }

    pub(super) fn generate(&mut self) -> Result<String> {
        let commands: Vec<_> = (1..=3).map(|n| (n, json!({ "op": "dkg" }))).collect();
        let done = self.all_do(&commands)?;
        self.keep(&done)?;
        Ok(self.key.clone())
    }

    pub(super) fn refresh(&mut self) -> Result<()> {
        let commands: Vec<_> = (1..=3).map(|n| (n, json!({ "op": "refresh" }))).collect();
        let done = self.all_do(&commands)?;
        self.keep(&done)
    }

    /// Notes key, epoch and sharing, which all must tell alike and attest, and has the owners' KMSs
    /// move on.
    pub(super) fn keep(&mut self, done: &[Value]) -> Result<()> {
        let key = text(&done[0], "/key")?.to_owned();
        let epoch = done[0]["epoch"].as_u64().context("no epoch")?;
        let sharing = text(&done[0], "/sharing")?.to_owned();
        self.old_sealed.clone_from(&self.sealed);
        for (at, done) in done.iter().enumerate() {
            ensure!(
                done["key"] == key.as_str()
                    && done["epoch"] == epoch
                    && done["sharing"] == sharing.as_str(),
                "they disagree: {done}"
            );
            self.sealed[at] = text(done, "/sealed")?.to_owned();
        }
        ensure!(
            self.key.is_empty() || self.key == key,
            "the key has changed"
        );
        for party in &self.parties {
            let status = party.status(&self.agreement, &self.image.pcrs)?;
            ensure!(
                status["key"] == key.as_str() && status["sharing"] == sharing.as_str(),
                "{status}"
            );
        }
        (self.key, self.epoch) = (key, epoch);
        self.old_sharing = std::mem::replace(&mut self.sharing, sharing);
        self.set_epochs()
    }

    /// The command that opens a sealed share of the present sharing.
    pub(super) fn open(&self, sealed: &str) -> Value {
        json!({
            "op": "open", "sealed": sealed, "key": self.key, "epoch": self.epoch,
            "sharing": self.sharing,
        })
    }

    /// The signing commands of some signers.
    pub(super) fn signing(
        &self,
        signers: &[u16],
        message: &[u8],
        patience: u64,
    ) -> Result<Vec<(u16, Value)>> {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(message);
        let commands = signers.iter().map(|number| {
            let party = self.party(*number);
            let approval = party.approve(&self.agreement, &self.key, message)?;
            let command = json!({
                "op": "sign", "message": encoded, "signers": signers,
                "approval": approval, "patience": patience,
            });
            Ok((*number, command))
        });
        commands.collect()
    }

    pub(super) fn sign(&self, signers: &[u16], message: &[u8]) -> Result<Signed> {
        let done = self.all_do(&self.signing(signers, message, 60)?)?;
        let signature = done.iter().find_map(|done| done["signature"].as_str());
        let signature = signature.context("nobody gave the signature")?.to_owned();
        // AWS-LC's Ed25519: it knows nothing of thresholds.
        let key = UnparsedPublicKey::new(&ED25519, hex::decode(&self.key)?);
        let verified = key.verify(message, &hex::decode(&signature)?).is_ok();
        Ok(Signed {
            signers: signers.to_vec(),
            epoch: self.epoch,
            signature,
            verified,
        })
    }

    pub(super) fn search(&self, number: u16) -> Result<Found> {
        let party = self.party(number);
        let status = party.status(&self.agreement, &self.image.pcrs)?;
        let point = |n: u16| text(&status, &format!("/points/{n}")).map(str::to_owned);
        let others: Result<_> = (1..=3).filter(|n| *n != number).map(point).collect();
        let wanted = Wanted {
            group_key: self.key.clone(),
            own: point(number)?,
            others: others?,
        };
        memory::search(party.hypervisor()?, &wanted)
    }

    /// Gives a fresh enclave its lost share back. The enclave runs, and is configured.
    pub(super) fn repair(&mut self, lost: u16) -> Result<()> {
        let helpers: Vec<_> = (1..=3).filter(|number| *number != lost).collect();
        let command = json!({
            "op": "repair", "lost": lost, "helpers": helpers,
            "key": self.key, "epoch": self.epoch,
        });
        let commands: Vec<_> = (1..=3).map(|n| (n, command.clone())).collect();
        let done = self.all_do(&commands)?;
        let at = usize::from(lost) - 1;
        self.sealed[at] = text(&done[at], "/sealed")?.to_owned();
        Ok(())
    }

    pub(super) fn sum(&self, label: &str) -> Result<Vec<String>> {
        let challenge = challenge()?;
        let intake = json!({ "op": "intake", "challenge": challenge });
        let asked: Vec<_> = (1..=3).map(|number| (number, intake.clone())).collect();
        let mut files = Vec::new();
        for (party, answer) in self.parties.iter().zip(self.together(&asked)?) {
            let file = party.path("intake.json");
            std::fs::write(&file, answer.to_string())?;
            files.push(file);
        }
        let mut pieces = Vec::new();
        for (party, values) in self.parties.iter().zip(VALUES) {
            let pcrs = &self.image.pcrs;
            let (agreement, files) = (self.agreement.as_path(), files.as_slice());
            pieces.push(party.split(agreement, pcrs, label, &challenge, &values, files)?);
        }
        let commands = (1..=3_u16).map(|number| {
            let owners = (1..=3_u16).zip(&pieces);
            let given: serde_json::Map<_, _> = owners
                .map(|(owner, pieces)| (owner.to_string(), pieces[number.to_string()].clone()))
                .collect();
            let command = json!({ "op": "sum", "label": label, "values": 2, "pieces": given });
            (number, command)
        });
        let done = self.all_do(&commands.collect::<Vec<_>>())?;
        ensure!(
            done.iter().all(|d| d == &done[0]),
            "they disagree: {done:?}"
        );
        Ok(serde_json::from_value(done[0]["sums"].clone())?)
    }
}

/// The agreement with another owner's platform root in a place.
pub(super) fn with_swapped_root(agreement: &Path, from: usize, to: usize) -> Result<String> {
    let mut text: Value = serde_json::from_str(&std::fs::read_to_string(agreement)?)?;
    text["members"][to]["platform_root_pem"] = text["members"][from]["platform_root_pem"].clone();
    Ok(serde_json::to_string_pretty(&text)?)
}
