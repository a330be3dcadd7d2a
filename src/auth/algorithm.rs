//! The hash algorithms of Digest (RFC 7616 §3.2, RFC 8760 §2.1).

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use subtle::ConstantTimeEq;

/// A hash algorithm, in the order in which it is preferred.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Algorithm {
    /// SHA-256, which every client must know.
    Sha256,
    /// SHA-512 cut to 256 bits.
    Sha512_256,
    /// MD5, for old phones.
    Md5,
}

impl Algorithm {
    /// Every algorithm, the preferred first.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha512_256, Self::Md5];

    /// The name in header fields and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
            Self::Md5 => "MD5",
        }
    }

    /// The algorithm of that name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// How long its hashes are.
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::Sha256 | Self::Sha512_256 => 32,
            Self::Md5 => 16,
        }
    }

    /// The hash of the parts with colons between them.
    pub fn hash(self, parts: &[&[u8]]) -> Hash {
        #[cfg(test)]
        tests::HASHED.with(|hashed| hashed.set(hashed.get() + 1));
        let mut hash = Hash {
            bytes: [0; 32],
            algorithm: self,
        };
        match self {
            Self::Sha256 => joined::<Sha256>(parts, &mut hash.bytes),
            Self::Sha512_256 => joined::<Sha512_256>(parts, &mut hash.bytes),
            Self::Md5 => joined::<Md5>(parts, &mut hash.bytes),
        }
        hash
    }
}

fn joined<D: Digest>(parts: &[&[u8]], out: &mut [u8; 32]) {
    let mut hasher = D::new();
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    for (byte, hashed) in out.iter_mut().zip(hasher.finalize()) {
        *byte = hashed;
    }
}

/// A hash of one of the algorithms. Compared in constant time, shown to nobody.
#[derive(Clone, Copy)]
pub struct Hash {
    bytes: [u8; 32],
    algorithm: Algorithm,
}

impl Hash {
    /// The hash with these bytes; `None` where there are too few or too many.
    pub fn from_bytes(algorithm: Algorithm, from: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        let to = bytes.get_mut(..algorithm.size_bytes())?;
        if to.len() != from.len() {
            return None;
        }
        to.copy_from_slice(from);
        Some(Self { bytes, algorithm })
    }

    /// The hash that hexadecimal digits of either case spell.
    pub fn from_hex(algorithm: Algorithm, digits: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        let size = algorithm.size_bytes();
        if digits.len() != size * 2 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self { bytes, algorithm })
    }

    /// Which algorithm made it.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..self.algorithm.size_bytes())
            .unwrap_or_default()
    }

    /// Its lower-case hexadecimal digits, as Digest hashes them again (RFC 7616 §3.4).
    pub fn hex(&self) -> Hex {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.bytes) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = b"0123456789abcdef"
                    .get(usize::from(nibble))
                    .copied()
                    .unwrap_or(b'0');
            }
        }
        let size = self.algorithm.size_bytes() * 2;
        Hex { digits, size }
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && bool::from(self.bytes.ct_eq(&other.bytes))
    }
}

impl Eq for Hash {}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({} hash)", self.algorithm.name())
    }
}

/// A hash in hexadecimal digits.
pub struct Hex {
    digits: [u8; 64],
    size: usize,
}

impl Hex {
    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(..self.size).unwrap_or_default()
    }
}

/// The value of a hexadecimal digit.
pub(super) fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How many hashes this thread has made: equal for those we know and those we do not.
        pub(in crate::auth) static HASHED: Cell<usize> = const { Cell::new(0) };
    }

    fn hex(algorithm: Algorithm, text: &[u8]) -> String {
        String::from_utf8(algorithm.hash(&[text]).hex().as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_hashes_are_those_of_the_standards() {
        assert_eq!(
            hex(Algorithm::Md5, b"abc"),
            "900150983cd24fb0d6963f7d28e17f72"
        );
        assert_eq!(
            hex(Algorithm::Sha256, b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(Algorithm::Sha512_256, b"abc"),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
    }

    #[test]
    fn a_hash_reads_back_from_either_case_and_from_its_own_length_only() {
        for algorithm in Algorithm::ALL {
            let hash = algorithm.hash(&[b"a", b"b"]);
            assert_eq!(hash, algorithm.hash(&[b"a:b"]));
            let digits = hash.hex();
            let upper = digits.as_bytes().to_ascii_uppercase();
            assert_eq!(Hash::from_hex(algorithm, &upper), Some(hash));
            assert_eq!(Hash::from_bytes(algorithm, hash.as_bytes()), Some(hash));
            assert_eq!(Hash::from_hex(algorithm, &upper[2..]), None);
            assert_eq!(Hash::from_bytes(algorithm, &[]), None);
            assert_eq!(Hash::from_hex(algorithm, &[b'g'; 64]), None);
        }
    }
}
