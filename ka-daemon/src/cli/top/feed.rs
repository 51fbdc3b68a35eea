//! Asks the daemon, again and again: events as they happen, and every few seconds the sockets that
//! [`state`](super::state) wants to see. A daemon that is not there is asked until it is.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::super::client::{Client, ClientError, Events};
use super::super::drops::KEPT;
use super::super::query;
use super::Queries;
use super::state::{Query, Told};
use crate::view::{DropView, SocketView};

/// Between two readings of the sockets.
const SOCKETS: Duration = Duration::from_secs(2);
/// Between two tries to reach the daemon.
const AGAIN: Duration = Duration::from_secs(1);
/// Sockets that are asked for: more than anybody scrolls through.
const LIMIT: usize = 500;

#[derive(Deserialize)]
struct Kept {
    drops: Vec<DropView>,
}

#[derive(Deserialize)]
struct Page {
    sockets: Vec<SocketView>,
    total: u64,
}

/// Begins to ask. What is to be asked from then on is sent to the first; what is told comes out of
/// the second.
pub(super) fn start(client: Client, query: Query) -> (Queries, mpsc::Receiver<Told>) {
    let (queries, asked) = watch::channel(query);
    let (tell, told) = mpsc::channel(256);
    tokio::spawn(events(client.clone(), tell.clone()));
    tokio::spawn(sockets(client, asked, tell));
    (queries, told)
}

/// Ends when nobody listens any more.
async fn events(client: Client, tell: mpsc::Sender<Told>) {
    while !tell.is_closed() {
        let why = match follow(&client, &tell).await {
            Ok(()) => "the daemon ended the stream of events".to_owned(),
            Err(error) => error.to_string(),
        };
        if tell.send(Told::Down(why)).await.is_err() {
            return;
        }
        sleep(AGAIN).await;
    }
}

async fn follow(client: &Client, tell: &mpsc::Sender<Told>) -> Result<(), ClientError> {
    // First the events, then the drops so far: nothing can happen between the two.
    let mut events = Events::listen(client).await?;
    let Kept { drops } = client.get(KEPT).await?.json().await?;
    if tell.send(Told::Up(drops)).await.is_err() {
        return Ok(());
    }
    while let Some(event) = events.next().await? {
        if tell.send(Told::Event(event)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Ends when nobody listens any more.
async fn sockets(client: Client, mut asked: watch::Receiver<Query>, tell: mpsc::Sender<Told>) {
    loop {
        let query = asked.borrow_and_update().clone();
        let told = match page(&client, &query).await {
            Ok(Page { sockets, total }) => Some(Told::Sockets { query: Box::new(query), sockets, total }),
            // Of this the events tell.
            Err(ClientError::Unreachable { .. } | ClientError::Broken { .. }) => None,
            Err(error) => Some(Told::Refused(error.to_string())),
        };
        if let Some(told) = told
            && tell.send(told).await.is_err()
        {
            return;
        }
        // A new question does not wait; without anybody who could ask one there is nobody to tell.
        if let Ok(Err(_)) = timeout(SOCKETS, asked.changed()).await {
            return;
        }
    }
}

async fn page(client: &Client, query: &Query) -> Result<Page, ClientError> {
    let mut pairs = query.filter.to_query();
    pairs.push(("sort", query.sort.to_string()));
    pairs.push(("limit", LIMIT.to_string()));
    client.get(&query::path("/api/v1/sockets", pairs)).await?.json().await
}
