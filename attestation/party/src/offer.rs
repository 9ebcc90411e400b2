//! A party's own terms: what it offers before the contract, and finds again in it before it binds,
//! seals or approves anything.

use std::time::Duration;

use anchorhold_joint::contract::{Computation, Contract, ContractError, Party, Privacy};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The value of an offer's `format` field.
pub const FORMAT: &str = "anchorhold-joint-offer/2";

/// An offer. It holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// What the contract must say beside the party's own terms.
    pub demands: Demands,
    /// [`FORMAT`].
    pub format: String,
    /// The party as it shall stand in the contract.
    pub party: Party,
}

/// What a party demands of a contract's common terms, whoever writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demands {
    /// Just this computation.
    pub computation: Computation,
    /// For how many seconds at most a contract may still run when it is checked.
    pub longest: u64,
    /// The least minimum cohort.
    pub minimum: u32,
    /// Just this noise; without it, whatever noise the others want.
    pub privacy: Option<Privacy>,
    /// That what could be taken from the number of a party's own keys is withheld.
    pub withhold_complements: bool,
}

/// Why a contract is not approved.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// The file is no offer.
    #[error("the offer is not the JSON of an offer")]
    Json(#[from] serde_json::Error),
    /// Of another format.
    #[error("the offer's format must be {FORMAT}")]
    Format,
    /// The contract does not have the party.
    #[error("{name} is no party of the contract")]
    NoParty {
        /// The party.
        name: String,
    },
    /// The contract says something else of the party than it offered.
    #[error("the contract says of {name} in {field} what {name} did not offer")]
    Differs {
        /// The party.
        name: String,
        /// The first field that differs.
        field: String,
    },
    /// The contract has a party whose offer is not at hand.
    #[error("{name} is a party of the contract, and its offer is not at hand")]
    Stranger {
        /// The party.
        name: String,
    },
    /// The contract's common terms are not what the party demands.
    #[error("the contract's {field} is not {demanded}")]
    Demand {
        /// The field.
        field: &'static str,
        /// What the party demands.
        demanded: String,
    },
    /// It is over.
    #[error("the contract is over")]
    Over(#[source] ContractError),
}

impl OfferError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Format => "offer.json",
            Self::NoParty { .. } => "offer.party",
            Self::Differs { .. } => "offer.differs",
            Self::Stranger { .. } => "offer.stranger",
            Self::Demand { .. } => "offer.demand",
            Self::Over(source) => source.rule(),
        }
    }
}

impl Offer {
    /// An offer of a party.
    pub fn of(party: Party, demands: Demands) -> Self {
        Self {
            demands,
            format: FORMAT.to_owned(),
            party,
        }
    }

    /// Reads an offer.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(json: &[u8]) -> Result<Self, OfferError> {
        let offer: Self = serde_json::from_slice(json)?;
        if offer.format != FORMAT {
            return Err(OfferError::Format);
        }
        Ok(offer)
    }

    /// Checks that a contract is one that this party wants: it says of the party and of each of the
    /// others exactly what they offered, has no further party, meets the party's demands, and is
    /// running. `others` are the offers as the party had them from the others themselves.
    ///
    /// It does not establish that the contract's image is good ([`crate::image`]), nor that the
    /// others are who they say they are: how their offers came, the party knows.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn agree(
        &self,
        contract: &Contract,
        others: &[Self],
        now: OffsetDateTime,
    ) -> Result<(), OfferError> {
        self.check(contract)?;
        for other in others {
            other.check(contract)?;
        }
        let offered =
            |name: &str| self.party.name == name || others.iter().any(|o| o.party.name == name);
        let mut parties = contract.parties().iter();
        if let Some(stranger) = parties.find(|party| !offered(&party.name)) {
            let name = stranger.name.clone();
            return Err(OfferError::Stranger { name });
        }
        contract.check_running(now).map_err(OfferError::Over)?;
        self.demands.check(contract, now)
    }

    /// Checks that the contract says of this party exactly what it offered: its keys, its KMS, its
    /// columns, what it may see, and how many runs it allows. It says nothing about the rest.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn check(&self, contract: &Contract) -> Result<(), OfferError> {
        let name = &self.party.name;
        let Some((_, found)) = contract.party(name) else {
            return Err(OfferError::NoParty { name: name.clone() });
        };
        if *found == self.party {
            return Ok(());
        }
        let fields = |party: &Party| match serde_json::to_value(party) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let (offered, found) = (fields(&self.party), fields(found));
        let mut differing = offered.iter().filter(|(k, v)| found.get(*k) != Some(*v));
        let field = differing.next().map_or("a field", |(k, _)| k.as_str());
        Err(OfferError::Differs {
            name: name.clone(),
            field: field.to_owned(),
        })
    }
}

impl Demands {
    fn check(&self, contract: &Contract, now: OffsetDateTime) -> Result<(), OfferError> {
        let terms = contract.terms();
        let demand = |holds, field, demanded: &dyn Fn() -> String| match holds {
            true => Ok(()),
            false => Err(OfferError::Demand {
                field,
                demanded: demanded(),
            }),
        };
        demand(
            terms.cohorts.minimum >= self.minimum,
            "minimum cohort",
            &|| format!("at least {}", self.minimum),
        )?;
        demand(
            terms.cohorts.withhold_complements || !self.withhold_complements,
            "withholding of complements",
            &|| "on".to_owned(),
        )?;
        demand(
            terms.computation == self.computation,
            "computation",
            &|| as_json(&self.computation),
        )?;
        demand(
            self.privacy.is_none() || terms.privacy == self.privacy,
            "noise",
            &|| as_json(&self.privacy),
        )?;
        // A contract that is over by then is one that does not run longer.
        let end = now.checked_add(
            Duration::from_secs(self.longest)
                .try_into()
                .unwrap_or_default(),
        );
        let over = end.is_none_or(|end| contract.check_running(end).is_err());
        demand(over, "expiry", &|| {
            format!("within {} seconds from now", self.longest)
        })
    }
}

fn as_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
