//! What a hit costs without sockets: `cargo bench --package podlocal-sidecar --bench hits`.
//!
//! The instructions of the same, which are the same on every machine, are what `.ci/instructions` counts.

#[path = "../tests/hot/mod.rs"]
mod hot;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hot::Hot;

fn hits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hit");
    group.throughput(Throughput::Elements(1));
    let mut hot = Hot::new();
    group.bench_function("bytes in, bytes out", |bencher| bencher.iter(|| black_box(hot.hit()).len()));
    group.finish();
}

criterion_group!(benches, hits);
criterion_main!(benches);
