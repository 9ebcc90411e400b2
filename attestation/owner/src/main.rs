//! The data owner's tool: keys and policies, sealing, and the check of answers.
#![forbid(unsafe_code)]

mod cli;
mod threshold;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(printed) => {
            println!("{printed}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let said =
                serde_json::json!({"rule": cli::rule(&error), "message": format!("{error:#}")});
            println!("{}", serde_json::json!({ "error": said }));
            ExitCode::FAILURE
        }
    }
}
