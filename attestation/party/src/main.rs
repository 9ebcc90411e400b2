//! A party's tool for joint analysis: contract, key, sealing, approval, and the check of answers.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(printed) => {
            println!("{printed}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let rule = cli::rule::rule(&error);
            let said = serde_json::json!({"rule": rule, "message": format!("{error:#}")});
            println!("{}", serde_json::json!({ "error": said }));
            ExitCode::FAILURE
        }
    }
}
