//! polkit, played by the test: it says what the test wants and keeps what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use harness::{LIMIT, wait_for};
use tokio::sync::watch;
use zbus::{Connection, OwnedVariant, fdo, interface};

use crate::bed::Bed;
use crate::peer::Peer;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Yes,
    No,
    /// With an error.
    Fails,
    /// Not until it is told another manner: a person has been asked.
    Waits,
}

/// One question to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) action: String,
    pub(crate) flags: u32,
}

/// polkit on the bus, until it is dropped.
#[derive(Debug)]
pub(crate) struct Polkit {
    manner: watch::Sender<Manner>,
    asked: Arc<Mutex<Vec<Asked>>>,
    _peer: Peer,
}

struct Authority {
    manner: watch::Receiver<Manner>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Authority {
    async fn check_authorization(
        &self,
        subject: (String, HashMap<String, OwnedVariant>),
        action: &str,
        _details: HashMap<String, String>,
        flags: u32,
        _cancellation: &str,
    ) -> fdo::Result<((bool, bool, HashMap<String, String>),)> {
        let (kind, mut details) = subject;
        let name = details.remove("name").and_then(|name| name.try_into().ok());
        self.asked.lock().unwrap().push(Asked {
            kind,
            name: name.unwrap_or_default(),
            action: action.to_owned(),
            flags,
        });
        let mut manner = self.manner.clone();
        let manner = manner.wait_for(|manner| *manner != Manner::Waits).await;
        match *manner.map_err(|_gone| fdo::Error::NoReply("gone".into()))? {
            Manner::Yes => Ok(((true, false, HashMap::new()),)),
            Manner::No | Manner::Waits => Ok(((false, false, HashMap::new()),)),
            Manner::Fails => Err(fdo::Error::Failed("out of order".into())),
        }
    }
}

impl Polkit {
    pub(crate) fn play(bed: &Bed, manner: Manner) -> Self {
        let (sender, receiver) = watch::channel(manner);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let authority = Authority { manner: receiver, asked: Arc::clone(&asked) };
        let peer = bed.root();
        peer.wait(serve(peer.connection(), authority)).expect("root may be polkit here");
        Self { manner: sender, asked, _peer: peer }
    }

    /// From now on answers so, whoever waits included.
    pub(crate) fn be(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until it was asked so often.
    #[track_caller]
    pub(crate) fn wait_asked(&self, times: usize) {
        wait_for(&format!("polkit to be asked {times} times"), LIMIT, || {
            let asked = self.asked();
            if asked.len() >= times { Ok(()) } else { Err(format!("{asked:?}")) }
        });
    }
}

async fn serve(connection: &Connection, authority: Authority) -> zbus::Result<()> {
    let path = "/org/freedesktop/PolicyKit1/Authority";
    connection.object_server().at(path, authority).await?;
    connection.request_name("org.freedesktop.PolicyKit1").await
}
