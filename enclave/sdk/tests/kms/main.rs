//! The KMS client against honest and hostile servers on loopback.

#[path = "../common/cms.rs"]
mod cms;
#[path = "../common/module.rs"]
mod module;
#[path = "../common/server.rs"]
mod server;

mod answers;
mod attested;
mod peers;
mod requests;
mod support;
