//! The trust stores for upstream TLS across reloads. An upstream with an unchanged store keeps its
//! connections. An upstream with a changed store uses none of the earlier connections.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::transport::{InvalidRoots, TrustStore, TrustStoreId};

/// The trust stores of a configuration while it is assembled.
pub(crate) struct TrustStores<'a> {
    before: &'a [(TrustStoreId, TrustStore)],
    /// The first id that no store has used yet.
    next: &'a mut usize,
    now: Vec<(TrustStoreId, TrustStore)>,
    /// The ids of the files that were read, each once.
    read: HashMap<PathBuf, TrustStoreId>,
    /// The id of the host's store, once it was read.
    host: Option<TrustStoreId>,
}

impl<'a> TrustStores<'a> {
    pub(crate) fn new(before: &'a [(TrustStoreId, TrustStore)], next: &'a mut usize) -> Self {
        Self { before, next, now: Vec::new(), read: HashMap::new(), host: None }
    }

    /// Returns the trust store of the file, or that of the host without a file. Reads each only
    /// once.
    pub(crate) fn get(&mut self, file: Option<&PathBuf>) -> Result<TrustStoreId, InvalidRoots> {
        let Some(path) = file else {
            let id = match self.host {
                Some(id) => id,
                None => self.number_of(TrustStore::host()?),
            };
            self.host = Some(id);
            return Ok(id);
        };
        if let Some(id) = self.read.get(path) {
            return Ok(*id);
        }
        let id = self.number_of(TrustStore::file(path)?);
        self.read.insert(path.clone(), id);
        Ok(id)
    }

    /// Returns the id of a store. An equal store of this or the previous configuration keeps its
    /// id.
    fn number_of(&mut self, trust: TrustStore) -> TrustStoreId {
        let is_same = |(_, known): &&(TrustStoreId, TrustStore)| known.is_same(&trust);
        if let Some((id, _)) = self.now.iter().find(is_same) {
            return *id;
        }
        let known = self.before.iter().find(is_same).cloned();
        let (id, trust) = known.unwrap_or_else(|| (self.number(), trust));
        self.now.push((id, trust));
        id
    }

    pub(crate) fn into_all(self) -> Vec<(TrustStoreId, TrustStore)> {
        self.now
    }

    fn number(&mut self) -> TrustStoreId {
        let number = *self.next;
        *self.next += 1;
        TrustStoreId(number)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    use super::{PathBuf, TrustStores};

    fn authority() -> String {
        let key = KeyPair::generate().expect("a key");
        CertificateParams::new(Vec::new()).expect("names").self_signed(&key).expect("signed").pem()
    }

    #[test]
    fn a_trust_keeps_its_number_while_it_is_the_same_and_is_forgotten_when_nobody_has_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let files: Vec<PathBuf> = ["one", "two"].map(|name| directory.path().join(name)).into();
        let first = authority();
        let second = authority();
        let mut before = Vec::new();
        let mut next = 0;
        let mut take = |one: &str, two: &str| {
            fs::write(&files[0], one).and_then(|()| fs::write(&files[1], two)).expect("written");
            let mut trusts = TrustStores::new(&before, &mut next);
            let ids = files.iter().map(|file| trusts.get(Some(file)).expect("a trust").0).collect::<Vec<_>>();
            before = trusts.into_all();
            (ids, before.len())
        };
        assert_eq!(take(&first, &first), (vec![0, 0], 1));
        assert_eq!(take(&first, &second), (vec![0, 1], 2));
        assert_eq!(take(&second, &second), (vec![1, 1], 1));
        assert_eq!(
            take(&first, &second),
            (vec![2, 1], 2),
            "what was made under the first 0 is gone for good"
        );
    }
}
