//! The interface that holds the cluster IPs, so that the kernel takes them for addresses of the node itself.
//!
//! It is a bridge without ports: pods need bridges anyway, and not every kernel has dummy interfaces.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use futures::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::{Handle, LinkBridge, LinkUnspec, new_connection};

use super::Error;

/// Name of the interface in the node's network namespace.
pub(super) const NAME: &str = "services";

/// See the module. Dropping it leaves the interface: the network namespace takes it along when it ends.
pub(super) struct Interface {
    handle: Handle,
    index: u32,
    present: BTreeSet<Ipv4Addr>,
}

impl Interface {
    /// Opens the interface, making it when it is not there, and reads the addresses it has.
    pub(super) async fn open() -> Result<Interface, Error> {
        let (connection, handle, _) = new_connection().map_err(|source| Error::Netlink { source })?;
        tokio::spawn(connection);
        let fail = |source| Error::Interface { name: NAME, source };
        let index = match index(&handle).await {
            Some(index) => index,
            None => {
                handle.link().add(LinkBridge::new(NAME).build()).execute().await.map_err(fail)?;
                index(&handle).await.ok_or(Error::InterfaceVanished { name: NAME })?
            }
        };
        handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await.map_err(fail)?;
        let mut present = BTreeSet::new();
        let mut messages = handle.address().get().set_link_index_filter(index).execute();
        while let Some(message) = messages.try_next().await.map_err(fail)? {
            for attribute in message.attributes {
                if let AddressAttribute::Address(std::net::IpAddr::V4(address)) = attribute {
                    present.insert(address);
                }
            }
        }
        Ok(Interface { handle, index, present })
    }

    /// Makes the interface hold exactly `wanted`.
    pub(super) async fn hold(&mut self, wanted: &BTreeSet<Ipv4Addr>) -> Result<(), Error> {
        let surplus: Vec<Ipv4Addr> = self.present.difference(wanted).copied().collect();
        for address in surplus {
            self.remove(address).await?;
        }
        let missing: Vec<Ipv4Addr> = wanted.difference(&self.present).copied().collect();
        for address in missing {
            let request = self.handle.address().add(self.index, address.into(), 32).replace();
            request.execute().await.map_err(|source| Error::Address { address, name: NAME, source })?;
            self.present.insert(address);
        }
        Ok(())
    }

    async fn remove(&mut self, address: Ipv4Addr) -> Result<(), Error> {
        let fail = |source| Error::Address { address, name: NAME, source };
        let mut messages = self.handle.address().get().set_link_index_filter(self.index).execute();
        while let Some(message) = messages.try_next().await.map_err(fail)? {
            if message.attributes.contains(&AddressAttribute::Address(address.into())) {
                self.handle.address().del(message).execute().await.map_err(fail)?;
                break;
            }
        }
        self.present.remove(&address);
        Ok(())
    }
}

async fn index(handle: &Handle) -> Option<u32> {
    let mut links = handle.link().get().match_name(NAME.to_owned()).execute();
    // An unknown name is an error answer of the kernel.
    links.try_next().await.ok().flatten().map(|link| link.header.index)
}
