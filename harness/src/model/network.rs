//! Links, addresses and routes of a network namespace, through netlink: `ip` need not be installed.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::task::JoinHandle;

use crate::failure::{Failure, WithContext};

/// Any locally administered hardware address works, because a network namespace has only one bridge.
const BRIDGE_ADDRESS: [u8; 6] = [0x02, 0, 0x0a, 0xf4, 0, 0x01];

/// A netlink socket. It acts on the network namespace in which it was opened, also after the process has
/// moved to another; that is how a pod gets a link to its node.
#[derive(Debug)]
pub struct Network {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Network {
    /// Opens a socket in the network namespace of the calling thread. Needs a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// Brings a link up.
    pub async fn bring_up(&self, link: &str) -> Result<(), Failure> {
        let request = self.handle.link().set(LinkUnspec::new_with_name(link).up().build());
        request.execute().await.with_context(|| format!("bringing the link {link} up"))
    }

    /// Adds an address to a link. On a loopback link the whole prefix becomes local, like 127.0.0.0/8.
    pub async fn add_address(&self, link: &str, address: Ipv4Addr, prefix: u8) -> Result<(), Failure> {
        let index = self.index_of(link).await?;
        let request = self.handle.address().add(index, address.into(), prefix);
        request.execute().await.with_context(|| format!("giving {link} the address {address}/{prefix}"))
    }

    /// Creates a bridge with a fixed hardware address.
    ///
    /// Otherwise the bridge has the address of one of its ports, and the address changes when that port is
    /// removed. The remaining pods would then send to the old address until their neighbour entries time out.
    pub async fn add_bridge(&self, name: &str) -> Result<(), Failure> {
        let bridge = LinkBridge::new(name).address(BRIDGE_ADDRESS.to_vec()).build();
        let request = self.handle.link().add(bridge);
        request.execute().await.with_context(|| format!("creating the bridge {name}"))
    }

    /// Creates a veth pair: `name` here, attached to `bridge` and up; `peer` in the other network namespace.
    pub async fn add_veth(
        &self,
        name: &str,
        bridge: &str,
        peer: &str,
        peer_namespace: &File,
    ) -> Result<(), Failure> {
        let controller = self.index_of(bridge).await?;
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer.to_owned())
            .setns_by_fd(peer_namespace.as_raw_fd())
            .build();
        let veth = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(name.to_owned())
            .controller(controller)
            .up()
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        let request = self.handle.link().add(veth);
        request.execute().await.with_context(|| format!("creating the veth pair {name}"))
    }

    /// Adds a default route through `gateway`.
    pub async fn add_default_route(&self, gateway: Ipv4Addr) -> Result<(), Failure> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
        self.handle.route().add(route).execute().await.with_context(|| format!("routing through {gateway}"))
    }

    async fn index_of(&self, link: &str) -> Result<u32, Failure> {
        let mut links = self.handle.link().get().match_name(link.to_owned()).execute();
        let found = links.try_next().await.with_context(|| format!("looking for the link {link}"))?;
        found.map(|link| link.header.index).with_context(|| format!("there is no link {link}"))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
