// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients that listen, many in one thread.

use std::collections::BTreeMap;
use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{eventfd, EventfdFlags, Timespec};
use rustix::io::{read, retry_on_intr, write};

use super::client::Client;
use super::random::Random;
use super::records::Records;
use super::LIMIT;

/// The most events taken at once.
const EVENTS: usize = 256;
/// How often those who wait for all to know all look.
const LOOK: Duration = Duration::from_millis(50);
/// Stands for the commands among the clients.
const COMMANDS: u64 = u64::MAX;

enum Command {
    Adopt(Client),
    /// A random client leaves.
    Leave,
    /// Say so once all know so many clients.
    Settle(usize),
    /// All leave.
    Disperse,
}

/// A thread with its clients.
#[derive(Debug)]
pub struct Crowd {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
    settled: Receiver<()>,
    thread: JoinHandle<Result<(), String>>,
    size: usize,
}

impl Crowd {
    /// Starts a thread without clients.
    pub fn start(records: Arc<Records>, random: Random) -> Result<Self, Box<dyn Error>> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wake, EventData::new_u64(COMMANDS), EventFlags::IN)?;
        let (commands, receiver) = mpsc::channel();
        let (sender, settled) = mpsc::channel();
        let listeners = Listeners {
            epoll,
            wake: Arc::clone(&wake),
            commands: receiver,
            settled: sender,
            wanted: None,
            clients: BTreeMap::new(),
            next: 0,
            records,
            random,
        };
        let thread = thread::Builder::new()
            .name("crowd".to_owned())
            .spawn(move || listeners.run().map_err(|error| error.to_string()))?;
        Ok(Self {
            commands,
            wake,
            settled,
            thread,
            size: 0,
        })
    }

    /// Returns how many clients there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Lets `client` listen here.
    pub fn adopt(&mut self, client: Client) -> Result<(), Box<dyn Error>> {
        self.size += 1;
        self.command(Command::Adopt(client))
    }

    /// Lets a random client leave.
    pub fn leave(&mut self) -> Result<(), Box<dyn Error>> {
        self.size -= 1;
        self.command(Command::Leave)
    }

    /// Asks for [`Crowd::await_settled`] to return once every client knows `clients` clients.
    pub fn settle(&self, clients: usize) -> Result<(), Box<dyn Error>> {
        self.command(Command::Settle(clients))
    }

    /// Waits until every client knows what was asked for.
    pub fn await_settled(&self) -> Result<(), Box<dyn Error>> {
        // The thread gives up first, and its error says more.
        Ok(self.settled.recv_timeout(2 * LIMIT)?)
    }

    /// Lets all clients leave, and returns what went wrong.
    pub fn disperse(self) -> Result<(), Box<dyn Error>> {
        // Fails if the thread has ended, which the result tells.
        let _ = self.command(Command::Disperse);
        match self.thread.join() {
            Ok(result) => Ok(result?),
            Err(_) => Err("a thread of clients panicked".into()),
        }
    }

    fn command(&self, command: Command) -> Result<(), Box<dyn Error>> {
        self.commands
            .send(command)
            .map_err(|_| "a thread of clients has ended")?;
        write(&self.wake, &1_u64.to_ne_bytes())?;
        Ok(())
    }
}

/// What the thread has.
struct Listeners {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    commands: Receiver<Command>,
    settled: Sender<()>,
    /// The number of clients that all are to know, and since when.
    wanted: Option<(usize, Instant)>,
    clients: BTreeMap<u64, Client>,
    next: u64,
    records: Arc<Records>,
    random: Random,
}

impl Listeners {
    fn run(mut self) -> Result<(), Box<dyn Error>> {
        loop {
            for event in self.wait()? {
                match event.data.u64() {
                    COMMANDS => {
                        // Fails if nothing is there, which is what is wanted.
                        let _ = read(&self.wake, &mut [0; 8][..]);
                    }
                    key => {
                        if let Some(client) = self.clients.get_mut(&key) {
                            client.listen(&self.records)?;
                        }
                    }
                }
            }
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Adopt(client) => self.adopt(client)?,
                    Command::Leave => self.leave(),
                    Command::Settle(clients) => self.wanted = Some((clients, Instant::now())),
                    Command::Disperse => return Ok(()),
                }
            }
            self.look()?;
        }
    }

    fn wait(&self) -> Result<Vec<Event>, Box<dyn Error>> {
        let mut events = Vec::with_capacity(EVENTS);
        let limit = self.wanted.map(|_| Timespec::try_from(LOOK)).transpose()?;
        retry_on_intr(|| epoll::wait(&self.epoll, spare_capacity(&mut events), limit.as_ref()))?;
        Ok(events)
    }

    fn adopt(&mut self, client: Client) -> Result<(), Box<dyn Error>> {
        let token = EventData::new_u64(self.next);
        epoll::add(&self.epoll, client.as_fd(), token, EventFlags::IN)?;
        self.clients.insert(self.next, client);
        self.next += 1;
        Ok(())
    }

    fn leave(&mut self) {
        let index = self.random.below(self.clients.len().max(1) as u64);
        let key = self.clients.keys().nth(index as usize).copied();
        key.and_then(|key| self.clients.remove(&key));
    }

    /// Tells whoever waits once all know what they should.
    fn look(&mut self) -> Result<(), Box<dyn Error>> {
        let Some((wanted, since)) = self.wanted else {
            return Ok(());
        };
        let ignorant = self.clients.values().find(|client| !client.knows(wanted));
        if let Some(client) = ignorant {
            if since.elapsed() > LIMIT {
                return Err(format!("{} instead of {wanted}", client.knowledge()).into());
            }
            return Ok(());
        }
        self.wanted = None;
        Ok(self.settled.send(())?)
    }
}
