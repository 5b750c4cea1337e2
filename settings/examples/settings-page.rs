//! Prints the page of settings: `cargo run -q -p podlocal-settings --example settings-page >
//! docs/settings.md`.

fn main() {
    print!("{}", podlocal_settings::page::markdown());
}
