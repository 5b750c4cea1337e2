//! Reads the files that the commands `inject` and `check` name.

use std::io::Read as _;
use std::path::Path;

/// The text of a file; `-` is standard input.
pub(crate) fn read(file: &Path) -> std::io::Result<String> {
    if !is_standard_input(file) {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Whether the path means standard input.
pub(crate) fn is_standard_input(file: &Path) -> bool {
    file == "-"
}
