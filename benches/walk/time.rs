//! Measures the time of signing and of the request pipeline: `cargo bench --bench walk`.

mod pure;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use oss_signing_proxy::internals::sign::SignatureVersion;
use pure::Walk;

fn measure(criterion: &mut Criterion) {
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        let walk = Walk::new(version);
        let located = walk.locate(&walk.headers());
        let name = version.as_str();
        criterion.bench_function(&format!("sign {name}"), |bencher| {
            bencher.iter_batched(
                || walk.headers(),
                |mut headers| {
                    walk.sign(&located, &mut headers);
                    headers
                },
                BatchSize::SmallInput,
            );
        });
        criterion.bench_function(&format!("walk {name}"), |bencher| {
            bencher.iter_batched(|| walk.headers(), |headers| walk.all(headers), BatchSize::SmallInput);
        });
    }
    let walk = Walk::new(SignatureVersion::V4);
    let headers = walk.headers();
    criterion.bench_function("locate", |bencher| bencher.iter(|| walk.locate(black_box(&headers))));
}

criterion_group!(walk, measure);
criterion_main!(walk);
