//! The verbs of `user` and `approval`: who may manage an appliance, and what waits for a second person.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use crate::cli::help::user::{APPROVAL, USER};

const ROLES: [&str; 3] = ["viewer", "operator", "administrator"];

/// Verbs about who may log in.
#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Who may log in
    #[command(after_long_help = USER)]
    List(UserList),
    /// Let somebody in; the password is the first line of standard input
    #[command(after_long_help = USER)]
    Add(UserAdd),
    /// Give somebody another password, the first line of standard input
    #[command(after_long_help = USER)]
    Password(UserName),
    /// Say what somebody may do
    #[command(after_long_help = USER)]
    Role(UserRole),
    /// Let somebody in no more
    #[command(after_long_help = USER)]
    Remove(UserName),
}

impl UserVerb {
    /// The folder that serve keeps its documents in, where it is named.
    #[must_use]
    pub fn state(&self) -> Option<&PathBuf> {
        match self {
            Self::List(list) => list.state.as_ref(),
            Self::Add(UserAdd { at, .. }) | Self::Role(UserRole { at, .. }) => at.state.as_ref(),
            Self::Password(at) | Self::Remove(at) => at.state.as_ref(),
        }
    }
}

/// `user list`
#[derive(Debug, Args)]
pub struct UserList {
    /// Folder that serve keeps its documents in (default: as for serve)
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `user password`, `user remove`
#[derive(Debug, Args)]
pub struct UserName {
    /// What they are called
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Folder that serve keeps its documents in (default: as for serve)
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
}

/// `user add`
#[derive(Debug, Args)]
pub struct UserAdd {
    /// Who.
    #[command(flatten)]
    pub at: UserName,

    /// What they may do
    #[arg(long, value_name = "ROLE", value_parser = PossibleValuesParser::new(ROLES), default_value = "viewer")]
    pub role: String,
}

/// `user role`
#[derive(Debug, Args)]
pub struct UserRole {
    /// Who.
    #[command(flatten)]
    pub at: UserName,

    /// What they may do
    #[arg(value_name = "ROLE", value_parser = PossibleValuesParser::new(ROLES))]
    pub role: String,
}

/// Verbs about what waits for a second person.
#[derive(Debug, Subcommand)]
pub enum ApprovalVerb {
    /// What waits, and what became of what waited lately
    #[command(after_long_help = APPROVAL)]
    List(ApprovalList),
    /// Agree as the second person
    #[command(after_long_help = APPROVAL)]
    Grant(ApprovalName),
    /// Refuse as the second person
    #[command(after_long_help = APPROVAL)]
    Refuse(ApprovalName),
}

/// `approval list`
#[derive(Debug, Args)]
pub struct ApprovalList {
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `approval grant`, `approval refuse`
#[derive(Debug, Args)]
pub struct ApprovalName {
    /// As approval list names it
    #[arg(value_name = "ID")]
    pub id: String,
}
