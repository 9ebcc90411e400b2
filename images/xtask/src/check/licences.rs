//! Licences, sources and banned crates, by the list in `deny.toml`.

use anyhow::{Context, Result};
use cargo_metadata::Metadata;
use serde::Deserialize;
use spdx::{Expression, LicenseReq};

/// The part of `deny.toml` that is read here; its other fields are cargo-deny's.
#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
}

/// Every package that breaks the list, in words.
///
/// # Errors
/// `deny.toml` cannot be read.
pub fn violations(metadata: &Metadata) -> Result<Vec<String>> {
    let path = crate::paths::root().join("deny.toml");
    let text = std::fs::read_to_string(&path).context("cannot read deny.toml")?;
    let deny: Deny = toml::from_str(&text).context("cannot parse deny.toml")?;
    let allow = allowed(&deny.licenses.allow)?;
    let mut found = Vec::new();
    for package in &metadata.packages {
        let who = format!("{} {}", package.name, package.version);
        let license = package.license.as_deref().unwrap_or_default();
        if let Err(why) = license_is_allowed(license, &allow) {
            found.push(format!("{who}: {why}"));
        }
        let own = metadata.workspace_members.contains(&package.id);
        let registry = package
            .source
            .as_ref()
            .is_some_and(|s| s.repr.starts_with("registry+"));
        if !own && !registry {
            found.push(format!("{who}: its source is no registry"));
        }
        if deny
            .bans
            .deny
            .iter()
            .any(|banned| package.name == banned.name)
        {
            found.push(format!("{who}: banned in deny.toml"));
        }
    }
    Ok(found)
}

fn allowed(list: &[String]) -> Result<Vec<LicenseReq>> {
    let mut allow = Vec::new();
    for licence in list {
        let parsed = Expression::parse(licence).with_context(|| format!("deny.toml: {licence}"))?;
        allow.extend(
            parsed
                .requirements()
                .map(|requirement| requirement.req.clone()),
        );
    }
    Ok(allow)
}

fn license_is_allowed(license: &str, allow: &[LicenseReq]) -> Result<(), String> {
    let expression = Expression::parse_mode(license, spdx::ParseMode::LAX).map_err(|error| {
        format!(
            "expected an SPDX licence, got {license:?}: {}",
            error.reason
        )
    })?;
    if expression.evaluate(|req| allow.contains(req)) {
        return Ok(());
    }
    Err(format!("expected licences of deny.toml, got {license:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_keeps_the_list() {
        let metadata = crate::check::metadata().unwrap();
        assert!(metadata.packages.len() > 100);
        assert_eq!(violations(&metadata).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn licences_that_are_refused() {
        let allow = allowed(&["MIT".to_owned(), "Apache-2.0".to_owned()]).unwrap();
        for license in [
            "GPL-3.0-only",
            "MIT AND GPL-2.0-only",
            "",
            "SomethingOfOurs",
        ] {
            assert!(license_is_allowed(license, &allow).is_err(), "{license}");
        }
        for license in ["MIT", "GPL-3.0-only OR MIT", "MIT/Apache-2.0"] {
            assert_eq!(license_is_allowed(license, &allow), Ok(()), "{license}");
        }
    }
}
