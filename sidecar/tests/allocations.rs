//! A hit does not allocate. In a process of its own, because the allocator is global.

mod hot;

use hot::{Hot, NAMES};

#[test]
fn a_hit_allocates_nothing() {
    let mut hot = Hot::new();
    let mut bytes = 0;
    let allocations = allocation_counter::measure(|| {
        bytes = (0..3 * NAMES).map(|_| hot.hit().len()).sum();
    });
    assert_eq!((allocations.count_total, allocations.bytes_total), (0, 0));
    assert!(bytes > 3 * NAMES * 60, "answers were written: {bytes} bytes");
}

#[test]
fn an_allocation_is_counted() {
    let allocations = allocation_counter::measure(|| drop(Hot::new()));
    assert!(allocations.count_total > NAMES as u64, "each miss is kept");
}
