//! The life of an agent after its start: beating, answering, taking orders.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

use crate::channel::Gone;
use crate::{Ended, Fake, say};

/// A message on one of the descriptors.
#[derive(Clone, Copy, Debug, Default)]
struct News {
    signal: bool,
    order: bool,
    call: bool,
}

impl Fake {
    /// Lives until SIGTERM, an order to end, or the end of agentd.
    pub(crate) fn live(&mut self, beats: bool) -> Ended {
        let signals = (!self.is_deaf_to_sigterm).then(|| {
            let set = SigSet::from_iter([Signal::SIGTERM]);
            SignalFd::new(&set).expect("a signal can be waited for")
        });
        let mut beaten = now();
        if beats {
            self.channel().beat();
        }
        loop {
            let due = beats.then(|| self.channel().heartbeat.saturating_sub(beaten.elapsed()));
            let news = self.wait(signals.as_ref(), due);
            if news.signal {
                return Ended(0);
            }
            if news.call
                && let Some(ended) = self.called()
            {
                return ended;
            }
            if news.order
                && let Some(ended) = self.ordered()
            {
                return ended;
            }
            if beats && beaten.elapsed() >= self.channel().heartbeat {
                beaten = now();
                self.channel().beat();
            }
        }
    }

    fn wait(&mut self, signals: Option<&SignalFd>, due: Option<Duration>) -> News {
        let is_deaf = self.is_deaf_to_agentd;
        let served = self.channel.as_mut().and_then(|channel| channel.served());
        let served = served.filter(|_| !is_deaf).map(|socket| socket.stream.as_fd());
        let orders = self.orders.as_ref().map(AsFd::as_fd);
        let wanted = [signals.map(AsFd::as_fd), orders, served];
        let mut fds: Vec<PollFd<'_>> =
            wanted.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        // A millisecond more than is left, so that it is over then.
        let timeout = due.map_or(PollTimeout::NONE, |due| {
            let millis = u16::try_from(due.as_millis() + 1).unwrap_or(u16::MAX);
            PollTimeout::from(millis)
        });
        match poll(&mut fds, timeout) {
            // A stop and a continue interrupt it: signal(7).
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(err) => panic!("cannot wait: {err}"),
        }
        let mut seen = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let mut of = |fd: bool| fd && seen.next().unwrap_or(false);
        let [signal, order, call] = wanted.map(|fd| of(fd.is_some()));
        News { signal, order, call }
    }

    fn called(&mut self) -> Option<Ended> {
        let answer = self.answer.clone();
        let channel = self.channel();
        let mut next = channel.served()?.next();
        loop {
            match next {
                Ok(Some(frame)) => channel.settle(&frame, &answer),
                Ok(None) => return None,
                Err(Gone) => {
                    say("agentd is gone");
                    return Some(Ended(0));
                }
            }
            next = Ok(channel.served()?.buffered());
        }
    }

    fn ordered(&mut self) -> Option<Ended> {
        let mut buffer = [0; 64 * 1024];
        let read = self.orders.as_ref()?.recv(&mut buffer).expect("an order can be read");
        self.take(&String::from_utf8_lossy(&buffer[..read]))
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place where a fake agent reads a clock")]
fn now() -> Instant {
    Instant::now()
}
