//! Reading what may move meanwhile: when nothing is where it was, it is looked up again.
//!
//! Compaction moves what lives, and after a while it forgets where from. Who holds a place longer than that finds nothing
//! there, and that alone says nothing about the message:
//!
//! | nothing is there, and | it is told as |
//! |---|---|
//! | the message is not in its mailbox, the transfer not pending | [`ReadError::Gone`] |
//! | it is, and its place can be read now | its octets |
//! | it is, and again nothing is there, [`PLACES_MAX`] times in all | [`ReadError::Missing`]: a file was lost |

use ringpost_storage::disk::Disk;
use ringpost_storage::{
    AccountId, MailboxId, Message, PendingTransfer, ReadError, Reader, TransferNumber, Volume, VolumeId,
};

/// Places that are tried for one read. Then the file is taken for lost.
const PLACES_MAX: u32 = 3;

/// Where it is looked up again.
#[derive(Clone, Copy, Debug)]
enum Home {
    Mailbox(AccountId, MailboxId),
    Pending(VolumeId, TransferNumber),
}

/// What is read a bit at a time.
pub struct Anew {
    home: Home,
    reader: Reader,
}

impl Anew {
    /// A message of a mailbox. Nothing is read yet.
    #[must_use]
    pub fn message(account: AccountId, mailbox: MailboxId, message: Message) -> Self {
        Anew { home: Home::Mailbox(account, mailbox), reader: Reader::new(message) }
    }

    /// What a transfer carries. Nothing is read yet.
    #[must_use]
    pub fn transfer<D: Disk>(volume: &Volume<D>, transfer: &PendingTransfer) -> Self {
        let home = Home::Pending(transfer.target, transfer.number);
        Anew { home, reader: volume.transfer_reader(transfer) }
    }

    /// As [`Volume::read_on`].
    ///
    /// # Errors
    /// See the table above, and [`ReadError`].
    pub async fn read_on<D: Disk>(&mut self, volume: &Volume<D>, offset: u64) -> Result<Vec<u8>, ReadError> {
        for _ in 0..PLACES_MAX {
            match volume.read_on(&mut self.reader, offset).await {
                Err(ReadError::Gone) => self.look_up(volume).await?,
                read => return read,
            }
        }
        Err(ReadError::Missing)
    }

    /// As [`Volume::read_range`].
    ///
    /// # Errors
    /// See the table above, and [`ReadError`].
    pub async fn read_range<D: Disk>(
        &mut self,
        volume: &Volume<D>,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, ReadError> {
        for _ in 0..PLACES_MAX {
            match volume.read_range(self.reader.message(), offset, len).await {
                Err(ReadError::Gone) => self.look_up(volume).await?,
                read => return read,
            }
        }
        Err(ReadError::Missing)
    }

    /// As [`Volume::read_as_is`].
    ///
    /// # Errors
    /// See the table above, and [`ReadError`].
    pub async fn read_as_is<D: Disk>(&mut self, volume: &Volume<D>) -> Result<Vec<u8>, ReadError> {
        for _ in 0..PLACES_MAX {
            match volume.read_as_is(self.reader.message()).await {
                Err(ReadError::Gone) => self.look_up(volume).await?,
                read => return read,
            }
        }
        Err(ReadError::Missing)
    }

    /// Where it is by now.
    async fn look_up<D: Disk>(&mut self, volume: &Volume<D>) -> Result<(), ReadError> {
        self.reader = match self.home {
            Home::Mailbox(account, mailbox) => {
                let loaded = volume.load(account).await?.ok_or(ReadError::Gone)?;
                let uid = self.reader.message().uid;
                let now = loaded.mailbox(mailbox, |mailbox| mailbox.by_uid(uid).cloned()).flatten();
                Reader::new(now.ok_or(ReadError::Gone)?)
            }
            Home::Pending(target, number) => {
                let pending = volume.pending_transfers(target, volume.transfers_sent(target), usize::MAX);
                let now = pending.iter().find(|transfer| transfer.number == number).ok_or(ReadError::Gone)?;
                volume.transfer_reader(now)
            }
        };
        Ok(())
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use ringpost_storage::sim::SimDisk;
    use ringpost_storage::sim::campaign::tasks::{Tasks, block_on, turns};
    use ringpost_storage::{Body, Create, Flags, Limits, Op, Settings, Transaction, Uid};

    use super::*;

    const TEXT: &[u8] = b"Subject: it moved\r\n\r\nand was found\r\n";

    /// A volume in which somebody has one letter, UID 1, and the account held in memory.
    fn with_a_letter() -> (Volume<SimDisk>, Tasks, AccountId) {
        let disk = SimDisk::new(1);
        let facts = Create { store: uuid::Uuid::from_u128(1), volume: 0, volumes: 1, segment_bytes: 64 << 10, seed: 1 };
        block_on(Volume::create(&disk, &facts)).expect("an empty disk");
        let settings = Settings { gather_bytes_max: 1 << 20, free_bytes_min: 0, ..Settings::DEFAULT };
        let (volume, _) = block_on(Volume::open(disk, None, settings)).expect("a whole volume");
        let mut tasks = Tasks::default();
        let looped = volume.clone();
        tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
        let mut done = |bodies, op| {
            volume.decide(Transaction { bodies, ops: vec![op] }, 1).expect("nothing against it");
            tasks.settle();
        };
        let (name, mailboxes) = ("a@x".to_owned(), Vec::new());
        done(Vec::new(), Op::PutAccount { name, secrets: Vec::new(), mailboxes, limits: Limits::NONE });
        let account = volume.account_named("a@x").expect("it is durable");
        let op = Op::Append {
            account,
            mailbox: MailboxId::INBOX,
            body: 0,
            prefix: Vec::new(),
            flags: Flags::none(),
            internal_ms: 1,
        };
        done(vec![Body::from(TEXT.to_vec())], op);
        (volume, tasks, account)
    }

    /// What is said of a message of which the reader holds an old place: there is no file for it any more.
    fn read_of_old(volume: &Volume<SimDisk>, account: AccountId, uid: Uid) -> Result<Vec<u8>, ReadError> {
        let old = Message::sketch(uid, 1, &Flags::none(), TEXT.len() as u32, 1);
        let mut anew = Anew::message(account, MailboxId::INBOX, old.clone());
        let whole = block_on(anew.read_on(volume, 0));
        let part = block_on(Anew::message(account, MailboxId::INBOX, old).read_range(volume, 0, 7));
        assert_eq!(part.as_ref().ok().map(Vec::as_slice), whole.as_ref().ok().map(|whole| &whole[..7]));
        whole
    }

    #[test]
    fn a_message_that_moved_is_found_and_one_that_is_not_there_is_gone() {
        let (volume, _tasks, account) = with_a_letter();
        assert_eq!(read_of_old(&volume, account, 1).expect("its place is looked up again"), TEXT);
        assert!(matches!(read_of_old(&volume, account, 2), Err(ReadError::Gone)));
        assert!(matches!(read_of_old(&volume, AccountId(account.0 + 1), 1), Err(ReadError::Gone)));
    }
}
