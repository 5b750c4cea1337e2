//! Answers so many questions from the cache, for `.ci/instructions`, which counts what that takes: `hits
//! NUMBER`.

#[path = "../tests/hot/mod.rs"]
mod hot;

use std::hint::black_box;

fn main() {
    let number = std::env::args().nth(1).and_then(|text| text.parse::<usize>().ok()).expect("a number");
    let mut hot = hot::Hot::new();
    let bytes: usize = (0..number).map(|_| black_box(hot.hit()).len()).sum();
    println!("{number} hits, {bytes} bytes");
}
