//! gzip and brotli without compressing: both formats can carry bytes as they are, which is all a test of decoding needs.

use super::play::Encoding;

/// The longest stored block of RFC 1951.
const STORED_MAX: usize = 65_535;

/// The word in `Content-Encoding`.
pub const fn name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Gzip => "gzip",
        Encoding::Br => "br",
    }
}

/// Pack a body.
pub fn pack(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Gzip => gzip(bytes),
        Encoding::Br => brotli(bytes),
    }
}

/// RFC 1952 around stored blocks.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut rest = bytes;
    loop {
        let (block, tail) = rest.split_at(rest.len().min(STORED_MAX));
        out.push(u8::from(tail.is_empty()));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
        rest = tail;
        if rest.is_empty() {
            break;
        }
    }
    out.extend(crc32(bytes).to_le_bytes());
    out.extend(u32::try_from(bytes.len() % (1 << 32)).unwrap_or(0).to_le_bytes());
    out
}

/// RFC 7932 with uncompressed meta-blocks.
fn brotli(bytes: &[u8]) -> Vec<u8> {
    // WBITS of 16 is the single bit 0; each block's header then fills the rest of three bytes.
    let mut out = Vec::with_capacity(bytes.len() + 8);
    for (index, block) in bytes.chunks(STORED_MAX).enumerate() {
        // ISLAST 0, MNIBBLES 4 (two bits of 0), MLEN-1 in sixteen bits, ISUNCOMPRESSED 1; then padding to a byte.
        let header = (block.len() as u32 - 1) << 3 | 1 << 19;
        let header = if index == 0 { header << 1 } else { header };
        out.extend(header.to_le_bytes().into_iter().take(3));
        out.extend(block);
    }
    // ISLAST 1, ISLASTEMPTY 1; after WBITS if there was nothing before.
    out.push(if bytes.is_empty() { 0b110 } else { 0b11 });
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bytes_are_what_decoders_expect() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let expected = [
            &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 2, 0, 253, 255][..],
            b"hi",
            &[0xac, 0x2a, 0x93, 0xd8, 2, 0, 0, 0],
        ];
        assert_eq!(gzip(b"hi"), expected.concat());
        // As the reference decoder takes them.
        assert_eq!(brotli(b"hi"), [&[0x10, 0, 0x10][..], b"hi", &[3]].concat());
        assert_eq!(brotli(b""), [6]);
        assert_eq!(brotli(&vec![7; 100_000]).len(), 100_000 + 7);
    }
}
