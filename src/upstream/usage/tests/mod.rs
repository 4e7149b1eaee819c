//! Tests of the usage reader: fixtures, every way of cutting them, and a naive reader to compare with.

mod fixtures;
mod random;

use crate::money::Cost;
use crate::upstream::{BodyShape, Endpoint, Reading, UsageReader};

fn read<'a>(endpoint: Endpoint, shape: BodyShape, chunks: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let mut reader = UsageReader::new(endpoint, shape);
    chunks.into_iter().for_each(|chunk| reader.push(chunk));
    let ahead = reader.cost_at_end();
    let reading = reader.finish();
    let is_document = shape == BodyShape::Json && reading.complete;
    assert_eq!(ahead, if is_document { reading.cost } else { Cost::Unknown }, "what is said ahead of the end holds");
    reading
}

#[test]
fn every_fixture_is_read_right() {
    for fixture in fixtures::all() {
        let reading = read(fixture.endpoint, fixture.shape, [&*fixture.body]);
        let body = String::from_utf8_lossy(&fixture.body);
        assert_eq!(reading, fixture.expected, "{}: {body}", fixture.name);
    }
}

#[test]
fn every_split_of_every_fixture_reads_the_same() {
    for fixture in fixtures::all() {
        for at in 0..=fixture.body.len() {
            let (head, tail) = fixture.body.split_at(at);
            let reading = read(fixture.endpoint, fixture.shape, [head, tail]);
            assert_eq!(reading, fixture.expected, "{} split at {at}", fixture.name);
        }
    }
}

#[test]
fn any_chunk_size_reads_the_same() {
    for fixture in fixtures::all() {
        for size in (1..=40).chain([64, 255, 256, 257, 1000]) {
            let reading = read(fixture.endpoint, fixture.shape, fixture.body.chunks(size));
            assert_eq!(reading, fixture.expected, "{} in chunks of {size}", fixture.name);
        }
    }
}
