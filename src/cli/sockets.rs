//! The sockets of the process while another configuration is assembled: which stay as they are, which change hands, which are
//! new.

use super::assembly::Before;
use crate::config::Config;
use crate::server::{Address, BindError, Bound, Held, Inherited, Listen};

/// What is listened on, each with the address of its listener as configured.
#[derive(Default)]
pub(super) struct Sockets {
    listening: Vec<(Address, Held)>,
    admin: Option<(Address, Held)>,
    /// Those on which their listener listens no more under the new configuration.
    going: Vec<Held>,
}

impl Sockets {
    pub(super) fn of(before: Option<&Before<'_>>, config: &Config) -> Self {
        let Some(Before { listening, admin, .. }) = before else { return Self::default() };
        let stays = |address: &Address| config.listen.iter().any(|listen| listen.address == *address);
        let going = listening.iter().filter(|(configured, _)| !stays(configured));
        let stays = |address: &Address| config.admin.as_ref().is_some_and(|admin| admin.address == *address);
        let going = going.chain(admin.iter().filter(|(configured, _)| !stays(configured)));
        let going = going.map(|(_, held)| held.clone()).collect();
        Self { listening: listening.clone(), admin: admin.clone(), going }
    }

    /// New ones for a listener; none if it has its own. Those must still be allowed to it.
    pub(super) fn listen(&self, listen: &Listen, inherited: &mut Inherited) -> Result<Vec<Bound>, BindError> {
        let own = self.listening.iter().filter(|(configured, _)| *configured == listen.address);
        let own: Vec<Held> = own.map(|(_, held)| held.clone()).collect();
        listen.check_open(&own)?;
        if own.is_empty() { self.bind(listen, inherited) } else { Ok(Vec::new()) }
    }

    /// A new one for the admin listener, unless it has its own.
    pub(super) fn administer(
        &self,
        address: &Address,
        inherited: &mut Inherited,
    ) -> Result<Option<Bound>, BindError> {
        if self.admin.as_ref().is_some_and(|(configured, _)| configured == address) {
            return Ok(None);
        }
        Ok(self.bind(&Listen::plain(address.clone()), inherited)?.pop())
    }

    fn bind(&self, listen: &Listen, inherited: &mut Inherited) -> Result<Vec<Bound>, BindError> {
        Bound::bind(listen, inherited, &self.going).map_err(|error| match error {
            BindError::InUse(address) => {
                let mut all = self.listening.iter().chain(&self.admin).map(|(_, held)| &held.address);
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
            | BindError::System { .. }) => other,
        })
    }
}
