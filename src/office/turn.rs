//! Whose turn it is to change the catalogue: one at a time, on shard 0, whoever asks for it.

/// One token in a channel.
pub struct Turn {
    give: flume::Sender<()>,
    take: flume::Receiver<()>,
}

/// It is this holder's turn until this drops, also by a panic.
pub struct Holder(flume::Sender<()>);

impl Default for Turn {
    fn default() -> Self {
        let (give, take) = flume::bounded(1);
        give.try_send(()).expect("the channel was made for one");
        Turn { give, take }
    }
}

impl Turn {
    /// Waits for it.
    pub async fn wait(&self) -> Holder {
        self.take.recv_async().await.expect("the giver is here");
        Holder(self.give.clone())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The office may be gone already.
        let _ = self.0.try_send(());
    }
}
