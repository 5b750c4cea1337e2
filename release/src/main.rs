//! Writes the SBOM of a program and the licences of everything in it.
//!
//! ```text
//! notices PACKAGE DIRECTORY [MESSAGES]      DIRECTORY/sbom.cdx.json and DIRECTORY/licenses.txt
//!
//!   contents   the contents of the program: the resolution of cargo for it, and the sources of the crates
//!   built      compares the contents with the crates that cargo has compiled, if the MESSAGES of its build are given
//!   sbom       writes the contents as CycloneDX
//!   licenses   writes the contents as a text with every licence in full
//! ```
//!
//! The same sources give the same bytes: the output is sorted, and contains no time and no local path.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

mod built;
mod contents;
mod licenses;
mod sbom;

use contents::{Contents, about};

/// Exit code: invalid usage, `EX_USAGE` of sysexits(3).
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [package, directory] => write(package, Path::new(directory), None),
        [package, directory, messages] => write(package, Path::new(directory), Some(Path::new(messages))),
        _ => {
            eprintln!(
                "notices: expected PACKAGE DIRECTORY [MESSAGES], such as podlocal-sidecar dist/sidecar"
            );
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("notices: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn write(package: &str, directory: &Path, messages: Option<&Path>) -> Result<(), String> {
    let contents = Contents::of(package)?;
    if let Some(file) = messages {
        let unlisted = built::unlisted(&fs::read_to_string(file).map_err(about(file))?, &contents);
        if !unlisted.is_empty() {
            return Err(format!(
                "compiled into the program, but not listed by cargo tree: {}",
                unlisted.join(", ")
            ));
        }
    }
    let licenses = licenses::text(&contents)?;
    fs::create_dir_all(directory).map_err(about(directory))?;
    for (name, text) in [("sbom.cdx.json", sbom::json(&contents)), ("licenses.txt", licenses)] {
        let file = directory.join(name);
        fs::write(&file, text).map_err(about(&file))?;
    }
    Ok(())
}
