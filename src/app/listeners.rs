//! The sockets of the process during a reload: those that are kept, those that are handed over, and
//! new ones.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::config::ProxyConfig;
use crate::server::{
    ActivatedSockets, BindError, BoundListener, ConfiguredSocket, ListenAddress, ListenSettings,
    SharedListener,
};

/// The sockets of the current configuration.
pub(crate) struct PreviousSockets {
    pub(crate) listening: Vec<ConfiguredSocket>,
    pub(crate) admin: Option<ConfiguredSocket>,
}

/// Numbers the listeners that have the same address. A listener keeps its number, and so its sockets,
/// if its settings are unchanged. The others of an address keep theirs in order if the count is
/// unchanged. Otherwise it is unknown which of them is which, and new sockets are bound: no client
/// must meet the rules of another listener.
pub(crate) fn number_listeners(listen: &mut [ListenSettings], before: &[ListenSettings]) {
    let mut free: Vec<&ListenSettings> = before.iter().collect();
    let mut changed = Vec::new();
    for settings in &mut *listen {
        match free.iter().position(|known| known.is_same(settings)) {
            Some(at) => settings.number = free.remove(at).number,
            None => changed.push(settings),
        }
    }
    let mut counts: HashMap<ListenAddress, usize> = HashMap::new();
    for settings in &changed {
        *counts.entry(settings.address.clone()).or_default() += 1;
    }
    let mut next: HashMap<ListenAddress, usize> = HashMap::new();
    for settings in changed {
        let address = &settings.address;
        let taken = next.entry(address.clone()).or_default();
        let known: Vec<_> = free.iter().filter(|known| known.address == *address).collect();
        let kept = known.get(*taken).filter(|_| known.len() == counts[address]);
        settings.number = match kept {
            Some(known) => known.number,
            None => {
                let used = before.iter().filter(|known| known.address == *address);
                used.map(|known| known.number + 1).max().unwrap_or(0) + *taken
            }
        };
        *taken += 1;
    }
}

/// The bound sockets.
#[derive(Default)]
pub(crate) struct BoundSockets {
    listening: Vec<ConfiguredSocket>,
    admin: Option<ConfiguredSocket>,
    /// The sockets whose listener the new configuration does not have.
    going: Vec<SharedListener>,
    /// The warnings of a trial. If present, no socket is bound.
    trial: Option<RefCell<Vec<String>>>,
}

impl BoundSockets {
    /// Creates the sockets of a process that must not bind any.
    pub(crate) fn trial() -> Self {
        Self { trial: Some(RefCell::default()), ..Self::default() }
    }

    /// Returns the warnings of a trial.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        self.trial.map(RefCell::into_inner).unwrap_or_default()
    }

    pub(crate) fn from_previous(before: Option<&PreviousSockets>, config: &ProxyConfig) -> Self {
        let Some(PreviousSockets { listening, admin }) = before else { return Self::default() };
        let stays = |socket: &&ConfiguredSocket| config.listen.iter().any(|listen| socket.is_of(listen));
        let going = listening.iter().filter(|socket| !stays(socket));
        let stays =
            |address: &ListenAddress| config.admin.as_ref().is_some_and(|admin| admin.address == *address);
        let going = going.chain(admin.iter().filter(|socket| !stays(&socket.configured)));
        let going = going.map(|socket| socket.listener.clone()).collect();
        Self { listening: listening.clone(), admin: admin.clone(), going, trial: None }
    }

    /// Binds new sockets for a listener. If it already has sockets, binds none, and checks that the
    /// listener may keep them.
    pub(crate) fn listen(
        &self,
        listen: &ListenSettings,
        inherited: &mut ActivatedSockets,
    ) -> Result<Vec<BoundListener>, BindError> {
        let own = self.listening.iter().filter(|socket| socket.is_of(listen));
        let own: Vec<SharedListener> = own.map(|socket| socket.listener.clone()).collect();
        listen.check_open(&own)?;
        if own.is_empty() { self.bind(listen, inherited) } else { Ok(Vec::new()) }
    }

    /// Binds a new socket for the admin listener, unless it already has one.
    pub(crate) fn administer(
        &self,
        address: &ListenAddress,
        inherited: &mut ActivatedSockets,
    ) -> Result<Option<BoundListener>, BindError> {
        if self.admin.as_ref().is_some_and(|socket| socket.configured == *address) {
            return Ok(None);
        }
        Ok(self.bind(&ListenSettings::plain(address.clone()), inherited)?.pop())
    }

    fn bind(
        &self,
        listen: &ListenSettings,
        inherited: &mut ActivatedSockets,
    ) -> Result<Vec<BoundListener>, BindError> {
        if let Some(warnings) = &self.trial {
            return match BoundListener::probe(listen, inherited) {
                // A configuration is checked while the proxy that will reload it is running.
                Err(BindError::InUse(address)) if address.may_be_held_by_a_proxy() => {
                    warnings.borrow_mut().push(format!(
                        "{address} is in use; a proxy that is already running there can reload this configuration, but a new one cannot start with it"
                    ));
                    Ok(Vec::new())
                }
                probed => probed.map(|()| Vec::new()),
            };
        }
        BoundListener::bind(listen, inherited, &self.going).map_err(|error| match error {
            BindError::InUse(address) => {
                let mut all = self.listening.iter().chain(&self.admin).map(|socket| &socket.listener.address);
                match all.find(|ours| ours.overlaps(&address)) {
                    Some(ours) => BindError::Ours(address, ours.clone()),
                    None => BindError::InUse(address),
                }
            }
            other @ (BindError::Ours(..)
            | BindError::Forbidden(_)
            | BindError::NoSocket(_)
            | BindError::NotInherited(..)
            | BindError::NotListening(_)
            | BindError::Open(..)
            | BindError::PlainTokens(..)
            | BindError::System { .. }) => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ListenAddress, ListenSettings, number_listeners};

    /// Returns a listener on a free port. Listeners of different names have different settings.
    fn listener(name: &str) -> ListenSettings {
        let address = ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
        ListenSettings { domains: vec![name.to_owned()], ..ListenSettings::plain(address) }
    }

    #[test]
    fn listeners_of_one_address_keep_their_numbers_or_get_new_ones() {
        for (before, after, numbers) in [
            (&[][..], &["a", "b"][..], &[0, 1][..]),
            (&["a", "b"], &["a", "b"], &[0, 1]),
            (&["a", "b"], &["b", "a"], &[1, 0]),
            (&["a", "b"], &["b"], &[1]),
            (&["a", "b"], &["c", "b"], &[0, 1]),
            (&["a", "b"], &["c", "d"], &[0, 1]),
            (&["a", "b"], &["c"], &[2]),
            (&["a"], &["b", "c"], &[1, 2]),
            (&["a"], &["b", "a"], &[1, 0]),
            (&["a"], &["b"], &[0]),
        ] {
            let list = |names: &[&str]| names.iter().map(|name| listener(name)).collect::<Vec<_>>();
            let mut running = list(before);
            number_listeners(&mut running, &[]);
            let mut listen = list(after);
            number_listeners(&mut listen, &running);
            let found: Vec<usize> = listen.iter().map(|listen| listen.number).collect();
            assert_eq!(found, numbers, "{before:?} {after:?}");
        }
    }
}
