//! The last drops.

use ka_daemon::api::drops::DropsAnswer;

use crate::daemon::Daemon;
use crate::http::get;
use crate::views::drop_view;

async fn ids(daemon: &Daemon, query: &str) -> (Vec<u64>, u64, u64) {
    let answer: DropsAnswer = get(daemon.address, &format!("/api/v1/drops{query}")).await.json();
    (answer.drops.iter().map(|drop| drop.id).collect(), answer.total, answer.newest_id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_come_first_and_filters_apply() {
    let daemon = Daemon::start(None).await;
    assert_eq!(ids(&daemon, "").await, (vec![], 0, 0));
    for number in 1..=12 {
        daemon.feed.dropped(drop_view(number));
    }
    let all: Vec<u64> = (1..=12).rev().collect();
    assert_eq!(ids(&daemon, "").await, (all.clone(), 12, 12));
    assert_eq!(ids(&daemon, "?limit=2").await, (vec![12, 11], 12, 12));
    assert_eq!(ids(&daemon, "?after=9").await, (vec![12, 11, 10], 3, 12));
    assert_eq!(ids(&daemon, "?after=12").await, (vec![], 0, 12));
    // The numbers of drops and of their sockets are the same here.
    for (query, fits) in [
        ("cause=reset_by_probe", Box::new(|id: u64| id % 2 == 1) as Box<dyn Fn(u64) -> bool>),
        ("process=server-3", Box::new(|id| id % 4 == 3)),
        ("pod=cart-1", Box::new(|id| id % 3 == 1)),
        ("namespace=shop", Box::new(|_| true)),
        ("namespace=sho", Box::new(|_| false)),
        ("pod=cart-1&process=server-3", Box::new(|id| id % 3 == 1 && id % 4 == 3)),
    ] {
        let expected: Vec<_> = all.iter().copied().filter(|id| fits(*id)).collect();
        let total = expected.len() as u64;
        assert_eq!(ids(&daemon, &format!("?{query}")).await, (expected, total, 12), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_a_thousand_are_kept() {
    let daemon = Daemon::start(None).await;
    for number in 1..=1_100 {
        daemon.feed.dropped(drop_view(number));
    }
    let (shown, total, newest) = ids(&daemon, "?limit=1000").await;
    assert_eq!(shown, (101..=1_100).rev().collect::<Vec<_>>());
    assert_eq!((total, newest), (1_000, 1_100));
    assert_eq!(ids(&daemon, "").await.0.len(), 100);
}
