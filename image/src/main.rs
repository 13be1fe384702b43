//! The builder of the image.

use std::process::ExitCode;

use clap::Parser as _;
use image::cli::{CommandLine, arguments};

fn main() -> ExitCode {
    let line = CommandLine::parse_from(arguments(std::env::args_os()));
    match image::build::run(&line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image: {error}");
            ExitCode::FAILURE
        }
    }
}
