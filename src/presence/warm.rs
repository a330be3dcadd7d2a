//! What routing will read of several users, asked for ahead: their waits for memory overlap.
//!
//! With many subscribers each look at one misses the cache half a dozen times, one after the other, as
//! each place names the next. Here each step is taken for all users before the next one.

use smallvec::SmallVec;

use super::directory::{Directory, Handle};
use super::profile::Profile;

/// How many users are warmed at once.
const AT_ONCE: usize = 64;

impl Directory {
    /// Asks for what a decision reads of whoever has one of these keys. Changes nothing.
    pub fn warm<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        let index = self.index.load();
        let mut packed: SmallVec<[_; AT_ONCE]> = SmallVec::new();
        packed.extend(keys.take(AT_ONCE).filter_map(|key| index.pack(key)));
        for key in &packed {
            index.warm(key);
        }
        let mut handles: SmallVec<[Handle; AT_ONCE]> = SmallVec::new();
        handles.extend(packed.iter().filter_map(|key| index.search(key, |_| true)));
        for handle in &handles {
            self.records.warm(*handle);
        }
        for warm in [
            Profile::warm,
            Profile::warm_parts,
            Profile::warm_rules,
            Profile::warm_targets,
            Profile::warm_texts,
        ] {
            for handle in &handles {
                if let Some(profile) = self.records.unread(*handle) {
                    warm(&profile);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Subscriber;
    use super::super::sample;
    use super::*;

    #[test]
    fn warming_finds_whom_a_call_finds_and_takes_any_key() {
        let directory = Directory::new(7);
        for number in 0..500 {
            let subscriber = Subscriber {
                id: format!("u{number}"),
                ..Subscriber::default()
            };
            directory.put(&subscriber, &sample::plan()).unwrap();
        }
        let keys: Vec<_> = (0..600).map(|number| format!("u{number}")).collect();
        let index = directory.index.load();
        for key in &keys {
            let packed = index.pack(key.as_bytes()).unwrap();
            let found = index.search(&packed, |_| true);
            assert_eq!(found, directory.find(key.as_bytes()));
        }
        let strange: [&[u8]; 4] = [b"", b"\0\xff", &[b'x'; 27], &[b'x'; 500]];
        let all = keys.iter().map(|key| key.as_bytes()).chain(strange);
        directory.warm(all.clone());
        directory.warm(all.rev());
    }
}
