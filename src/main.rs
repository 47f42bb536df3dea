//! The one binary: the server, the router, git's hooks and the command line client.

use std::process::ExitCode;

fn main() -> ExitCode {
    senryu::cli::main()
}
